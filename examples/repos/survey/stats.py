"""Statistics of numbers."""


def mean(values):
    """Return the mean of some numbers."""
    return sum(values) / len(values)


def median(values):
    """Return the middle one of some numbers in order; of an even count, the mean of the two in the middle."""
    return values[len(values) // 2]


def spread(values):
    """Return the difference of the largest and the smallest number."""
    return max(values) - min(values)
