"""Rooms that are booked by the hour."""

from intervals import covered, overlap


def free(bookings, wanted):
    """Return whether no booking overlaps the wanted hours."""
    return not any(overlap(booking, wanted) for booking in bookings)


def busy_hours(bookings):
    """Return the number of hours in which the room is used."""
    return covered(bookings)
