"""Workshops: a calendar that the browser draws, bookings."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException
from fastapi.responses import Response

from ..state import TODAY, Booking
from ..visit import Visit, Visited
from ..workshops import HOURS, MONTHS, WORKSHOPS, month, seats_left

router = APIRouter()


@router.get("/workshops")
async def workshops(visit: Visited) -> Response:
    """Show what there is."""
    return visit.page("workshops", workshops=WORKSHOPS)


@router.get("/workshops/{name}")
async def workshop(visit: Visited, name: str, move: int = 0) -> Response:
    """Show the calendar of a workshop; `move` is a booking that is to be moved."""
    if name not in WORKSHOPS:
        raise HTTPException(404, "there is no such workshop")
    return visit.page("workshop", name=name, title=WORKSHOPS[name], today=TODAY, hours=HOURS, move=move)


@router.get("/workshops/{name}/month")
async def days(visit: Visited, name: str, ahead: int = 0) -> dict[str, object]:
    """Return a month of a calendar, `ahead` of the present one."""
    first = dt.date.fromisoformat(TODAY).replace(day=1)
    ahead = min(max(ahead, 0), MONTHS - 1)
    year, number = divmod(first.year * 12 + first.month - 1 + ahead, 12)
    title = dt.date(year, number + 1, 1).strftime("%B %Y")
    return {
        "title": title,
        "ahead": ahead,
        "last": ahead == MONTHS - 1,
        "days": month(visit.state, name, year, number + 1),
    }


@router.get("/bookings")
async def bookings(visit: Visited) -> Response:
    """Show somebody's bookings."""
    mine = [one for one in visit.state.bookings if one.account == visit.owner.login]
    return visit.page("bookings", bookings=mine, workshops=WORKSHOPS)


@router.post("/bookings")
async def book(
    visit: Visited,
    *,
    workshop: Annotated[str, Form()],
    day: Annotated[str, Form()],
    hour: Annotated[int, Form()],
    seats: Annotated[int, Form()] = 1,
    move: Annotated[int, Form()] = 0,
) -> Response:
    """Book seats, or move a booking."""
    owner, state = visit.owner, visit.state
    if seats < 1 or seats > seats_left(state, workshop, day, hour):
        return visit.go(f"/workshops/{workshop}" if workshop in WORKSHOPS else "/workshops")
    if move:
        moved = _own(visit, move)
        moved.workshop, moved.day, moved.hour, moved.seats = workshop, day, hour, seats
    else:
        number = max(one.number for one in state.bookings) + 1 if state.bookings else 501
        state.bookings.append(Booking(number, owner.login, workshop, day, hour, seats))
    return visit.go("/bookings")


@router.post("/bookings/{number}/cancel")
async def cancel(visit: Visited, number: int) -> Response:
    """Give a booking up."""
    visit.state.bookings.remove(_own(visit, number))
    return visit.go("/bookings")


def _own(visit: Visit, number: int) -> Booking:
    for one in visit.state.bookings:
        if one.number == number and one.account == visit.owner.login:
            return one
    raise HTTPException(404, "there is no such booking")
