"""Tasks of buying: the cart, coupons, orders."""

from __future__ import annotations

from branchwise.web.tasks import Hand

from ..state import Address, Cart, Order, State
from .base import ShopTask, add, as_mira, as_theo, carries, numbers, state

_FULL: Cart = {"1/red": 1, "9": 1, "22": 3}
_BERLIN = Address("Ada Lind", "Elm Street 12", "10115", "Berlin")


def _fill(shop: State) -> None:
    shop.cart.update(_FULL)


async def _take_out(hand: Hand) -> str:
    await hand.click("link", "Cart (5)")
    await hand.click("button", "Remove Enamel Kettle")
    return ""


async def _coupon(hand: Hand) -> str:
    await hand.click("link", "Board")
    await hand.click("link", "Coupons and offers")
    await hand.click("link", "Cart (5)")
    await hand.fill("Coupon", "spring10")
    await hand.click("button", "Apply coupon")
    return ""


async def _guest(hand: Hand) -> str:
    await add(hand, "Tea Strainer")
    await hand.click("link", "Go to checkout")
    for name, text in (("Full name", _BERLIN.name), ("Street", _BERLIN.street), ("City", _BERLIN.city)):
        await hand.fill(name, text)
    await hand.fill("Postcode", _BERLIN.postcode, enter=True)
    await hand.check("pickup (0.00)", role="radio")
    await hand.click("button", "Continue")
    await hand.click("button", "Place order")
    return ""


async def _member(hand: Hand) -> str:
    await as_theo(hand)
    await add(hand, "Notebook Dotted", colour="navy")
    await hand.click("link", "Go to checkout")
    await hand.click("button", "Continue")
    await hand.check("express (9.90)", role="radio")
    await hand.click("button", "Continue")
    await hand.click("button", "Place order")
    return ""


async def _cancel(hand: Hand) -> str:
    await as_mira(hand)
    await hand.click("link", "Your orders")
    await hand.click("button", "Cancel order 1012")
    await hand.accept()
    return ""


async def _status(hand: Hand) -> str:
    await as_mira(hand)
    await hand.click("link", "Your orders")
    lines = hand.page.lines
    return lines[lines.index("## Order 1009") + 1]


def _guest_order(shop: State, _: str) -> bool:
    order = shop.orders[-1]
    return (order.account, order.items, order.address, order.shipping) == ("", {"7": 1}, _BERLIN, "pickup")


def _member_order(shop: State, _: str) -> bool:
    order = shop.orders[-1]
    where = shop.accounts["theo"].address
    return (order.account, order.items, order.address, order.shipping) == ("theo", {"26/navy": 1}, where, "express")


def _order(shop: State, items: Cart, address: Address, shipping: str, account: str = "") -> None:
    shop.orders.append(Order(1013, account, items, address, shipping))


def _cancelled(shop: State) -> list[int]:
    return [order.number for order in shop.orders if order.status == "cancelled"]


def _cancel_other(shop: State) -> None:
    order = shop.order(1009)
    assert order is not None
    order.status = "cancelled"


TASKS = (
    ShopTask(
        "take-out-kettle",
        "Take the Enamel Kettle out of the cart, and leave everything else in it.",
        carries({"9": 1, "22": 3}),
        _take_out,
        near=lambda shop: shop.cart.clear(),
        prepare=_fill,
    ),
    ShopTask(
        "coupon",
        "Somebody on the board says which coupon works in May. Use it for the cart.",
        state(lambda shop, _: shop.visit.coupon == "SPRING10" and shop.visit.cart == _FULL, "the cart has no coupon"),
        _coupon,
        near=lambda _: "The coupon is SPRING10",
        prepare=_fill,
    ),
    ShopTask(
        "order-as-guest",
        "Without logging in, order one Tea Strainer for pickup. The address is Ada Lind, Elm Street 12, 10115 Berlin.",
        state(_guest_order, "there is no such order"),
        _guest,
        near=lambda shop: _order(shop, {"7": 1}, _BERLIN, "standard"),
    ),
    ShopTask(
        "order-as-theo",
        "Log in as theo with the password paper-boat and order one Notebook Dotted in navy by express to his own address.",
        state(_member_order, "there is no such order"),
        _member,
        near=lambda shop: _order(shop, {"26/sand": 1}, shop.accounts["theo"].address, "express", "theo"),
    ),
    ShopTask(
        "cancel-order",
        "Log in as mira with the password lantern-42 and cancel the order 1012.",
        state(lambda shop, _: _cancelled(shop) == [1012], "order 1012 is not cancelled, or another one is"),
        _cancel,
        near=_cancel_other,
    ),
    ShopTask(
        "order-status",
        "Log in as mira with the password lantern-42. What is the status of order 1009, and what is its total in euros?",
        state(lambda _, answer: "packed" in answer.lower() and 38.9 in numbers(answer), "it is being packed, 38.90"),
        _status,
        near=lambda _: "It was sent, 38.90",
    ),
)
