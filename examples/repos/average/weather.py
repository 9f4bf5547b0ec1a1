"""Temperatures."""

from average import smooth


def trend(temperatures):
    """Return `up`, `down` or `flat` from the first to the last weekly mean."""
    means = smooth(temperatures, 7)
    if means[-1] > means[0]:
        return "up"
    if means[-1] < means[0]:
        return "down"
    return "flat"
