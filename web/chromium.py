"""The browser's process: one for each event loop, shared by all searches, started again when it has died."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import psutil
from playwright.async_api import Browser, BrowserContext, Error, Playwright, async_playwright

from ..core.errors import SandboxStartFailed

_log = logging.getLogger(__name__)

VARIABLE = "BRANCHWISE_CHROMIUM"
_SHELLS = ("/usr/lib/chromium/chromium-headless-shell", "chromium-headless-shell")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "/usr/lib/chromium/chromium")
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
    """Chromium's own sandbox around its pages; None: unless this is root, which it refuses to work for."""


class Chromium:
    """A browser that several supplies lease. Not for use in other event loops than that in which it was leased."""

    _running: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Launch, Chromium]]] = WeakKeyDictionary()

    def __init__(self, launch: Launch) -> None:
        self.starts = 0
        """How often the process was started: more than once where it died."""
        self._launch = launch
        self._leases = 0
        self._lock = asyncio.Lock()
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._profile: Path | None = None
        """Its driver removes it, unless that is killed."""

    @classmethod
    async def lease(cls, launch: Launch) -> Chromium:
        """Return the browser that is started like this, one per event loop; give it back by `release`.

        Raises:
            SandboxStartFailed: there is none, or it does not start; the message says what to do.
        """
        shared = cls._running.setdefault(asyncio.get_running_loop(), {})
        browser = shared.setdefault(launch, cls(launch))
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
        manager = async_playwright()
        self._playwright = await manager.start()
        _heed_driver(manager)
        own = self._playwright.chromium.executable_path
        executable = find_chromium(self._launch.executable, own, headed=self._launch.headed)
        sandboxed = os.geteuid() != 0 if self._launch.sandboxed is None else self._launch.sandboxed
        try:
            return await self._playwright.chromium.launch(
                executable_path=executable,
                headless=not self._launch.headed,
                args=list(_FLAGS),
                chromium_sandbox=sandboxed,
                timeout=_LAUNCH_SECONDS * 1000,
                handle_sigint=False,
                handle_sigterm=False,
                handle_sighup=False,
            )
        except Error as error:
            await self._stop()
            hint = "; where the kernel forbids it user namespaces, give Browser(sandboxed=False)" if sandboxed else ""
            raise SandboxStartFailed(f"{executable} does not start: {error.message[:600]}{hint}") from error

    async def _stop(self) -> None:
        browser, self._browser = self._browser, None
        playwright, self._playwright = self._playwright, None
        # Either may be dead already, and says so in its own ways.
        for closing in (browser.close if browser else None, playwright.stop if playwright else None):
            if closing is not None:
                with contextlib.suppress(Error, TimeoutError):
                    async with asyncio.timeout(10):
                        await closing()
        if self._profile is not None:
            await asyncio.to_thread(shutil.rmtree, self._profile, ignore_errors=True)
            self._profile = None


def check_display() -> None:
    """Refuse to show a window where there is nothing to show it on.

    Raises:
        SandboxStartFailed: there is no display.
    """
    if sys.platform == "linux" and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        raise SandboxStartFailed(
            "headed=True shows the browser's window, and there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set); begin it "
            "in a desktop session or under `xvfb-run`, or leave headed out"
        )


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


def find_chromium(wanted: str | None, own: str, *, headed: bool) -> str:
    """Return the program to start: the one named, Playwright's own, or the system's.

    Args:
        wanted: a path or a name on the PATH; None: whatever there is.
        own: where Playwright keeps its own.
        headed: whether it has to show windows, which the headless shell cannot.

    Raises:
        SandboxStartFailed: there is none.
    """
    named = wanted or os.environ.get(VARIABLE)
    found: str | None = None
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise SandboxStartFailed(f"there is no program {named!r}; name a Chromium that is installed, or none")
        return found
    shells = () if headed else _SHELLS
    candidates = [own, *shells, *_BROWSERS]
    for candidate in candidates:
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise SandboxStartFailed(
        "no Chromium was found; install one ('apt install chromium-headless-shell fonts-liberation', or 'playwright install "
        f"chromium'), or name it: Browser(executable=...) or {VARIABLE}"
    )


def temporary_folders() -> list[Path]:
    """Return the folders of browsers that lie in the temporary folder, for those who look for leaks."""
    place = Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108  # where the browser's driver puts them
    return sorted([*place.glob("playwright*"), *place.glob(".org.chromium.*")])
