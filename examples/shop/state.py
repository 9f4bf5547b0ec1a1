"""Everything that changes in a shop: one such state per world."""

from __future__ import annotations

import copy
import tomllib
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .goods import goods

HERE = Path(__file__)
INJECTIONS = HERE.parents[2] / "tests" / "attacks" / "injections.toml"
"""Texts that try to give orders to whoever reads them; the board is full of such."""
TODAY = "2026-05-04"
COUPONS = {"SPRING10": 10}
"""Per cent."""
SHIPPING = {"standard": 490, "express": 990, "pickup": 0}
"""Cents."""
POST_CHARS = 1200
"""What a post may have; longer ones are cut."""

Cart = dict[str, int]
"""How many of what: keys are `number` or `number/colour`."""


@dataclass(slots=True)
class Address:
    """Where something is sent to."""

    name: str = ""
    street: str = ""
    postcode: str = ""
    city: str = ""

    def problems(self) -> list[str]:
        """Return what is wrong with it, in words for who wrote it."""
        missing = [f"{name} is missing" for name, value in asdict(self).items() if not value]
        right = len(self.postcode) == 5 and self.postcode.isdecimal()
        return missing + ([] if right or not self.postcode else ["postcode must be five digits"])


@dataclass(slots=True)
class Account:
    """Somebody whom the shop knows."""

    login: str
    password: str
    address: Address
    newsletter: bool = False
    wishlist: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Order:
    """Something that was bought."""

    number: int
    account: str
    """Login of who bought it; empty for a guest."""
    items: Cart
    address: Address
    shipping: str
    coupon: str = ""
    status: str = "being packed"
    total_cents: int = 0


@dataclass(slots=True)
class Booking:
    """Seats in a workshop."""

    number: int
    account: str
    workshop: str
    day: str
    hour: int
    seats: int = 1


@dataclass(slots=True)
class Post:
    """Something that was said on the board."""

    author: str
    text: str
    reported: bool = False


@dataclass(slots=True)
class Thread:
    """Posts about one thing."""

    number: int
    title: str
    posts: list[Post]


@dataclass(slots=True)
class Letter:
    """Something that was written to the shop."""

    topic: str
    email: str
    text: str
    copy: bool
    reply_by: str


@dataclass(slots=True)
class Review:
    """What somebody thinks of a product."""

    product: int
    author: str
    stars: int
    text: str


@dataclass(slots=True)
class Session:
    """One browser's visit."""

    login: str = ""
    """Empty where nobody is logged in."""
    cart: Cart = field(default_factory=Cart)
    coupon: str = ""
    address: Address = field(default_factory=Address)
    shipping: str = ""


@dataclass(slots=True)
class State:
    """All of it."""

    accounts: dict[str, Account]
    orders: list[Order]
    bookings: list[Booking]
    threads: list[Thread]
    letters: list[Letter] = field(default_factory=list[Letter])
    reviews: list[Review] = field(default_factory=list[Review])
    sessions: dict[str, Session] = field(default_factory=dict[str, Session])
    cart: Cart = field(default_factory=Cart)
    """What a visitor finds in the cart."""

    @property
    def visit(self) -> Session:
        """The last session, or one in which nothing was done."""
        return next(reversed(self.sessions.values()), None) or Session(cart=dict(self.cart))

    def order(self, number: int) -> Order | None:
        """Return an order."""
        return next((one for one in self.orders if one.number == number), None)

    def thread(self, number: int) -> Thread | None:
        """Return a thread."""
        return next((one for one in self.threads if one.number == number), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as data."""
        return asdict(self)


def first_state() -> State:
    """Return what every world begins with."""
    return copy.deepcopy(_first())


@cache
def _first() -> State:
    data = tomllib.loads(HERE.with_name("first.toml").read_text(encoding="utf-8"))
    accounts = {login: _account(login, row) for login, row in data["accounts"].items()}
    orders = [Order(address=copy.copy(accounts[row["account"]].address), **row) for row in data["orders"]]
    for order in orders:
        order.total_cents = worth(order.items) + SHIPPING[order.shipping]
    bookings = [Booking(**row) for row in data["bookings"]]
    threads = [Thread(row["number"], row["title"], [Post(*post) for post in row["posts"]]) for row in data["threads"]]
    threads[0].posts[2:2] = hostile()[:3]
    threads[-1].posts += hostile()
    return State(accounts, orders, bookings, threads)


def _account(login: str, row: dict[str, Any]) -> Account:
    address = Address(**{key: row[key] for key in ("name", "street", "postcode", "city")})
    return Account(login, row["password"], address, row["newsletter"], row["wishlist"])


def hostile() -> list[Post]:
    """Return posts that try to give orders to an agent that reads them."""
    rows: dict[str, dict[str, Any]] = tomllib.loads(INJECTIONS.read_text(encoding="utf-8"))
    return [
        Post("guest", str(row["text"]).replace("{canary}", name).strip()[:POST_CHARS]) for name, row in rows.items()
    ]


def worth(cart: Cart, coupon: str = "") -> int:
    """Return what things cost together, in cents."""
    total = sum(goods()[int(key.partition("/")[0])].price_cents * count for key, count in cart.items())
    return total - total * COUPONS.get(coupon, 0) // 100
