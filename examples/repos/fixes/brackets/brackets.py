"""Checking brackets."""

PAIRS = {")": "(", "]": "[", "}": "{"}


def balanced(text):
    """Return whether every bracket in `text` is closed by its own kind, in the right order."""
    open_brackets = []
    for char in text:
        if char in PAIRS.values():
            open_brackets.append(char)
        elif char in PAIRS and (not open_brackets or open_brackets.pop() != PAIRS[char]):
            return False
    return not open_brackets


def deepest(text):
    """Return how deep the brackets are nested."""
    depth = most = 0
    for char in text:
        depth += (char in PAIRS.values()) - (char in PAIRS)
        most = max(most, depth)
    return most
