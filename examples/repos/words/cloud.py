"""Word clouds as text."""

from words import count, most_common


def cloud(text, n=3):
    """Return one line per word: the word and as many stars as it occurs."""
    counts = count(text)
    return "\n".join(f"{word} {'*' * counts[word]}" for word in most_common(text, n))
