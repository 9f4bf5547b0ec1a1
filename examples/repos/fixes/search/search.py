"""Searching sorted lists."""


def position(values, wanted):
    """Return the first place at which `wanted` can be inserted so that the sorted list stays sorted."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def contains(values, wanted):
    """Return whether a sorted list holds `wanted`."""
    place = position(values, wanted)
    return place < len(values) and values[place] == wanted
