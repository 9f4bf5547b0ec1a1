"""Secret letters."""

from cipher import shift


def seal(text):
    """Return a text as it is sent."""
    return shift(text, 3)


def label(name):
    """Return the label of an envelope."""
    return f"To {name.title()}"
