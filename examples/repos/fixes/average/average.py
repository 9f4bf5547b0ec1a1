"""Averages of measurements."""


def mean(values):
    """Return the mean of a list of numbers."""
    return sum(values) / len(values)


def moving(values, size):
    """Return the means of all windows of `size` neighbouring values, the first window first."""
    if size < 1:
        raise ValueError("a window holds at least one value")
    return [mean(values[i : i + size]) for i in range(len(values) - size + 1)]


def smooth(values, size):
    """Return the moving means; a list that is shorter than a window is returned as it is."""
    if len(values) < size:
        return list(values)
    return moving(values, size)
