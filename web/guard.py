"""What pages may reach: hosts by a proxy that checks every connection, files and methods by the browser itself."""

from __future__ import annotations

import asyncio
import contextlib
import mimetypes
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.async_api import Error, Route

from ..core.errors import ActionFailed
from ..sandboxes.egress import Egress
from ..sandboxes.forwarding import Visit
from ..sandboxes.network import Allow
from .policy import Policy

_FILES = re.compile(r"^file:", re.IGNORECASE)
_FILE_BYTES = 64 << 20
"""A larger file is not given to a browser that cannot see it itself."""
_QUIET = frozenset({"ping", "cspreport", "beacon"})
"""Kinds of requests that report something to somebody: stopped where methods are, and not worth a word."""


class Gateway:
    """The proxy of one supply's browser: an allow-list, on this machine's loopback, or on that of the browser's container.

    Everything goes through it, redirects, web sockets and requests to this machine itself included. The browser resolves
    no names and sends no datagrams.
    """

    def __init__(self, policy: Allow) -> None:
        self.egress = Egress(policy)
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    async def open(self) -> str:
        """Begin to listen on this machine, and return the proxy's address."""
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0, limit=1 << 17)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            await Visit((reader, writer), self.egress).run()
        except asyncio.CancelledError:
            if self._server is not None:
                raise
        finally:
            self._visits.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Hang up. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for visit in list(self._visits):
                visit.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)
            await server.wait_closed()
        self.egress.close()


def check_url(url: str, roots: Sequence[Path]) -> None:
    """Refuse addresses that an agent may not open, whatever the allow-list of hosts says.

    Args:
        url: what is to be opened.
        roots: folders of this machine whose files may be.

    Raises:
        ActionFailed: it is not `http(s)://HOST`, nor a file in one of the folders.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if url == "about:blank" or (scheme in {"http", "https"} and parts.hostname):
        return
    if scheme == "file":
        if may_read(url, roots):
            return
        raise ActionFailed(f"{url[:200]!r} is not among the files that pages may show")
    raise ActionFailed(f"{url[:200]!r} cannot be opened; give a whole address that begins with https:// or http://")


def may_read(url: str, roots: Sequence[Path]) -> bool:
    """Whether a `file:` address lies in one of the folders, links followed."""
    path = Path(unquote(urlsplit(url).path)).resolve()
    return any(path.is_relative_to(root) for root in roots)


class Warden:
    """Stops what the proxy cannot see: files of this machine, and requests by methods that change something.

    Args:
        roots: folders of this machine whose files pages may show.
        policy: what is held back.
        report: takes what was held back, in words.
        brings_files: whether the browser cannot see the files itself, so that they are given to it.
    """

    def __init__(
        self, roots: Sequence[Path], policy: Policy, report: Callable[[str], None], *, brings_files: bool = False
    ) -> None:
        self.for_good = False
        """Whether the action in progress may send by any method."""
        self.sent = False
        """Whether something that cannot be taken back was sent since this was last set."""
        self._roots = [root.resolve() for root in roots]
        self._policy = policy
        self._report = report
        self._brings_files = brings_files

    @property
    def pattern(self) -> re.Pattern[str]:
        """The addresses that it has to be asked about."""
        return _FILES if self._policy.methods is None else re.compile("")

    async def handle(self, route: Route) -> None:
        """Let a request go on, or stop it."""
        request = route.request
        if _FILES.match(request.url):
            stopped = not may_read(request.url, self._roots)
            if self._brings_files and not stopped:
                await _bring(route)
                return
        else:
            changes = not self._policy.lets(request.method, request.url)
            stopped = changes and not self.for_good
            self.sent = self.sent or (changes and self.for_good)
            if stopped and request.resource_type not in _QUIET:
                self._report(f"{request.method} {request.url.partition('?')[0][:200]}")
        with contextlib.suppress(Error):  # its page may be gone
            await (route.abort("blockedbyclient") if stopped else route.continue_())


async def _bring(route: Route) -> None:
    """Answer a request for a file with the file, as this machine's browser would show it; folders are not listed."""
    path = Path(unquote(urlsplit(route.request.url).path))
    content = await asyncio.to_thread(_content, path)
    with contextlib.suppress(Error):  # its page may be gone
        if content is None:
            await route.abort("failed")
            return
        kind, encoding = mimetypes.guess_type(path.name)
        await route.fulfill(body=content, content_type=kind if kind and not encoding else "application/octet-stream")


def _content(path: Path) -> bytes | None:
    """Return a file; None where there is none that can be shown."""
    try:
        return path.read_bytes() if path.stat().st_size <= _FILE_BYTES else None
    except OSError:
        return None
