"""What the shop sells."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CATEGORIES = ("kitchen", "lighting", "garden", "office", "audio", "textiles")
ORDERS = ("name", "price", "rating")
"""By what lists can be ordered."""


@dataclass(frozen=True, slots=True)
class Product:
    """One thing that can be bought."""

    number: int
    name: str
    category: str
    price_cents: int
    rating: float
    """Stars, from 1 to 5."""
    stock: int
    colours: tuple[str, ...]
    """Empty where there is no choice."""
    washing: str
    about: str

    @property
    def price(self) -> str:
        """As it is shown."""
        return money(self.price_cents)


def money(cents: int) -> str:
    """Return an amount as it is shown, for example "39.00"."""
    return f"{cents // 100}.{cents % 100:02d}"


@cache
def goods() -> dict[int, Product]:
    """Return everything, by number."""
    with Path(__file__).with_name("goods.csv").open(encoding="utf-8", newline="") as file:
        return {int(row["number"]): _product(row) for row in csv.DictReader(file)}


def _product(row: dict[str, str]) -> Product:
    return Product(
        number=int(row["number"]),
        name=row["name"],
        category=row["category"],
        price_cents=int(row["price_cents"]),
        rating=float(row["rating"]),
        stock=int(row["stock"]),
        colours=tuple(row["colours"].split("|")) if row["colours"] else (),
        washing=row["washing"],
        about=row["about"],
    )


def found(words: str) -> list[Product]:
    """Return what has all the words in its name, category or description, by name."""
    wanted = words.lower().split()

    def text(product: Product) -> str:
        return f"{product.name} {product.category} {product.about}".lower()

    return ordered([one for one in goods().values() if wanted and all(word in text(one) for word in wanted)], "name")


def listed(category: str, *, most_cents: int | None, available: bool, order: str) -> list[Product]:
    """Return what a list shows.

    Args:
        category: one of `CATEGORIES`; empty for all.
        most_cents: what costs more is left out.
        available: whether what is sold out is left out.
        order: one of `ORDERS`.
    """
    chosen = [
        one
        for one in goods().values()
        if category in {"", one.category}
        and (most_cents is None or one.price_cents <= most_cents)
        and (one.stock or not available)
    ]
    return ordered(chosen, order)


def ordered(products: Sequence[Product], order: str) -> list[Product]:
    """Return products by name, by price from the cheapest, or by rating from the best."""
    if order == "price":
        return sorted(products, key=lambda one: (one.price_cents, one.name))
    if order == "rating":
        return sorted(products, key=lambda one: (-one.rating, one.name))
    return sorted(products, key=lambda one: one.name)
