"""Small pictures of states, for people who look at a run afterwards."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from ..core.errors import SandboxLost
from .branch import Branch
from .live import PageStuck
from .marking import Darkroom, Mark, photographed
from .masking import Veil, shifted
from .targets import Found, corner_of

START = "start"
"""Name of the start page's picture; all others are called by their state."""
SUFFIX = ".webp"
_WIDTH = 320
_QUALITY = 0.6
_SECONDS = 3.0


class Album:
    """Takes a picture of every state once, while nobody waits for its page, and drops the oldest for want of room.

    Args:
        folder: where the pictures lie.
        limit_bytes: what all of them may take.
        darkroom: where they are drawn.
        veil: what has to be masked.
    """

    def __init__(self, folder: Path, limit_bytes: int, darkroom: Darkroom, veil: Veil) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.seconds: list[float] = []
        """What each picture took."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._darkroom = darkroom
        self._veil = veil
        found = sorted((path.stat().st_mtime, path.stem, path.stat().st_size) for path in folder.glob(f"*{SUFFIX}"))
        self._kept = {name: size for _, name, size in found}
        """Sizes by name, the oldest first."""
        self._held_bytes = sum(self._kept.values())

    def begin(self, name: str, branch: Branch) -> None:
        """Take a picture of a branch beside, where there is none yet; `Branch.portrayed` waits for it."""
        if name not in self._kept:
            branch.portrait = asyncio.ensure_future(self.take(name, branch))

    async def take(self, name: str, branch: Branch) -> None:
        """Take a picture of what a branch shows. One that cannot be taken is done without."""
        if name in self._kept or branch.live.dialog is not None:
            return  # a page that waits for its dialog cannot be drawn by the browser
        begun = time.monotonic()
        self._kept[name] = 0  # nobody else need take it
        try:
            async with asyncio.timeout(_SECONDS):
                self._keep(name, await self._picture(branch))
        except (PageStuck, SandboxLost, TimeoutError, OSError):
            del self._kept[name]
        except BaseException:
            self._kept.pop(name, None)
            raise
        else:
            self.seconds.append(time.monotonic() - begun)

    async def _picture(self, branch: Branch) -> bytes:
        picture, masks = await photographed(branch.live, self._veil)
        marks = [] if branch.touched is None else await _mark(branch, branch.touched)
        return await self._darkroom.develop(
            picture, {"marks": marks, "masks": masks, "width": _WIDTH, "kind": "image/webp", "quality": _QUALITY}
        )

    def _keep(self, name: str, picture: bytes) -> None:
        path = self._folder / f"{name}{SUFFIX}"
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(picture)
        draft.replace(path)
        self._kept[name] = len(picture)
        self._held_bytes += len(picture)
        while self._held_bytes > self._limit_bytes:
            oldest = next((other for other, size in self._kept.items() if size), None)
            if oldest is None:
                break
            self._held_bytes -= self._kept.pop(oldest)
            (self._folder / f"{oldest}{SUFFIX}").unlink(missing_ok=True)


async def _mark(branch: Branch, touched: Found) -> list[Mark]:
    """Return where what was acted on is, if it is still to be seen."""
    if touched.frame.is_detached():
        return []
    box = await branch.live.call(touched.frame, "boxOf", touched.number)
    if box is None:
        return []
    left, top = await corner_of(touched.frame)
    return [Mark(label="", **shifted(box, left, top))]
