"""One open branch: a context with its own world, what keeps it within its limits, and the hands that act on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self

from playwright.async_api import BrowserContext, Download, Error, StorageState, WebSocketRoute

from ..core.errors import ActionFailed, OutputLimitExceeded, SandboxError, UsageError
from .browser import secret_for
from .guard import Warden, check_url
from .hands import Hands
from .live import Live
from .script import page_script
from .settling import Patience
from .site import World
from .targets import Found

if TYPE_CHECKING:
    from .supply import WebSandboxes

Receiver = Callable[[str, bytes], Awaitable[str]]
"""Takes a downloaded file, and returns what is to be said of it."""


class Branch:
    """Made by `Branch.make`; closed by its supply."""

    def __init__(self, supply: WebSandboxes, context: BrowserContext, world: World | None, receiver: Receiver) -> None:
        spec = supply.spec
        self.download = receiver
        self.live = Live(context, self._receive, answer_seconds=spec.action_seconds)
        self.files: Callable[[str], Awaitable[bytes]] = _no_files
        self.warden = Warden(
            supply.roots, spec.effective_policy, self.live.blocked.append, brings_files=spec.container is not None
        )
        self.hands = Hands(
            self.live,
            Patience(spec.quiet_seconds, spec.settle_seconds, spec.load_seconds, spec.action_seconds),
            self._secret,
            self._check,
            self._file,
        )
        self.began_as = ""
        """What the start page showed here when it was first at rest."""
        self.touched: Found | None = None
        """What was acted on last."""
        self.portrait: asyncio.Future[None] | None = None
        """A picture that is being taken: until then nothing may be done here."""
        self._supply = supply
        self.world = world

    @classmethod
    async def make(cls, supply: WebSandboxes, receiver: Receiver, *, storage: StorageState | None, **more: Any) -> Self:
        """Return a branch with no page yet. `more` are further options of Playwright's contexts."""
        spec = supply.spec
        world = None if spec.site is None else await spec.site.open()
        try:
            options: dict[str, Any] = {
                "viewport": {"width": spec.viewport[0], "height": spec.viewport[1]},
                "proxy": {"server": supply.proxy, "bypass": "<-loopback>"},
                "service_workers": "block",
                "accept_downloads": True,
                "locale": spec.locale,
                "timezone_id": spec.timezone,
                "reduced_motion": "reduce",
                "extra_http_headers": dict(world.headers) if world is not None else None,
                "user_agent": spec.user_agent,
                "storage_state": storage or spec.storage,
            }
            given = {name: value for name, value in {**options, **more}.items() if value is not None}
            context = await supply.chromium.context(**given)
        except BaseException:
            if world is not None:
                await world.close()
            raise
        branch = cls(supply, context, world, receiver)
        try:
            await branch._prepare()
        except BaseException:
            await branch.close()
            raise
        return branch

    async def _prepare(self) -> None:
        spec, context = self._supply.spec, self.live.context
        context.set_default_timeout(spec.action_seconds * 1000)
        await context.add_init_script(page_script(seed=spec.seed, ignore=spec.ignore))
        await context.route(self.warden.pattern, self.warden.handle)
        if spec.effective_policy.methods is not None:
            await context.route_web_socket("**", _hang_up)  # what is sent through one has no method

    async def begin(self) -> None:
        """Open the start page.

        Raises:
            ActionFailed: it cannot be reached.
        """
        url = self._supply.start if self.world is None else self.world.url
        await self.live.start(url, timeout_seconds=self._supply.spec.load_seconds)

    def _secret(self, name: str, url: str) -> str:
        try:
            return secret_for(self._supply.spec, name, url, self._supply.start)
        except UsageError as error:
            raise ActionFailed(str(error)) from error

    def _check(self, url: str) -> None:
        check_url(url, self._supply.roots)

    async def _file(self, path: str) -> bytes:
        return await self.files(path)

    async def _receive(self, download: Download) -> str:
        """Take a file that a page sends, if it is small enough."""
        limit = self._supply.spec.download_mb << 20
        name = _safe(download.suggested_filename)
        try:
            content = await self._supply.chromium.downloaded(download, limit_bytes=limit)
            return await self.download(name, content)
        except OutputLimitExceeded as error:
            return f"the download {name!r} was dropped: {error}"
        except (Error, OSError, SandboxError) as error:
            return f"the download {name!r} failed: {str(error).partition(chr(10))[0][:120]}"
        finally:
            await download.delete()

    async def portrayed(self) -> None:
        """Wait for a picture that is being taken."""
        portrait, self.portrait = self.portrait, None
        if portrait is not None:
            await portrait

    async def close(self) -> None:
        """Close the context and its world. Idempotent."""
        world, self.world = self.world, None
        try:
            await self.live.close()
        finally:
            if world is not None:
                await world.close()


async def _no_files(path: str) -> bytes:
    raise ActionFailed(f"there is no file {path!r} in the work space")


async def _hang_up(socket: WebSocketRoute) -> None:
    await socket.close(code=1008, reason="not part of a branch that may be thrown away")


def _safe(name: str) -> str:
    """Return a file's name that a page has chosen as one that leads nowhere else."""
    kept = "".join(letter if letter.isalnum() or letter in "._- ()" else "_" for letter in name).strip(". ")
    return kept[:120] or "download"
