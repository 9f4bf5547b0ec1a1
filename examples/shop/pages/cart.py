"""Buying: the cart, the address, the way of sending, the order."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response

from ..state import COUPONS, SHIPPING, Address, Order, worth
from ..visit import Visit, Visited
from .catalogue import product_of

MOST = 20
"""Nobody gets more of a thing at once."""

router = APIRouter()


def _cart(visit: Visit, problem: str = "", status: int = 200) -> Response:
    total = worth(visit.session.cart, visit.session.coupon)
    return visit.page("cart", total=total, problem=problem, status=status)


@router.get("/cart")
async def cart(visit: Visited) -> Response:
    """Show the cart."""
    return _cart(visit)


@router.post("/cart/add")
async def add(
    visit: Visited,
    *,
    number: Annotated[int, Form()],
    count: Annotated[int, Form()] = 1,
    colour: Annotated[str, Form()] = "",
) -> Response:
    """Put something into the cart."""
    product = product_of(number)
    if product.colours and colour not in product.colours:
        return visit.page("product", product=product, reviews=[], problem="Choose a colour first.", status=422)
    if count < 1 or count > min(product.stock, MOST):
        return visit.page(
            "product", product=product, reviews=[], problem=f"We have {product.stock} of these.", status=422
        )
    key = f"{number}/{colour}" if product.colours else str(number)
    items = visit.session.cart
    items[key] = min(items.get(key, 0) + count, MOST)
    return visit.go("/cart")


@router.post("/cart/change")
async def change(visit: Visited, key: Annotated[str, Form()], count: Annotated[int, Form()]) -> Response:
    """Change how many of something are in the cart; none takes it out."""
    items = visit.session.cart
    if key not in items or count > MOST:
        return _cart(visit, problem=f"Nobody gets more than {MOST} of a thing.", status=422)
    if count < 1:
        del items[key]
    else:
        items[key] = count
    return visit.go("/cart")


@router.post("/cart/coupon")
async def coupon(visit: Visited, code: Annotated[str, Form()] = "") -> Response:
    """Take a coupon."""
    code = code.strip().upper()
    if code not in COUPONS:
        return _cart(visit, problem=f"The coupon {code} is not valid.", status=422)
    visit.session.coupon = code
    return visit.go("/cart")


@router.get("/checkout")
async def checkout(visit: Visited) -> Response:
    """Ask for the address."""
    if not visit.session.cart:
        return visit.go("/cart")
    known = visit.account.address if visit.account else visit.session.address
    return visit.page("checkout", address=known, problems=[])


@router.post("/checkout")
async def address(
    visit: Visited,
    *,
    name: Annotated[str, Form()] = "",
    street: Annotated[str, Form()] = "",
    postcode: Annotated[str, Form()] = "",
    city: Annotated[str, Form()] = "",
) -> Response:
    """Take the address."""
    given = Address(name.strip(), street.strip(), postcode.strip(), city.strip())
    if problems := given.problems():
        return visit.page("checkout", address=given, problems=problems, status=422)
    visit.session.address = given
    return visit.go("/checkout/shipping")


@router.get("/checkout/shipping")
async def shipping(visit: Visited) -> Response:
    """Ask how it is to be sent."""
    return visit.page("shipping", ways=SHIPPING)


@router.post("/checkout/shipping")
async def choose_shipping(visit: Visited, way: Annotated[str, Form()] = "") -> Response:
    """Take the way of sending."""
    if way not in SHIPPING:
        return visit.go("/checkout/shipping")
    visit.session.shipping = way
    return visit.go("/checkout/review")


@router.get("/checkout/review")
async def review(visit: Visited) -> Response:
    """Show the order before it is placed."""
    session = visit.session
    if not session.cart or session.shipping not in SHIPPING or session.address.problems():
        return visit.go("/checkout")
    return visit.page("review", total=worth(session.cart, session.coupon) + SHIPPING[session.shipping])


@router.post("/checkout/place")
async def place(visit: Visited) -> Response:
    """Take the order."""
    session, state = visit.session, visit.state
    if not session.cart or session.shipping not in SHIPPING or session.address.problems():
        return visit.go("/checkout")
    total = worth(session.cart, session.coupon) + SHIPPING[session.shipping]
    number = max(order.number for order in state.orders) + 1
    order = Order(
        number, session.login, session.cart, session.address, session.shipping, session.coupon, total_cents=total
    )
    state.orders.append(order)
    session.cart, session.coupon, session.shipping = {}, "", ""
    return visit.page("placed", order=order)
