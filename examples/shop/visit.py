"""One request, seen from the shop: whose world it is about, whose visit it is, and how it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .goods import CATEGORIES, goods, money
from .state import Account, Session, State, first_state

HEADER = "x-shop-world"
COOKIE = "visit"

Worlds = dict[str, State]
"""The worlds that are open, by their keys; the empty key is that of people who send none."""


class Visit:
    """What a page needs to know and to do."""

    def __init__(self, request: Request) -> None:
        worlds: Worlds = request.app.state.worlds
        key = request.headers.get(HEADER, "")
        if not key:
            worlds.setdefault("", first_state())
        if key not in worlds:
            raise HTTPException(410, "this world of the shop is closed")
        self.state = worlds[key]
        self.path = request.url.path
        self._key = request.cookies.get(COOKIE, "")
        self._is_new = self._key not in self.state.sessions
        if self._is_new:
            # Numbers, so that worlds in which the same was done are equal. What keeps them apart is the world's key.
            self._key = str(len(self.state.sessions) + 1)
            self.state.sessions[self._key] = Session(cart=dict(self.state.cart))

    @property
    def session(self) -> Session:
        """The browser's visit."""
        return self.state.sessions[self._key]

    @property
    def account(self) -> Account | None:
        """Who is logged in."""
        return self.state.accounts.get(self.session.login)

    @property
    def owner(self) -> Account:
        """Who is logged in.

        Raises:
            HTTPException: nobody is; the visitor is sent to the login.
        """
        if self.account is None:
            raise HTTPException(303, headers={"Location": f"/login?then={self.path}"})
        return self.account

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page."""
        known: Mapping[str, Any] = {"visit": self, "categories": CATEGORIES, "goods": goods(), "money": money}
        text = _templates().get_template(f"{template}.html").render(**known, **values)
        response = HTMLResponse(text, status)
        self._keep(response)
        return response

    def go(self, path: str) -> RedirectResponse:
        """Send the browser to another page."""
        response = RedirectResponse(path, 303)
        self._keep(response)
        return response

    def _keep(self, response: Response) -> None:
        if self._is_new:
            response.set_cookie(COOKIE, self._key, httponly=True, samesite="lax")


Visited = Annotated[Visit, Depends(Visit)]


@cache
def _templates() -> Environment:
    folder = Path(__file__).with_name("templates")
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
