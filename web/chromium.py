"""The browser's process: one for each event loop, shared by all searches, started again when it has died."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import psutil
from playwright.async_api import Browser, BrowserContext, Download, Error, Page, Playwright, async_playwright

from ..core.errors import OutputLimitExceeded, SandboxError, SandboxLost, SandboxStartFailed
from ..sandboxes.network import PROXY_PORT
from .container import Container
from .finding import check_display, find_chromium
from .guard import Gateway

if TYPE_CHECKING:
    from .contained import Contained

_log = logging.getLogger(__name__)

_LAUNCH_SECONDS = 30.0
_FLAGS = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-pings",
    "--dns-prefetch-disable",
    "--metrics-recording-only",
    # Nothing may go past the proxy: no look-ups of names, no datagrams of WebRTC.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    # Animations and timers of pages that are not in front go on as in front: branches are looked at in turns.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--force-color-profile=srgb",
)


@dataclass(frozen=True, slots=True)
class Launch:
    """How the browser is started."""

    executable: str | None = None
    headed: bool = False
    sandboxed: bool | None = None
    """Chromium's own sandbox around its pages; None: where it works, which is not for root."""
    contained: Container | None = None
    """The container that it runs in; None: it runs on this machine."""


class Chromium:
    """A browser that several supplies lease. Not for use in other event loops than that in which it was leased."""

    _running: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Launch, Chromium]]] = WeakKeyDictionary()

    def __init__(self, launch: Launch, run_id: str = "") -> None:
        self.starts = 0
        """How often the process was started: more than once where it died."""
        self._launch = launch
        self._leases = 0
        self._lock = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self.contained: Contained | None = None
        """The container that it runs in, where it does."""
        self._ways: dict[int, Gateway] = {}
        """Proxies for a contained browser, by their ports inside."""
        self._run_id = run_id
        self._profile: Path | None = None
        """Its driver removes it, unless that is killed."""

    @classmethod
    async def lease(cls, launch: Launch, run_id: str = "") -> Chromium:
        """Return the browser that is started like this, one per event loop; give it back by `release`.

        Args:
            launch: how it is started.
            run_id: whose its container is said to be.

        Raises:
            SandboxStartFailed: there is none, or it does not start; the message says what to do.
        """
        shared = cls._running.setdefault(asyncio.get_running_loop(), {})
        browser = shared.setdefault(launch, cls(launch, run_id))
        await browser.take()
        return browser

    async def take(self) -> None:
        """Take a further lease of it, and see that it runs."""
        self._leases += 1
        try:
            await self._living()
        except BaseException:
            await self.release()
            raise

    async def release(self) -> None:
        """Give a lease back; the process ends with the last one."""
        self._leases -= 1
        if self._leases > 0:
            return
        shared = self._running.get(asyncio.get_running_loop(), {})
        if shared.get(self._launch) is self:
            del shared[self._launch]
        async with self._lock:
            await self._stop()

    async def context(self, **options: Any) -> BrowserContext:
        """Return a new context, in a browser that is started again if it has died.

        Raises:
            SandboxStartFailed: it does not start.
        """
        trouble: Exception | None = None
        for _ in range(3):
            browser = await self._living()
            try:
                async with asyncio.timeout(_LAUNCH_SECONDS):
                    return await browser.new_context(**options)
            except TimeoutError:
                trouble = TimeoutError(f"no answer within {_LAUNCH_SECONDS:g} s")
                await self._lost(browser)
            except Error as error:
                trouble = error
                if browser.is_connected() and not is_lost(error):
                    break  # the options are at fault
                await self._lost(browser)
        raise SandboxStartFailed(f"the browser gives no context: {trouble}") from trouble

    # --- ways in and out ---

    async def open_way(self, gateway: Gateway) -> str:
        """Have contexts reach what a gateway lets through; return the proxy's address for them."""
        if self._launch.contained is None:
            return await gateway.open()
        async with self._lock:
            port = next(number for number in itertools.count(PROXY_PORT) if number not in self._ways)
            self._ways[port] = gateway
            if self.contained is not None:
                try:
                    await self.contained.open_way(port, gateway.egress)
                except SandboxError:
                    await self._stop()  # it has died; whoever needs it next starts it, with all ways open
        return f"http://127.0.0.1:{port}"

    async def close_way(self, gateway: Gateway) -> None:
        """Close a gateway with all its connections. Idempotent."""
        for port in [port for port, one in self._ways.items() if one is gateway]:
            del self._ways[port]
            if self.contained is not None:
                await self.contained.close_way(port)
        await gateway.close()

    async def downloaded(self, download: Download, *, limit_bytes: int) -> bytes:
        """Return what was downloaded, once it is there.

        Raises:
            Error: it is not.
            OSError: it cannot be read.
            OutputLimitExceeded: it is larger than that.
            SandboxError: the container gives no answer.
        """
        path = await download.path()
        contained = self.contained
        handle = os.open(path, os.O_RDONLY) if contained is None else await contained.take(path.name)
        with os.fdopen(handle, "rb") as content:
            size = os.fstat(handle).st_size
            if size > limit_bytes:
                raise OutputLimitExceeded(f"it has {size} bytes, more than the {limit_bytes} that are allowed")
            return await asyncio.to_thread(content.read, limit_bytes)

    @property
    def process_alive(self) -> bool:
        """Whether the process is there, as far as is known."""
        return self._browser is not None and self._browser.is_connected()

    async def _living(self) -> Browser:
        async with self._lock:
            if self._browser is not None and self._browser.is_connected():
                return self._browser
            if self._browser is not None:
                _log.warning("the browser has died and is started again")
                await self._stop()
            self._browser = await self._start()
            self._profile = _profile_of(psutil.Process())
            self.starts += 1
            return self._browser

    async def _lost(self, browser: Browser) -> None:
        """Take note that a browser does not answer: a killed driver leaves it looking connected."""
        async with self._lock:
            if self._browser is browser:
                _log.warning("the browser has died and is started again")
                await self._stop()

    async def _start(self) -> Browser:
        if self._launch.headed:
            check_display()
        try:
            manager = async_playwright()
            self._playwright = await manager.start()
            _heed_driver(manager)
            return await self._launched(self._playwright)
        except BaseException:
            await self._stop()
            raise

    async def _launched(self, playwright: Playwright) -> Browser:
        program, sandboxed, downloads = await self._program(playwright.chromium.executable_path)
        try:
            return await playwright.chromium.launch(
                executable_path=program,
                headless=not self._launch.headed,
                args=list(_FLAGS),
                chromium_sandbox=sandboxed,
                downloads_path=downloads,
                timeout=_LAUNCH_SECONDS * 1000,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Error as error:
            why = await self._why_not(error.message, sandboxed=sandboxed)
            name = program if self.contained is None else f"{self.contained.told.program}, in its container,"
            raise SandboxStartFailed(f"{name} does not start: {error.message[:600]}{why}") from error

    async def _why_not(self, message: str, *, sandboxed: bool) -> str:
        """Return what is known of a start that failed beside Playwright's message, and what to do about it."""
        if self.contained is None:
            return "; where the kernel forbids it user namespaces, give Browser(sandboxed=False)" if sandboxed else ""
        if "EACCES" in message:
            return "; the folder for temporary files does not let programs be started: set TMPDIR to another"
        said = await self.contained.last_words()
        told = f"; its container said: {said[-600:]}" if said else ""
        return f"{told}; without Chromium's own sandbox: Browser(sandboxed=False)" if sandboxed else told

    async def _program(self, own: str) -> tuple[str | Path, bool, str | None]:
        """Return what Playwright is to start, whether in Chromium's own sandbox, and where downloads are put, unless it chooses.

        Args:
            own: where Playwright keeps its own browser.
        """
        launch = self._launch
        wanted = launch.contained
        if wanted is None:
            program = find_chromium(launch.executable, own, headed=launch.headed)
            return program, os.geteuid() != 0 if launch.sandboxed is None else launch.sandboxed, None
        from .contained import Contained  # the engine's client library takes its time to load
        from .container_settings import DOWNLOADS

        found = None if wanted.image else Path(find_chromium(launch.executable, own, headed=False))
        self.contained = await Contained.start(wanted, launch.executable, found, self._run_id)
        try:
            for port, gateway in self._ways.items():
                await self.contained.open_way(port, gateway.egress)
        except SandboxError as error:
            raise SandboxStartFailed(str(error)) from error
        sandboxed = self.contained.told.namespaces if launch.sandboxed is None else launch.sandboxed
        return self.contained.program(), sandboxed, DOWNLOADS

    async def _stop(self) -> None:
        browser, self._browser = self._browser, None
        playwright, self._playwright = self._playwright, None
        # Either may be dead already, and says so in its own ways.
        for closing in (browser.close if browser else None, playwright.stop if playwright else None):
            if closing is not None:
                with contextlib.suppress(Error, TimeoutError):
                    async with asyncio.timeout(10):
                        await closing()
        contained, self.contained = self.contained, None
        if contained is not None:
            await contained.close()
        if self._profile is not None:
            await asyncio.to_thread(shutil.rmtree, self._profile, ignore_errors=True)
            self._profile = None


def _heed_driver(manager: object) -> None:
    """Take note of the driver's end where nobody else does.

    Playwright keeps the error of a driver that died in a future that it never looks at again, and asyncio complains of that when
    the future is collected, at some later time. That the driver is gone is seen by the calls that fail.
    """
    transport = getattr(getattr(manager, "_client", None), "_transport", None)
    ended: asyncio.Future[None] | None = getattr(transport, "on_error_future", None)
    if ended is not None:
        ended.add_done_callback(_heed)


def _heed(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


async def new_page(context: BrowserContext, timeout_seconds: float) -> Page:
    """Return a new tab. Playwright never answers where the browser dies in that moment, so its end is listened for.

    Raises:
        SandboxLost: the browser has died, or has not opened it in time.
    """
    browser = context.browser
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(_browser: object) -> None:
        if not gone.done():
            gone.set_result(None)

    if browser is None or not browser.is_connected():
        raise SandboxLost("the browser has died")
    browser.on("disconnected", note)
    opening = asyncio.create_task(context.new_page())
    waiting: set[asyncio.Future[Any]] = {opening, gone}
    try:
        await asyncio.wait(waiting, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            raise SandboxLost("the browser has died" if gone.done() else f"no tab was opened in {timeout_seconds:g} s")
        return opening.result()
    except Error as error:
        if is_lost(error):
            raise SandboxLost("the browser has died") from error
        raise
    finally:
        browser.remove_listener("disconnected", note)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)


def is_lost(error: Exception) -> bool:
    """Whether an error of Playwright says that page, browser or driver are gone."""
    text = str(error)
    return any(words in text for words in ("has been closed", "Connection closed", "Browser closed", "Target crashed"))


def _profile_of(process: psutil.Process) -> Path | None:
    """Return the profile's folder of the browser that a process has started last."""
    found: Path | None = None
    with contextlib.suppress(psutil.Error):
        for child in process.children(recursive=True):
            for word in child.cmdline():
                if word.startswith("--user-data-dir=") and "playwright" in word:
                    found = Path(word.partition("=")[2])
    return found


def temporary_folders() -> list[Path]:
    """Return the folders of browsers that lie in the temporary folder, for those who look for leaks."""
    place = Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108  # where the browser's driver puts them
    return sorted([*place.glob("playwright*"), *place.glob(".org.chromium.*")])
