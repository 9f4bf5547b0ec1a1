"""Workshops that can be booked, and how many seats are left."""

from __future__ import annotations

import calendar
import datetime as dt
import zlib

from .state import TODAY, State

WORKSHOPS = {"pottery": "Pottery", "coffee": "Coffee tasting", "bookbinding": "Bookbinding"}
HOURS = (10, 14, 18)
SEATS = 6
MONTHS = 4
"""How far ahead one can book, this month included."""


def seats_left(state: State, workshop: str, day: str, hour: int) -> int:
    """Return the seats that can still be booked; none on days when there is no workshop."""
    date = dt.date.fromisoformat(day)
    if day <= TODAY or date.weekday() > 4 or workshop not in WORKSHOPS or hour not in HOURS:
        return 0
    draw = zlib.crc32(f"{workshop} {day} {hour}".encode())  # the same in every world
    taken = SEATS if draw % 3 == 0 else draw % SEATS
    booked = sum(one.seats for one in state.bookings if (one.workshop, one.day, one.hour) == (workshop, day, hour))
    return max(SEATS - taken - booked, 0)


def month(state: State, workshop: str, year: int, number: int) -> list[dict[str, object]]:
    """Return the days of a month, each with the seats left at each hour."""
    days = calendar.monthrange(year, number)[1]
    dates = [dt.date(year, number, day) for day in range(1, days + 1)]
    return [
        {
            "day": date.isoformat(),
            "weekday": date.weekday(),
            "seats": {str(hour): seats_left(state, workshop, date.isoformat(), hour) for hour in HOURS},
        }
        for date in dates
    ]
