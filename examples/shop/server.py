"""The shop as a server on this machine, and its worlds."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from .pages import ROUTERS
from .state import State, first_state
from .visit import HEADER, Worlds

_START_SECONDS = 10.0


def application(worlds: Worlds) -> FastAPI:
    """Return the shop."""
    app = FastAPI(title="Lantern & Loom", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.worlds = worlds
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")))
    return app


@dataclass(frozen=True)
class ShopWorld:
    """One branch's own shop. Implements `branchwise.web.World`."""

    url: str
    headers: Mapping[str, str]
    state: State
    """What has become of it; for checks, which see the server's side."""
    forget: Callable[[], None]

    async def close(self) -> None:
        """Forget it."""
        self.forget()


@dataclass(frozen=True)
class ShopSite:
    """The shop as a task begins with it. Implements `branchwise.web.Site`."""

    shop: Shop
    start: str = "/"
    prepare: Callable[[State], None] | None = None
    """What is different from every other beginning."""

    async def open(self) -> ShopWorld:
        """Return a world of its own, in its first state."""
        return self.shop.world(self.start, self.prepare)


class Shop:
    """The server, in a thread of its own, so that searches in any event loop may use it.

    Args:
        port: where it listens on this machine; 0 for a free one. Runs that are resumed later need the same port again.
    """

    def __init__(self, port: int = 0) -> None:
        self.worlds: Worlds = {}
        self._socket = socket.create_server(("127.0.0.1", port))
        config = uvicorn.Config(
            application(self.worlds), log_level="warning", access_log=False, lifespan="off", ws="none"
        )
        self._server = uvicorn.Server(config)
        # Ends with the process at the latest: nothing in it outlives that.
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="shop", daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def site(self, start: str = "/", prepare: Callable[[State], None] | None = None) -> ShopSite:
        """Return the shop as something that every branch gets afresh."""
        return ShopSite(self, start, prepare)

    def world(self, start: str = "/", prepare: Callable[[State], None] | None = None) -> ShopWorld:
        """Return a world of its own, in its first state."""
        key, state = secrets.token_urlsafe(16), first_state()
        if prepare is not None:
            prepare(state)
        self.worlds[key] = state
        return ShopWorld(self.url + start, {HEADER: key}, state, lambda: self._forget(key))

    def _forget(self, key: str) -> None:
        self.worlds.pop(key, None)

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(round(_START_SECONDS / 0.01)):
            if self._server.started:
                return self
            self._thread.join(0.01)
        raise TimeoutError(f"the shop's server has not started within {_START_SECONDS:g} s")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)
