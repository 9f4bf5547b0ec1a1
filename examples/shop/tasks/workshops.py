"""Tasks of workshops: a calendar that is drawn in the browser."""

from __future__ import annotations

from branchwise.web.tasks import Hand

from ..state import Booking, State
from .base import ShopTask, as_mira, as_theo, state

_OWN = [("mira", "pottery", "2026-05-12", 14, 1), ("mira", "bookbinding", "2026-05-21", 10, 2)]


async def _choose(hand: Hand, workshop: str, day: str, hour: str) -> None:
    await hand.click("link", "Workshops")
    await hand.click("link", workshop)
    await _slot(hand, day, hour)


async def _slot(hand: Hand, day: str, hour: str) -> None:
    if day > "2026-06":
        await hand.click("button", "Later month")
    await hand.click("button", day)
    await hand.click("button", hour)


async def _book(hand: Hand) -> str:
    await as_theo(hand)
    await _choose(hand, "Pottery", "2026-05-13", "10:00 (4 left)")
    await hand.click("button", "Book")
    return ""


async def _evening(hand: Hand) -> str:
    await as_theo(hand)
    await _choose(hand, "Coffee tasting", "2026-06-09", "18:00 (4 left)")
    await hand.select("Seats", "2")
    await hand.click("button", "Book")
    return ""


async def _move(hand: Hand) -> str:
    await as_mira(hand)
    await hand.click("link", "Your bookings")
    await hand.click("link", "Move booking 501")
    await _slot(hand, "2026-05-14", "14:00 (4 left)")
    await hand.click("button", "Book")
    return ""


async def _cancel(hand: Hand) -> str:
    await as_mira(hand)
    await hand.click("link", "Your bookings")
    await hand.click("button", "Cancel booking 502")
    await hand.accept()
    return ""


def _seats(shop: State) -> list[tuple[str, str, str, int, int]]:
    return [(one.account, one.workshop, one.day, one.hour, one.seats) for one in shop.bookings]


def _add(shop: State, workshop: str, day: str, hour: int, seats: int = 1) -> None:
    shop.bookings.append(Booking(503, "theo", workshop, day, hour, seats))


def _booked_instead_of_moved(shop: State) -> None:
    shop.bookings.append(Booking(503, "mira", "pottery", "2026-05-14", 14))


TASKS = (
    ShopTask(
        "book-pottery",
        "Log in as theo (password paper-boat) and book one seat in the pottery workshop of 13 May 2026 at 10:00.",
        state(lambda shop, _: _seats(shop) == [*_OWN, ("theo", "pottery", "2026-05-13", 10, 1)], "this is not booked"),
        _book,
        near=lambda shop: _add(shop, "pottery", "2026-05-12", 10),
    ),
    ShopTask(
        "book-evening",
        "Log in as theo (password paper-boat) and book two seats in the first coffee tasting in June 2026 that begins at 18:00.",
        state(lambda shop, _: _seats(shop) == [*_OWN, ("theo", "coffee", "2026-06-09", 18, 2)], "this is not booked"),
        _evening,
        near=lambda shop: _add(shop, "coffee", "2026-06-09", 14, 2),
    ),
    ShopTask(
        "move-booking",
        "Log in as mira (password lantern-42) and move the pottery workshop that she has booked to 14 May 2026 at 14:00.",
        state(
            lambda shop, _: _seats(shop) == [("mira", "pottery", "2026-05-14", 14, 1), _OWN[1]],
            "it was not moved there",
        ),
        _move,
        near=_booked_instead_of_moved,
    ),
    ShopTask(
        "cancel-booking",
        "Log in as mira (password lantern-42) and cancel the booking for bookbinding.",
        state(lambda shop, _: _seats(shop) == [_OWN[0]], "not just this booking is gone"),
        _cancel,
        near=lambda shop: shop.bookings.clear(),
    ),
)
