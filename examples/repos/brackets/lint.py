"""A tiny linter."""

from brackets import balanced, deepest


def problems(line):
    """Return what is wrong with a line of code."""
    found = []
    if not balanced(line):
        found.append("unbalanced brackets")
    if deepest(line) > 3:
        found.append("nested too deep")
    return found
