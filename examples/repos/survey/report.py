"""Reports of surveys."""

from stats import mean, spread


def line(name, values):
    """Return a line of a report."""
    return f"{name}: mean {mean(values):.1f}, spread {spread(values)}"
