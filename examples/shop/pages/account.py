"""Who somebody is: login, registration, address, orders, wish list."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException
from fastapi.responses import Response

from ..state import Account, Address
from ..visit import Visited
from .catalogue import product_of

router = APIRouter()


@router.get("/login")
async def login(visit: Visited, then: str = "/account") -> Response:
    """Ask who it is."""
    return visit.page("login", then=then, problem="")


@router.post("/login")
async def log_in(
    visit: Visited,
    *,
    login: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    then: Annotated[str, Form()] = "/account",
) -> Response:
    """Let somebody in."""
    account = visit.state.accounts.get(login.strip().lower())
    if account is None or account.password != password:
        return visit.page("login", then=then, problem="That is not the right name and password.", status=422)
    visit.session.login = account.login
    return visit.go(then if then.startswith("/") and not then.startswith("//") else "/account")


@router.post("/logout")
async def log_out(visit: Visited) -> Response:
    """Let somebody out."""
    visit.session.login = ""
    return visit.go("/")


@router.get("/register")
async def register(visit: Visited) -> Response:
    """Ask who somebody new is."""
    return visit.page("register", problem="", login="")


@router.post("/register")
async def make_account(
    visit: Visited,
    *,
    login: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
    newsletter: Annotated[str, Form()] = "",
    terms: Annotated[str, Form()] = "",
) -> Response:
    """Make an account."""
    login = login.strip().lower()
    problem = ""
    if not login.isalpha():
        problem = "A name is made of letters."
    elif login in visit.state.accounts:
        problem = "This name is taken."
    elif len(password) < 8:
        problem = "A password has at least eight characters."
    elif password != again:
        problem = "The passwords differ."
    elif not terms:
        problem = "You have to accept the terms."
    if problem:
        return visit.page("register", problem=problem, login=login, status=422)
    visit.state.accounts[login] = Account(login, password, Address(), bool(newsletter))
    visit.session.login = login
    return visit.go("/account")


@router.get("/account")
async def account(visit: Visited) -> Response:
    """Show what the shop knows of somebody."""
    return visit.page("account", account=visit.owner, address=visit.owner.address, problems=[])


@router.post("/account/address")
async def change_address(
    visit: Visited,
    *,
    name: Annotated[str, Form()] = "",
    street: Annotated[str, Form()] = "",
    postcode: Annotated[str, Form()] = "",
    city: Annotated[str, Form()] = "",
) -> Response:
    """Take another address."""
    owner, given = visit.owner, Address(name.strip(), street.strip(), postcode.strip(), city.strip())
    if problems := given.problems():
        return visit.page("account", account=owner, address=given, problems=problems, status=422)
    owner.address = given
    return visit.go("/account")


@router.post("/account/newsletter")
async def newsletter(visit: Visited, wanted: Annotated[str, Form()] = "") -> Response:
    """Begin or end sending the newsletter."""
    visit.owner.newsletter = bool(wanted)
    return visit.go("/account")


@router.get("/orders")
async def orders(visit: Visited) -> Response:
    """Show somebody's orders."""
    mine = [order for order in visit.state.orders if order.account == visit.owner.login]
    return visit.page("orders", orders=mine)


@router.post("/orders/{number}/cancel")
async def cancel(visit: Visited, number: int) -> Response:
    """Cancel an order."""
    order = visit.state.order(number)
    if order is None or order.account != visit.owner.login:
        raise HTTPException(404, "there is no such order")
    if order.status == "being packed":
        order.status = "cancelled"
    return visit.go("/orders")


@router.get("/wishlist")
async def wishlist(visit: Visited) -> Response:
    """Show what somebody wishes for."""
    return visit.page("wishlist", products=[product_of(number) for number in visit.owner.wishlist])


@router.post("/wishlist")
async def wish(visit: Visited, number: Annotated[int, Form()], on: Annotated[str, Form()] = "yes") -> Response:
    """Put something on the wish list, or take it off."""
    wishes = visit.owner.wishlist
    product_of(number)
    if on == "yes" and number not in wishes:
        wishes.append(number)
    elif on != "yes" and number in wishes:
        wishes.remove(number)
    return visit.go("/wishlist")


@router.get("/settings")
async def settings(visit: Visited) -> Response:
    """Show how the shop looks in this browser; the browser keeps that."""
    return visit.page("settings")
