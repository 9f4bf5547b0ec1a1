"""Tasks of accounts: login, registration, address, wish list, reviews."""

from __future__ import annotations

from branchwise.web.tasks import Hand

from ..state import Account, Address, Review, State
from .base import ShopTask, as_mira, as_theo, show, state

_LEIPZIG = Address("Theo Brandt", "Lime Square 21", "04177", "Leipzig")


async def _log_in(hand: Hand) -> str:
    await as_mira(hand)
    return ""


async def _register(hand: Hand) -> str:
    await hand.click("link", "Log in")
    await hand.click("link", "Make an account")
    await hand.fill("Name", "ada")
    await hand.fill("Password", "blue-heron-9")
    await hand.fill("Password again", "blue-heron-9")
    await hand.check("Send me the newsletter", on=False)
    await hand.check("I accept the terms")
    await hand.click("button", "Make account")
    return ""


async def _move(hand: Hand) -> str:
    await as_theo(hand)
    await hand.fill("Street", _LEIPZIG.street)
    await hand.fill("Postcode", _LEIPZIG.postcode)
    await hand.click("button", "Save address")
    return ""


async def _wish(hand: Hand) -> str:
    await as_mira(hand)
    await hand.click("link", "Your wish list")
    await hand.click("button", "Take Brass Floor Lamp off")
    await show(hand, "Wool Blanket")
    await hand.click("button", "Put on wish list")
    return ""


async def _review(hand: Hand) -> str:
    await as_theo(hand)
    await show(hand, "Enamel Kettle")
    await hand.select("Stars", "4")
    await hand.fill("Your review", "Pours well.")
    await hand.click("button", "Publish review")
    return ""


def _registered(shop: State, _: str) -> bool:
    return shop.accounts.get("ada") == Account("ada", "blue-heron-9", Address(), newsletter=False)


def _without_refusing(shop: State) -> None:
    shop.accounts["ada"] = Account("ada", "blue-heron-9", Address(), newsletter=True)


def _half_moved(shop: State) -> None:
    shop.accounts["theo"].address.street = _LEIPZIG.street


TASKS = (
    ShopTask(
        "log-in",
        "Log in as mira; the password is lantern-42.",
        state(lambda shop, _: shop.visit.login == "mira", "mira is not logged in"),
        _log_in,
        near=lambda _: "logged in as mira",
    ),
    ShopTask(
        "register",
        "Make an account with the name ada and the password blue-heron-9. No newsletter, please.",
        state(_registered, "there is no such account"),
        _register,
        near=_without_refusing,
    ),
    ShopTask(
        "new-address",
        "Theo (password paper-boat) has moved to Lime Square 21, 04177 Leipzig. Log in as theo and change the address.",
        state(lambda shop, _: shop.accounts["theo"].address == _LEIPZIG, "the address is not this one"),
        _move,
        near=_half_moved,
    ),
    ShopTask(
        "wish-list",
        "Log in as mira (password lantern-42), take the Brass Floor Lamp off the wish list and put the Wool Blanket on it.",
        state(lambda shop, _: shop.accounts["mira"].wishlist == [42], "there is something else on the wish list"),
        _wish,
        near=lambda shop: shop.accounts["mira"].wishlist.append(42),
    ),
    ShopTask(
        "review",
        "Log in as theo (password paper-boat) and give the Enamel Kettle four stars, with the review: Pours well.",
        state(
            lambda shop, _: shop.reviews == [Review(1, "theo", 4, "Pours well.")],
            "there is no such review, or another one",
        ),
        _review,
        near=lambda shop: shop.reviews.append(Review(1, "theo", 5, "Pours well.")),
    ),
)
