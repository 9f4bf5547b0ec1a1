"""Counting words."""


def split(text):
    """Return the words of a text: lower case, without the punctuation around them."""
    return text.split()


def count(text):
    """Return how often each word occurs."""
    counts = {}
    for word in split(text):
        counts[word] = counts.get(word, 0) + 1
    return counts


def most_common(text, n):
    """Return the n most frequent words, the most frequent first, ties in alphabetical order."""
    counts = count(text)
    return sorted(counts, key=lambda word: (-counts[word], word))[:n]
