"""A supply of pages for one run: opens states in contexts of the one browser, by the cheapest way that comes out exact."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from playwright.async_api import Error, StorageState

from ..core.errors import SandboxError, SandboxLost, StateDiverged, ToolError, UsageError
from ..core.types import Picture
from ..sandboxes.history import PAGES
from ..sandboxes.secret import Secrets
from ..sandboxes.store import Store
from .branch import Branch
from .browser import Browser
from .chromium import Chromium, Launch
from .environment import WebEnvironment
from .guard import Gateway
from .live import Sent
from .marking import Darkroom
from .masking import Veil
from .past import Past
from .pictures import START, Album
from .ready import Ready
from .replaying import arrived, replay, sealed
from .sealing import adopt
from .settling import settle

Way = Literal["kept", "clone", "replay"]
_CLONES_REMEMBERED = 200
_STARTS = 2
"""A run that has begun so often will begin again: from then on a start page waits ready."""
_CLONE_TRIES = 3
"""After so many clones of a page in vain none is tried there any more."""
_SESSION_STORAGE = "Object.entries(sessionStorage)"
_RESTORE_SESSION = (
    "(([origin, rows]) => { if (location.origin === origin && sessionStorage.length === 0)"
    " for (const [key, value] of rows) sessionStorage.setItem(key, value); })(%s)"
)


@dataclass(frozen=True, slots=True)
class Clone:
    """What a context can be made of without doing anything again, where its state lies in storage and address."""

    urls: tuple[str, ...]
    storage: StorageState
    session: tuple[tuple[str, Any], ...]
    """Entries of each tab's session storage, by origin."""
    requests: tuple[Sent, ...]
    """What was sent on the way there."""


@dataclass
class WaysReport:
    """How states were brought back, and what came of it."""

    opened: Counter[str] = field(default_factory=Counter[str])
    """How often each way led to the very state: `kept`, `clone`, `replay`."""
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    refused: int = 0
    """States that no way led back to."""

    def add(self, way: Way, seconds: float) -> None:
        """Count a state that was brought back."""
        self.opened[way] += 1
        self.seconds.setdefault(way, []).append(seconds)


