"""Pictures of states: small ones for people who look at a run afterwards, marked ones for models that see."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from ..core.errors import SandboxLost
from .branch import Branch
from .live import PageStuck
from .marking import Darkroom, Mark, drawn, photographed
from .masking import Veil, shifted
from .targets import Found, corner_of

START = "start"
"""Name of the start page's pictures; all others are called by their state."""
SUFFIX = ".webp"
MARKED = "marked"
"""Folder of the marked ones, within that of the small ones."""
_MARKED_SUFFIX = ".jpg"
_WIDTH = 320
_QUALITY = 0.6
_SECONDS = 3.0


class Shelf:
    """Pictures of one kind by name. The oldest go for want of room, also those of an earlier process.

    Args:
        folder: where they lie; made when the first one comes.
        suffix: what their files' names end with.
        limit_bytes: what all of them may take.
    """

    def __init__(self, folder: Path, suffix: str, limit_bytes: int) -> None:
        self._folder = folder
        self._suffix = suffix
        self._limit_bytes = limit_bytes
        found = sorted((path.stat().st_mtime, path.stem, path.stat().st_size) for path in folder.glob(f"*{suffix}"))
        self._kept = {name: size for _, name, size in found}
        """Sizes by name, the oldest first."""
        self._held_bytes = sum(self._kept.values())

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def get(self, name: str) -> bytes | None:
        """Return a picture; None where there is none any more."""
        try:
            return self._path(name).read_bytes() if name in self._kept else None
        except OSError:
            self._held_bytes -= self._kept.pop(name)
            return None

    def put(self, name: str, picture: bytes) -> None:
        """Keep a picture. Who has asked for the one that is there must get the same again, so that stays."""
        if name in self._kept:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._path(name).with_suffix(f".{os.getpid()}")
        draft.write_bytes(picture)
        draft.replace(self._path(name))
        self._kept[name] = len(picture)
        self._held_bytes += len(picture)
        while self._held_bytes > self._limit_bytes:
            oldest = next(iter(self._kept))
            self._held_bytes -= self._kept.pop(oldest)
            self._path(oldest).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{self._suffix}"


class Album:
    """Takes pictures of every state once, while nobody waits for its page.

    Args:
        folder: where the pictures lie.
        darkroom: where they are drawn.
        veil: what has to be masked.
        small_bytes: what all small ones may take; none are taken where it is 0.
        marked_bytes: what all marked ones may take. They are taken once one was asked for (`watched`).
    """

    def __init__(self, folder: Path, darkroom: Darkroom, veil: Veil, *, small_bytes: int, marked_bytes: int) -> None:
        self.seconds: list[float] = []
        """What each state's pictures took."""
        self.watched = False
        """Whether models are shown pictures, so that every state needs a marked one, too."""
        self.marked = Shelf(folder / MARKED, _MARKED_SUFFIX, marked_bytes)
        self._small = Shelf(folder, SUFFIX, small_bytes) if small_bytes else None
        self._darkroom = darkroom
        self._veil = veil
        self._taking: dict[str, asyncio.Future[None]] = {}

    def begin(self, name: str, branch: Branch) -> None:
        """Take the pictures of a branch beside that are not there yet; `Branch.portrayed` waits for them."""
        if self._wants(name) and name not in self._taking:
            branch.portrait = self._taking[name] = asyncio.ensure_future(self.take(name, branch))
            branch.portrait.add_done_callback(lambda _: self._taking.pop(name, None))

    async def taken(self, name: str) -> None:
        """Wait for pictures that are being taken."""
        if (under_way := self._taking.get(name)) is not None:
            await asyncio.wait([under_way])

    async def take(self, name: str, branch: Branch) -> None:
        """Take the pictures of what a branch shows that are not there yet. What cannot be taken is done without."""
        if not self._wants(name):
            return
        begun = time.monotonic()
        try:
            async with asyncio.timeout(_SECONDS):
                await self._portray(name, branch)
        except (PageStuck, SandboxLost, TimeoutError, OSError):
            return
        self.seconds.append(time.monotonic() - begun)

    def _wants(self, name: str) -> bool:
        small = self._small is not None and name not in self._small
        return small or (self.watched and name not in self.marked)

    async def _portray(self, name: str, branch: Branch) -> None:
        picture, masks = await photographed(branch.live, self._veil)
        if self.watched and name not in self.marked:
            self.marked.put(name, await drawn(picture, masks, branch.live, self._darkroom))
        if self._small is not None and name not in self._small:
            marks = [] if branch.touched is None else await _mark(branch, branch.touched)
            small = await self._darkroom.develop(
                picture, {"marks": marks, "masks": masks, "width": _WIDTH, "kind": "image/webp", "quality": _QUALITY}
            )
            self._small.put(name, small)


async def _mark(branch: Branch, touched: Found) -> list[Mark]:
    """Return where what was acted on is, if it is still to be seen."""
    if touched.frame.is_detached():
        return []
    box = await branch.live.call(touched.frame, "boxOf", touched.number)
    if box is None:
        return []
    left, top = await corner_of(touched.frame)
    return [Mark(label="", **shifted(box, left, top))]
