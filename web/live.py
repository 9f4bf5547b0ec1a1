"""A context of the browser with its tabs: what happens in it, and calls into its pages."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from playwright.async_api import BrowserContext, Dialog, Download, Error, FileChooser, Frame, Page, Request, Response

from ..core.errors import ActionFailed, SandboxLost, ToolError
from .chromium import is_lost, new_page
from .script import CALL

_CLOSE_SECONDS = 5.0
_TABS_MOST = 12
_KEPT_NOTES = 20
_REQUESTS_MOST = 5_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that a page has sent, and that was answered."""

    method: str
    url: str
    kind: str
    """What it was for, in the browser's words: `document`, `fetch`, `image` ..."""


class PageStuck(ToolError):
    """A page does not answer: its script is busy for ever, or it has been left in the meantime."""


class PageMoved(PageStuck):
    """It has been left while it was asked."""


class Live:
    """One branch's context. What its pages do on their own is noted and told with the next look.

    Args:
        context: the browser's context; closed with this.
        on_download: what takes a file that a page sends.
        answer_seconds: how long a page may take to answer a question about itself.
    """

    def __init__(
        self,
        context: BrowserContext,
        on_download: Callable[[Download], Coroutine[Any, Any, str]],
        *,
        answer_seconds: float = 5.0,
    ) -> None:
        self.context = context
        self.pages: list[Page] = []
        self.active = 0
        self.dialog: Dialog | None = None
        self.chooser: FileChooser | None = None
        self.blocked: list[str] = []
        """Requests by methods that the policy holds back, since the last action."""
        self.loading: dict[Page, Request] = {}
        """Navigations that have begun and not arrived."""
        self.navigations = 0
        self.crashed = False
        self.started = 0.0
        """When the first tab was opened, by the monotonic clock."""
        self.noted = False
        """Whether anything beside what pages show was ever to be told."""
        self._notes: list[str] = []
        self._said: list[str] = []
        self._numbers: dict[Frame, int] = {}
        self._next_refs: dict[Frame, int] = {}
        self._next_frame = 0
        self._opened = asyncio.Event()
        """Set when a dialog opens: what waits for the page must not wait any more."""
        self._stir = asyncio.Event()
        """Set when a navigation ends, a dialog opens, or something beside is done."""
        self._tasks: set[asyncio.Task[Any]] = set()
        """What is done beside and has to be waited for."""
        self._left: set[asyncio.Task[Any]] = set()
        """Calls that nobody waits for any more."""
        self._expected = 0
        """Tabs that pages are opening and that are not there yet."""
        self._on_download = on_download
        self._answer_seconds = answer_seconds
        self.requests: list[Sent] = []
        """What was sent and answered, the first of it."""
        context.on("page", self._adopt)
        context.on("response", self._on_response)

    # --- what happens ---

    def _adopt(self, page: Page) -> None:
        if page in self.pages:
            return
        if len(self.pages) >= _TABS_MOST:
            self.note("a further tab was closed at once: there are too many")
            self.spawn(page.close())
            return
        if self.pages:
            self.note(f"a new tab was opened and is in front: tab {len(self.pages) + 1}")
        self.pages.append(page)
        self._expected -= 1
        self._stir.set()
        self.active = len(self.pages) - 1
        page.on("dialog", self._on_dialog)
        page.on("filechooser", self._on_chooser)
        page.on("download", lambda download: self.spawn(self._receive(download)))
        page.on("close", self._on_close)
        page.on("crash", self._on_crash)
        page.on("request", self._on_request)
        page.on("requestfailed", self._on_request_over)
        page.on("framenavigated", self._on_navigated)

    def _on_dialog(self, dialog: Dialog) -> None:
        message = " ".join(dialog.message.split())[:500]
        if dialog.type == "beforeunload":
            self.spawn(dialog.accept())
        elif dialog.type == "alert":
            self.noted = True
            self._said = [*self._said, message][-_KEPT_NOTES:]
            self.spawn(dialog.accept())
        else:
            self.dialog = dialog
            self._opened.set()
            self._stir.set()

    def _on_chooser(self, chooser: FileChooser) -> None:
        self.chooser = chooser

    def _on_close(self, page: Page) -> None:
        if page not in self.pages:
            return
        number = self.pages.index(page)
        self.pages.remove(page)
        self.loading.pop(page, None)
        if self.active >= number and self.active > 0:
            self.active -= 1

    def _on_crash(self, page: Page) -> None:
        del page
        self.crashed = True

    def _on_request(self, request: Request) -> None:
        with contextlib.suppress(Error):  # requests of workers have no frame
            if request.is_navigation_request() and request.frame.parent_frame is None:
                self.loading[request.frame.page] = request

    def _on_response(self, response: Response) -> None:
        if len(self.requests) < _REQUESTS_MOST:
            request = response.request
            self.requests.append(Sent(request.method, request.url, request.resource_type))

    def _on_request_over(self, request: Request) -> None:
        for page, waiting in list(self.loading.items()):
            if waiting == request:
                del self.loading[page]
                self._stir.set()

    def _on_navigated(self, frame: Frame) -> None:
        if frame.parent_frame is None:
            self.loading.pop(frame.page, None)
            self.navigations += 1
            self.chooser = None
            self._stir.set()

    async def _receive(self, download: Download) -> None:
        self.loading.pop(download.page, None)
        self.note(await self._on_download(download))

    def note(self, text: str) -> None:
        """Keep a line for the next look."""
        self.noted = True
        if len(self._notes) < _KEPT_NOTES:
            self._notes.append(text)

    def take_notes(self) -> tuple[str, ...]:
        """Return the notes since the last look."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def forget(self) -> None:
        """Forget what was noted: it happened before, in another context."""
        self._notes, self._said = [], []

    def take_messages(self) -> tuple[str, ...]:
        """Return the messages that pages have shown since the last look."""
        said, self._said = tuple(self._said), []
        return said

    def spawn(self, work: Coroutine[Any, Any, Any], *, awaited: bool = True) -> None:
        """Do something beside; it ends with this at the latest, and its failing is nobody's business.

        Args:
            work: what is done.
            awaited: whether the page counts as busy until it is done.
        """
        task = asyncio.ensure_future(_quietly(work))
        held = self._tasks if awaited else self._left
        held.add(task)

        def over(_: asyncio.Future[Any]) -> None:
            held.discard(task)
            work.close()  # it was never begun where the task was cancelled at once
            self._stir.set()

        task.add_done_callback(over)

    async def stirred(self, timeout_seconds: float) -> None:
        """Wait until a navigation ends, a dialog opens or something beside is done, but no longer than that."""
        self._stir.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(timeout_seconds, 0.0)):
                await self._stir.wait()

    def expect(self, tabs: int) -> None:
        """Take note that pages have begun to open tabs. Those that are there already were counted beforehand."""
        self._expected += tabs

    def arrivals_counted(self) -> None:
        """Begin to count tabs that open."""
        self._expected = 0

    async def expected(self, timeout_seconds: float) -> None:
        """Wait for tabs that pages have begun to open, but no longer than that."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_seconds
        while self._expected > 0 and self.alive and clock() < deadline:
            await self.stirred(deadline - clock())
        self._expected = min(self._expected, 0)

    @property
    def waiting(self) -> bool:
        """Whether a navigation of the tab in front, or something beside such as a download, has not ended."""
        return bool(self._tasks) or (bool(self.pages) and self.page in self.loading)

    # --- pages ---

    @property
    def page(self) -> Page:
        """The tab in front.

        Raises:
            SandboxLost: all tabs are closed.
        """
        if not self.pages:
            raise SandboxLost("the page has closed its last tab")
        return self.pages[self.active]

    async def start(self, url: str, *, timeout_seconds: float) -> None:
        """Open the first tab.

        Raises:
            ActionFailed: the address cannot be reached.
            SandboxLost: the browser has died.
        """
        self.started = time.monotonic()
        self._adopt(await new_page(self.context, timeout_seconds))
        await self.goto(url, timeout_seconds=timeout_seconds)

    async def goto(self, url: str, *, timeout_seconds: float) -> None:
        """Open an address in the tab in front.

        Raises:
            ActionFailed: it cannot be reached; the message is the browser's.
        """
        page = self.page
        try:
            await page.goto(url, wait_until="domcontentloaded", timeout=timeout_seconds * 1000)
        except Error as error:
            self.check(error)
            if "Download is starting" in error.message:
                return
            raise ActionFailed(f"{url} could not be opened: {_first_line(error.message)}") from error
        finally:
            self.loading.pop(page, None)

    def frames(self, page: Page) -> list[Frame]:
        """Return the frames of a tab, each after the one that it lies in, in the order in which they came."""
        found: list[Frame] = []
        pile = [page.main_frame]
        while pile:
            frame = pile.pop(0)
            if not frame.is_detached():
                found.append(frame)
                pile = [*frame.child_frames, *pile]
        return found

    def number(self, frame: Frame) -> int:
        """Return a frame's number, which no other frame of this context ever gets."""
        if frame not in self._numbers:
            self._numbers[frame] = self._next_frame
            self._next_frame += 1
        return self._numbers[frame]

    def prefix(self, frame: Frame) -> str:
        """Return what references into a frame begin with."""
        number = self.number(frame)
        return f"f{number}" if number else ""

    def frame(self, number: int) -> Frame | None:
        """Return the frame that has a number in the tab in front; None where it is gone."""
        return next((frame for frame in self.frames(self.page) if self.number(frame) == number), None)

    def renumber(self, numbers: Mapping[Frame, int], following: int) -> None:
        """Give the frames the numbers that they had in another context."""
        self._numbers = dict(numbers)
        self._next_frame = following

    @property
    def next_frame(self) -> int:
        """The number that the next frame gets."""
        return self._next_frame

    def next_ref(self, frame: Frame, after: int | None = None) -> int:
        """Return the first reference that no element of a frame has had yet, in none of its documents."""
        if after is not None:
            self._next_refs[frame] = max(self._next_refs.get(frame, 1), after)
        return self._next_refs.get(frame, 1)

    # --- calls ---

    async def call(self, frame: Frame, name: str, *args: Any, timeout_seconds: float | None = None) -> Any:
        """Call a function of the page script in a frame.

        Raises:
            PageStuck: the page does not answer in time, or, as PageMoved, has gone elsewhere meanwhile.
            SandboxLost: the browser is gone.
        """
        limit = timeout_seconds or self._answer_seconds
        try:
            return await self.unless_dialog(frame.evaluate(CALL, [name, list(args)]), limit)
        except TimeoutError:
            raise PageStuck(f"the page does not answer within {limit:g} s: its scripts are busy") from None
        except Error as error:
            self.check(error, frame.page)
            raise PageMoved(f"the page has changed meanwhile: {_first_line(error.message)}") from error

    async def run(self, script: str, argument: Any = None) -> Any:
        """Run JavaScript in the tab in front.

        Raises:
            PageStuck: it failed, or did not end in time.
            SandboxLost: the browser is gone.
        """
        try:
            return await self.unless_dialog(self.page.evaluate(script, argument), self._answer_seconds)
        except TimeoutError:
            raise PageStuck(f"the script did not end within {self._answer_seconds:g} s") from None
        except Error as error:
            self.check(error)
            raise PageStuck(f"the script failed: {_first_line(error.message)}") from error

    async def picture(self, *, quality: int) -> bytes:
        """Return the visible part of the tab in front as JPEG.

        Raises:
            PageStuck: it does not answer.
            SandboxLost: the browser is gone.
        """
        try:
            # The caret stays: hiding it would leave a style attribute on every field, which makes it another page.
            return await self.page.screenshot(
                type="jpeg", quality=quality, caret="initial", timeout=self._answer_seconds * 1000
            )
        except Error as error:
            self.check(error)
            raise PageStuck(f"no picture can be taken: {_first_line(error.message)}") from error

    async def unless_dialog(self, work: Awaitable[Any], timeout_seconds: float) -> Any:
        """Wait for something that a page does, but not while the page waits for a dialog: it goes on beside then.

        Returns:
            What it returns; None where a dialog opened.
        """
        self._opened.clear()
        task = asyncio.ensure_future(work)
        opened = asyncio.ensure_future(self._opened.wait())
        try:
            done: set[asyncio.Future[Any]] = {opened}
            if self.dialog is None:
                both: set[asyncio.Future[Any]] = {task, opened}
                done, _ = await asyncio.wait(both, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if task in done:
                return task.result()
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            opened.cancel()
            if not task.done():
                self.spawn(_result(task), awaited=False)
        if not done:
            task.cancel()
            raise TimeoutError(f"no answer within {timeout_seconds:g} s")
        return None  # it goes on beside, and ends when the dialog is answered

    def check(self, error: Exception, page: Page | None = None) -> None:
        """Raise SandboxLost where an error means that the context is gone, and not just a page of it."""
        if self.crashed:
            raise SandboxLost("the page has crashed the browser's process") from error
        page = page or (self.page if self.pages else None)
        if is_lost(error) and (not self.alive or page is None or not page.is_closed()):
            raise SandboxLost("the browser has died") from error

    @property
    def alive(self) -> bool:
        """Whether the browser is there and no page of it has crashed."""
        browser = self.context.browser
        return not self.crashed and browser is not None and browser.is_connected() and bool(self.pages)

    async def close(self) -> None:
        """Close the context. Idempotent."""
        for task in [*self._tasks, *self._left]:
            task.cancel()
        with contextlib.suppress(Error, TimeoutError):  # it may be gone already
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.context.close()


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(Error, TimeoutError, OSError):
        await work


async def _result(task: asyncio.Future[Any]) -> Any:
    return await task


def _first_line(message: str) -> str:
    return message.partition("\n")[0].removeprefix("Page.goto: ")[:300]
