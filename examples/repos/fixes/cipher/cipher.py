"""The Caesar cipher."""


def shift(text, key):
    """Return the text with every letter moved `key` places on in the alphabet, from z to a again; case and all other
    characters stay."""
    result = ""
    for char in text:
        if char.isalpha():
            first = ord("a") if char.islower() else ord("A")
            result += chr((ord(char) - first + key) % 26 + first)
        else:
            result += char
    return result


def vowels(text):
    """Return how many vowels a text has."""
    return sum(char in "aeiou" for char in text.lower())
