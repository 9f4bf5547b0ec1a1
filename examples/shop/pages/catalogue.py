"""Looking for things: the home page, lists, the search, a product, what is compared."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException
from fastapi.responses import Response

from ..goods import CATEGORIES, Product, found, goods, listed
from ..state import Review
from ..visit import Visited

PER_PAGE = 6

router = APIRouter()


def product_of(number: int) -> Product:
    """Return a product.

    Raises:
        HTTPException: there is none of that number.
    """
    if number not in goods():
        raise HTTPException(404, "there is no such product")
    return goods()[number]


@router.get("/")
async def home(visit: Visited) -> Response:
    """Show the home page."""
    return visit.page("home")


@router.get("/list/{category}")
async def category(
    visit: Visited, category: str, *, page: int = 1, order: str = "name", most: str = "", available: str = ""
) -> Response:
    """Show a page of a list."""
    if category not in {*CATEGORIES, "all"}:
        raise HTTPException(404, "there is no such list")
    cents = int(most) * 100 if most.isdecimal() else None
    products = listed("" if category == "all" else category, most_cents=cents, available=bool(available), order=order)
    pages = max(-(-len(products) // PER_PAGE), 1)
    page = min(max(page, 1), pages)
    shown = products[(page - 1) * PER_PAGE : page * PER_PAGE]
    query = f"order={order}&most={most}&available={available}"
    return visit.page(
        "list",
        name=category,
        products=shown,
        page=page,
        pages=pages,
        order=order,
        most=most,
        available=available,
        query=query,
    )


@router.get("/search")
async def search(visit: Visited, q: str = "") -> Response:
    """Show what was found."""
    return visit.page("search", words=q, products=found(q))


@router.get("/suggest")
async def suggest(q: str = "") -> list[str]:
    """Return names for somebody who is still typing."""
    return [one.name for one in goods().values() if len(q) > 1 and q.lower() in one.name.lower()][:5]


@router.get("/products.json")
async def products(numbers: str = "") -> list[dict[str, Any]]:
    """Return products for the list of what is compared."""
    chosen = [goods()[int(one)] for one in numbers.split(",") if one.isdecimal() and int(one) in goods()]
    return [
        {"number": p.number, "name": p.name, "price": p.price, "rating": p.rating, "washing": p.washing} for p in chosen
    ]


@router.get("/compare")
async def compare(visit: Visited) -> Response:
    """Show what is compared; the browser knows what that is."""
    return visit.page("compare")


@router.get("/product/{number}")
async def product(visit: Visited, number: int) -> Response:
    """Show a product."""
    reviews = [one for one in visit.state.reviews if one.product == number]
    return visit.page("product", product=product_of(number), reviews=reviews)


@router.get("/product/{number}/care")
async def care(visit: Visited, number: int) -> Response:
    """Show how to care for a product; opened in a tab of its own."""
    return visit.page("care", product=product_of(number))


@router.post("/product/{number}/review")
async def review(
    visit: Visited, number: int, stars: Annotated[int, Form()], text: Annotated[str, Form()] = ""
) -> Response:
    """Take a review."""
    owner = visit.owner
    product_of(number)
    visit.state.reviews.append(Review(number, owner.login, min(max(stars, 1), 5), text.strip()))
    return visit.go(f"/product/{number}")
