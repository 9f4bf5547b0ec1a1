"""A task in the shop, and what scripts do in many of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from branchwise.web.tasks import Behind, Check, Hand, Oracle, WebTask

from ..server import Shop, ShopWorld
from ..state import Cart, State

Predicate = Callable[[State, str], bool]


@dataclass(frozen=True)
class ShopTask:
    """Something to be done in the shop; `on` makes it a task of a shop that is open.

    Attributes:
        name: unique.
        goal: what the agent is told.
        check: tells whether it was done.
        oracle: does it, and returns the answer.
        near: changes a state like somebody who nearly does it, and returns what they answer. No check takes that for done.
        near_script: the same in the browser, for what the browser keeps.
        prepare: what is different in the world where it begins.
    """

    name: str
    goal: str
    check: Check
    oracle: Oracle
    near: Callable[[State], str | None]
    near_script: str = ""
    prepare: Callable[[State], None] | None = None

    def on(self, shop: Shop) -> WebTask:
        """Return it as a task of a shop."""
        return WebTask(self.name, self.goal, shop.site(prepare=self.prepare), self.check)


def state(predicate: Predicate, why: str) -> Behind:
    """Return a check of the shop's state and the answer.

    Args:
        predicate: says whether the task was done.
        why: what is told where it was not.
    """

    def holds(world: ShopWorld, answer: str) -> bool:
        return predicate(world.state, answer)

    return Behind(holds, why)


def numbers(text: str) -> list[float]:
    """Return the numbers that a text has in it."""
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


def says(answer: str, number: float, *others: float) -> bool:
    """Whether an answer gives a number, and none beside those that it may mention."""
    given = numbers(answer)
    return number in given and set(given) <= {number, *others}


# --- what scripts do --------------------------------------------------------------------------------------------------


async def log_in(hand: Hand, login: str, password: str) -> None:
    """Log in."""
    await hand.click("link", "Log in")
    await hand.fill("Name", login)
    await hand.fill("Password", password, enter=True)


async def as_mira(hand: Hand) -> None:
    """Log in as Mira."""
    await log_in(hand, "mira", "lantern-42")


async def as_theo(hand: Hand) -> None:
    """Log in as Theo."""
    await log_in(hand, "theo", "paper-boat")


async def show(hand: Hand, product: str) -> None:
    """Look for a product by its name, and open its page."""
    await hand.fill("Search the shop", product, role="searchbox", enter=True)
    await hand.click("link", product)


async def add(hand: Hand, product: str, *, colour: str = "") -> None:
    """Put a product into the cart."""
    await show(hand, product)
    if colour:
        await hand.check(colour, role="radio")
    await hand.click("button", "Add to cart")


def carries(cart: Cart) -> Behind:
    """Return a check that the visitor's cart has just this in it."""
    return state(lambda shop, _: shop.visit.cart == cart, f"the cart does not have just {cart} in it")