class WebSandboxes:
    """Implements `core.protocols.Sandboxes` with contexts of a browser."""

    def __init__(
        self, spec: Browser, store: Store, chromium: Chromium, *, gateway: Gateway, proxy: str, start: str
    ) -> None:
        self.spec = spec
        self.store = store
        self.isolation = spec.isolation
        self.secrets = Secrets({name: value.get_secret_value() for name, value in spec.secrets.items()})
        self.ways = WaysReport()
        self.gateway = gateway
        self.chromium = chromium
        self.veil = Veil(self.secrets)
        self.darkroom = Darkroom(chromium, Launch(spec.executable, sandboxed=spec.sandboxed) if spec.headed else None)
        self.album: Album | None = None
        self.proxy = proxy
        self.start = start
        self.roots = spec.roots(start)
        self._kept: OrderedDict[str, list[Branch]] = OrderedDict()
        self._waiting = Ready(lambda: self.fresh(_unheard), self.discard)
        self._start_print = ""
        """What the start page showed when it was first at rest."""
        self._starts = 0
        """How often somebody has begun there and done something."""
        self._clones: OrderedDict[str, Clone] = OrderedDict()
        self._failed_clones: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(spec.contexts)
        self._showing = asyncio.Lock()
        """One state at a time is brought back only to be seen."""
        self._open: set[Branch] = set()

    @classmethod
    async def begin(cls, spec: Browser, run_id: str, store: Path) -> Self:
        """Start the browser, or share the one that runs, and the proxy; see `Browser.start`."""
        if spec.storage is not None and not spec.storage.is_file():
            raise UsageError(
                f"storage={str(spec.storage)!r}: there is no such file; write it by Playwright's storage_state"
            )
        start = spec.url
        if start is None:
            assert spec.site is not None
            world = await spec.site.open()
            start = world.url
            await world.close()
        chromium = await Chromium.lease(Launch(spec.executable, spec.headed, spec.sandboxed, spec.container), run_id)
        gateway = Gateway(spec.allowed(start))
        try:
            proxy = await chromium.open_way(gateway)
        except BaseException:
            await chromium.close_way(gateway)
            await chromium.release()
            raise
        kept = await asyncio.to_thread(Store, store)
        return cls(spec, kept, chromium, gateway=gateway, proxy=proxy, start=start)

    @property
    def open_contexts(self) -> int:
        """How many contexts there are now, those included that wait for their branch to go on."""
        return len(self._open)

    # --- core.protocols.Sandboxes ---

    @property
    def snapshots(self) -> Store:
        """Where the states are kept."""
        return self.store

    async def open(self, ref: str | None = None) -> WebEnvironment:
        return WebEnvironment(self, self.store.empty_ref if ref is None else ref)

    async def first_look(self, ref: str | None) -> str:
        """Return what the pages of a state show, for the first message to a model.

        Raises:
            SandboxError: the start page cannot be reached, or does not answer.
        """
        env = await self.open(ref)
        try:
            return (await env.observe()).text
        except ToolError as error:
            raise SandboxError(f"the start page cannot be looked at: {error}") from error
        finally:
            await env.close()

    async def keep(self, folder: Path) -> str:
        return await asyncio.to_thread(self.store.keep, folder, limit_bytes=self.spec.download_mb << 20)

    def diff(self, old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
        return self.store.diff(old, new)

    def keep_pictures(self, folder: Path) -> None:
        """Keep a small picture of every state in a folder from now on, as far as `Browser.pictures_mb` goes."""
        spec = self.spec
        self.album = Album(
            folder, self.darkroom, self.veil, small_bytes=spec.pictures_mb << 20, marked_bytes=spec.marked_mb << 20
        )

    async def screen(self, ref: str | None) -> Picture | None:
        """Return a marked picture of what a state shows, secrets masked: the same one every time, as long as it is kept.

        The first one has the state brought back; from then on every state that is left is taken a picture of while nobody waits.
        None where no picture can be taken, for example because a dialog is open.
        """
        album = self.album
        if album is None:
            raise UsageError("nobody has said where pictures are kept; call keep_pictures(folder) first")
        album.watched = True
        name = START if ref is None or (self.store.holds(ref) and self.past(ref) is None) else ref
        await album.taken(name)
        async with self._showing:
            kept = album.marked.get(name)
            if kept is None and (name == START or self.store.holds(name)):
                await self._show(None if name == START else name)
                await album.taken(name)
                kept = album.marked.get(name)
        return None if kept is None else Picture(kept, *self.spec.viewport)

    async def _show(self, ref: str | None) -> None:
        """Bring a state back and leave it, which has pictures of it taken; it may be one that cannot be brought back."""
        env = await self.open(ref)
        try:
            await env.observe()
        except (ToolError, SandboxError):
            return  # whoever works on from there will be told
        finally:
            await env.close()

    async def portray_start(self, branch: Branch) -> None:
        """Take a picture of the start page, where pictures are kept and there is none yet."""
        if self.album is not None:
            await self.album.take(START, branch)

    async def aclose(self) -> None:
        await self._waiting.drop()
        for branch in list(self._open):
            await self.discard(branch)
        await self.darkroom.close()
        await self.chromium.close_way(self.gateway)
        await self.chromium.release()

    # --- branches ---

    def past(self, ref: str) -> Past | None:
        """Return what led to a state; None where it is files only, and its page the start page."""
        entry = self.store.manifest(ref).get(PAGES)
        return None if entry is None else Past.parse(self.store.get(entry.content))

    async def bring(self, ref: str, download: Callable[[str, bytes], Awaitable[str]]) -> tuple[Branch, Past | None]:
        """Return a branch in the state `ref`, and its past: one that was kept open, a clone, or one that has done it all again.

        Raises:
            StateDiverged: what came out is another state.
            SandboxLost: the browser died, and died again.
        """
        past = self.past(ref)
        if past is None:
            return await self._beginning(download), None
        begun = time.monotonic()
        kept = await self._take(ref, past)
        if kept is not None:
            kept.download = download
            self.ways.add("kept", time.monotonic() - begun)
            return kept, past
        if past.final_step is not None:
            raise StateDiverged(
                f"step {past.final_step} was done for good and is not done again, and the page where it was done is closed"
            )
        if past.start != self.start:
            raise StateDiverged(f"the state began at {past.start}, and this browser begins at {self.start}")
        clone = await self._clone(ref, past, download)
        if clone is not None:
            self.ways.add("clone", time.monotonic() - begun)
            return clone, past
        branch = await self._replay(past, download)
        self.ways.add("replay", time.monotonic() - begun)
        return branch, past

    async def again(self, past: Past, download: Callable[[str, bytes], Awaitable[str]]) -> Branch:
        """Return a branch that has done all of a past again: the one where it was done is lost.

        Raises:
            StateDiverged: something in it was done for good, or what came out is another state.
            SandboxLost: the browser died again.
        """
        if past.final_step is not None:
            raise StateDiverged(
                f"step {past.final_step} was done for good and is not done again, and the page where it was done is lost"
            )
        begun = time.monotonic()
        branch = await self._replay(past, download)
        self.ways.add("replay", time.monotonic() - begun)
        return branch

    async def _beginning(self, download: Callable[[str, bytes], Awaitable[str]]) -> Branch:
        """Return a branch on the start page: one that waits ready and is as good as new, or a fresh one."""
        branch = await self._waiting.take()
        if branch is not None and not await self._as_new(branch):
            await self.discard(branch)
            branch = None
        if branch is None:
            branch = await self.fresh(download)
        branch.download = download
        self._starts += 1
        if self._starts >= _STARTS and not self._slots.locked():
            self._waiting.prepare()
        return branch

    async def _as_new(self, branch: Branch) -> bool:
        """Whether a start page that has waited shows what it showed at first; what it says or sends is for whoever sees it load."""
        try:
            return not branch.live.noted and (await sealed(branch.live)).fingerprint == branch.began_as
        except (SandboxLost, ToolError):
            return False

    async def leave(self, branch: Branch) -> None:
        """Give back a branch on the start page in which nothing was done: the next one may begin in it."""
        await branch.portrayed()
        self._starts -= 1
        if not self._waiting.offer(branch):
            await self.discard(branch)

    async def fresh(self, download: Callable[[str, bytes], Awaitable[str]], *, hurried: bool = False) -> Branch:
        """Return a branch on the start page.

        Args:
            download: takes what pages let one download.
            hurried: go on as soon as it shows what it showed the first time; what follows is compared, and tried again if it differs.
        """
        branch = await self._new(download)
        try:
            await branch.begin()
            found = await arrived(branch, self._start_print, early=hurried)
            self._start_print = self._start_print or found.fingerprint
            branch.began_as = found.fingerprint
        except ToolError as error:
            await self.discard(branch)
            raise SandboxError(str(error)) from error
        except BaseException:
            await self.discard(branch)
            raise
        return branch

    async def blank(self, **options: Any) -> Branch:
        """Return a branch with no page yet, whose downloads are dropped.

        Args:
            **options: further options of Playwright's contexts.
        """
        return await self._new(_unheard, **options)

    async def _new(
        self, download: Callable[[str, bytes], Awaitable[str]], clone: Clone | None = None, **options: Any
    ) -> Branch:
        """Return an empty context, waiting for a slot; one that waits for its branch to go on makes way."""
        if self._slots.locked():
            await self._drop_oldest()
        await self._slots.acquire()
        try:
            storage = None if clone is None else clone.storage
            branch = await Branch.make(self, download, storage=storage, **options)
        except BaseException:
            self._slots.release()
            raise
        self._open.add(branch)
        return branch

    async def discard(self, branch: Branch) -> None:
        """Close a branch's context. Idempotent."""
        if branch not in self._open:
            return
        self._open.discard(branch)
        try:
            await branch.portrayed()
        finally:
            await self._close(branch)

    async def _close(self, branch: Branch) -> None:
        try:
            await branch.close()
        finally:
            self._slots.release()

    async def park(self, branch: Branch, ref: str) -> None:
        """Keep a branch open in its state, for whoever opens that next; the one that has waited longest is closed for it."""
        if self.album is not None:
            self.album.begin(ref, branch)
        if not self.spec.kept_contexts or not branch.live.alive:
            await self.discard(branch)
            return
        self._kept.setdefault(ref, []).append(branch)
        self._kept.move_to_end(ref)
        while sum(map(len, self._kept.values())) > self.spec.kept_contexts:
            await self._drop_oldest()

    async def _drop_oldest(self) -> None:
        if await self._waiting.drop() or not self._kept:
            return
        ref = next(iter(self._kept))
        branch = self._kept[ref].pop(0)
        if not self._kept[ref]:
            del self._kept[ref]
        await self.discard(branch)

    async def _take(self, ref: str, past: Past) -> Branch | None:
        """Return a branch that was kept open in a state, if it still shows the same."""
        while waiting := self._kept.get(ref):
            branch = waiting.pop()
            if not waiting:
                del self._kept[ref]
            try:
                await branch.portrayed()
                same = (await sealed(branch.live)).fingerprint == past.seal.fingerprint
            except (SandboxLost, ToolError):
                same = False
            if same:
                return branch
            await self.discard(branch)
        return None

    # --- clones ---

    async def remember(self, ref: str, branch: Branch, past: Past) -> None:
        """Note what a clone of a state would be made of, where its state may lie in storage and address alone."""
        if not past.steps or not past.steps[-1].navigated or self.spec.site is not None or ref in self._clones:
            return
        live = branch.live
        if live.dialog is not None or live.chooser is not None:
            return
        with contextlib.suppress(Error, TimeoutError):
            async with asyncio.timeout(self.spec.action_seconds):
                storage = await live.context.storage_state(indexed_db=True)
                rows = [[page.url, await page.evaluate(_SESSION_STORAGE)] for page in live.pages]
            session = tuple((str(url), entries) for url, entries in rows if entries)
            urls = tuple(page.url for page in live.pages)
            self._clones[ref] = Clone(urls, storage, session, tuple(live.requests))
            while len(self._clones) > _CLONES_REMEMBERED:
                self._clones.popitem(last=False)

    async def _clone(self, ref: str, past: Past, download: Callable[[str, bytes], Awaitable[str]]) -> Branch | None:
        """Return a branch made of what was stored, if it shows what the state showed; None where that is not so."""
        clone = self._clones.get(ref)
        # Doing one step again costs no more than a clone.
        if clone is None or len(past.steps) < 2 or self._failed_clones[clone.urls[0]] >= _CLONE_TRIES:
            return None
        branch = await self._new(download, clone)
        try:
            for url, rows in clone.session:
                origin = "/".join(url.split("/")[:3])
                await branch.live.context.add_init_script(_RESTORE_SESSION % json.dumps([origin, rows]))
            for url in clone.urls:
                await branch.live.start(url, timeout_seconds=self.spec.load_seconds)
            branch.live.active = past.seal.active
            await settle(branch.live, branch.hands.patience)
            branch.live.forget()
            if (await sealed(branch.live)).fingerprint == past.seal.fingerprint:
                await adopt(branch.live, past.seal)
                branch.live.requests[:] = clone.requests
                return branch
        except (ToolError, SandboxLost, Error):
            pass  # doing it all again shows what is the matter
        except BaseException:
            await self.discard(branch)
            raise
        self._failed_clones[clone.urls[0]] += 1
        await self.discard(branch)
        return None

    async def _start(self, *, hurried: bool) -> Branch:
        """Return a branch on the start page to do a past again: one that waits ready, if `hurried`."""
        if hurried and (branch := await self._waiting.take()) is not None:
            return branch
        return await self.fresh(_unheard, hurried=hurried)

    async def _replay(self, past: Past, download: Callable[[str, bytes], Awaitable[str]]) -> Branch:
        """Return a branch that has done all of a past again; a second time with more patience where it came out differently."""
        trouble: SandboxError | None = None
        for attempt in range(3):
            branch = await self._start(hurried=attempt == 0)
            try:
                await replay(branch, past, self.store.get, patient=attempt > 0)
                await adopt(branch.live, past.seal)
            except (StateDiverged, SandboxLost) as error:
                await self.discard(branch)
                trouble = error
                if attempt > 0 and isinstance(error, StateDiverged):
                    break
            except ToolError as error:
                await self.discard(branch)
                trouble = StateDiverged(str(error))
            except BaseException:
                await self.discard(branch)
                raise
            else:
                branch.live.forget()
                branch.download = download
                if not self._slots.locked():
                    self._waiting.prepare()  # not before: it would take from this one's time
                return branch
        self.ways.refused += 1
        assert trouble is not None
        raise trouble


async def _unheard(name: str, content: bytes) -> str:
    """Take a download that was taken the first time."""
    del name, content
    return ""
