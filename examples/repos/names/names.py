"""Names of variables."""


def snake(name):
    """Return a camelCase name in snake_case: `userName` as `user_name`."""
    result = ""
    for char in name:
        if char.isupper():
            result += "_"
        result += char
    return result


def camel(name):
    """Return a snake_case name in camelCase."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
