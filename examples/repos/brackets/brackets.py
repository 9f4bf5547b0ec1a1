"""Checking brackets."""

PAIRS = {")": "(", "]": "[", "}": "{"}


def balanced(text):
    """Return whether every bracket in `text` is closed by its own kind, in the right order."""
    depth = 0
    for char in text:
        if char in PAIRS.values():
            depth += 1
        elif char in PAIRS:
            depth -= 1
    return depth == 0


def deepest(text):
    """Return how deep the brackets are nested."""
    depth = most = 0
    for char in text:
        depth += (char in PAIRS.values()) - (char in PAIRS)
        most = max(most, depth)
    return most
