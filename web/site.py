"""The server's side of pages, where it can be brought back to its beginning for every branch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class World(Protocol):
    """One branch's own copy of a site: what is done in it shows in no other."""

    @property
    def url(self) -> str:
        """The start page. The same for every world of a site, or no two states would ever be equal."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What the browser sends with every request, so that the server knows which world is meant."""
        ...

    async def close(self) -> None:
        """Forget the copy. Idempotent."""
        ...


@runtime_checkable
class Site(Protocol):
    """A site that can be had afresh as often as it is needed. Safe for concurrent use."""

    async def open(self) -> World:
        """Return a copy of the site in its first state.

        A server that has only one state can be such too: wait until the world before is closed, and set it back. Then one
        branch is open at a time (`Browser(contexts=1)`).
        """
        ...
