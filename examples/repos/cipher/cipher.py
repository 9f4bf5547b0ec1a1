"""The Caesar cipher."""


def shift(text, key):
    """Return the text with every letter moved `key` places on in the alphabet, from z to a again; case and all other
    characters stay."""
    result = ""
    for char in text:
        if char.isalpha():
            result += chr(ord(char) + key)
        else:
            result += char
    return result


def vowels(text):
    """Return how many vowels a text has."""
    return sum(char in "aeiou" for char in text.lower())
