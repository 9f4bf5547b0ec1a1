"""Statistics of numbers."""


def mean(values):
    """Return the mean of some numbers."""
    return sum(values) / len(values)


def median(values):
    """Return the middle one of some numbers in order; of an even count, the mean of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else mean(ordered[middle - 1 : middle + 1])


def spread(values):
    """Return the difference of the largest and the smallest number."""
    return max(values) - min(values)
