"""Closed intervals of whole numbers, as pairs (start, end)."""


def overlap(a, b):
    """Return whether two intervals share a number."""
    return a[0] <= b[1] and b[0] <= a[1]


def merge(intervals):
    """Return the intervals sorted, with those that share a number joined into one."""
    merged = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def covered(intervals):
    """Return how many numbers lie in at least one interval."""
    return sum(end - start + 1 for start, end in merge(intervals))
