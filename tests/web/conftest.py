"""A small site of real pages on the loopback, and supplies of browsers on it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from branchwise.web import Browser, WebSandboxes
from branchwise.web.chromium import Chromium

from .small_site import SmallSite

Start = Callable[..., Awaitable[WebSandboxes]]


@pytest.fixture
def site() -> Iterator[SmallSite]:
    """The site, with a second one beside it that nobody may reach."""
    with SmallSite() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def start(chromium: Chromium, site: SmallSite, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts supplies on the site; they end with the test."""
    async with AsyncExitStack() as stack:

        async def begin(path: str = "/", **settings: Any) -> WebSandboxes:
            url = path if ":" in path else site.url + path
            supply = await Browser(url, **settings).start("test", tmp_path / "states")
            stack.push_async_callback(supply.aclose)
            return supply

        yield begin


@pytest.fixture
def datagrams() -> Iterator[socket.socket]:
    """A socket that notes whether datagrams come in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.2", 0))
        listening.setblocking(False)
        yield listening
