"""Fingerprints of what a context shows, and references carried over from one context into another in the same state."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Self

from playwright.async_api import Frame

from .live import Live, PageStuck

_UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class FrameSeal:
    """One frame's part."""

    number: int
    hash: str
    """Of the document as a reader could see it; says nothing of what its scripts remember."""
    refs: tuple[tuple[int, int], ...]
    """Every reference and which element of the document, counted in document order, it means."""
    next: int
    """The first reference that is free."""
    busy: bool = field(default=False, compare=False)
    """Whether something went on in it that its hash may not tell; no part of the state."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What all tabs of a context show."""

    tabs: tuple[tuple[FrameSeal, ...], ...]
    active: int
    dialog: str
    """The message of the dialog that is open."""
    next_frame: int

    @property
    def fingerprint(self) -> str:
        """Equal where contexts show the same; references do not count."""
        parts = [[frame.hash for frame in tab] for tab in self.tabs]
        return hashlib.sha256(json.dumps([parts, self.active, self.dialog]).encode()).hexdigest()[:32]

    @property
    def busy(self) -> bool:
        """Whether something went on when it was looked at: it may show what it is to show, and not be done with it."""
        return any(frame.busy for tab in self.tabs for frame in tab)

    def to_json(self) -> dict[str, Any]:
        """Return it as data."""
        tabs = [[[f.number, f.hash, [list(pair) for pair in f.refs], f.next] for f in tab] for tab in self.tabs]
        return {"tabs": tabs, "active": self.active, "dialog": self.dialog, "next_frame": self.next_frame}

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Self:
        """Return the seal that `to_json` has written."""
        tabs = tuple(
            tuple(
                FrameSeal(number, text, tuple((a, b) for a, b in refs), following)
                for number, text, refs, following in tab
            )
            for tab in data["tabs"]
        )
        return cls(tabs, data["active"], data["dialog"], data["next_frame"])


async def seal(live: Live) -> Seal:
    """Return what a context shows.

    Raises:
        PageStuck: the tab in front does not answer. Others that do not are all alike.
        SandboxLost: it is gone.
    """
    tabs = [live.frames(page) for page in live.pages]
    dialog = live.dialog.message if live.dialog is not None else ""
    if dialog:
        # A page that waits for its dialog answers nothing: what it shows is what it showed.
        tabs = [frames for n, frames in enumerate(tabs) if n != live.active]
    sealed = await asyncio.gather(*(_frame(live, frame) for frames in tabs for frame in frames))
    rows = iter(sealed)
    return Seal(tuple(tuple(next(rows) for _ in frames) for frames in tabs), live.active, dialog, live.next_frame)


async def _frame(live: Live, frame: Frame) -> FrameSeal:
    number = live.number(frame)
    try:
        found = await live.call(frame, "seal")
    except PageStuck:
        if frame is live.page.main_frame:
            raise
        found = None
    if found is None:
        return FrameSeal(number, _UNREADABLE, (), live.next_ref(frame))
    pairs = (pair.partition(":") for pair in str(found["refs"]).split())
    refs = tuple((int(ref), int(place)) for ref, _, place in pairs)
    return FrameSeal(number, str(found["hash"]), refs, live.next_ref(frame, int(found["next"])), bool(found["busy"]))


async def adopt(live: Live, sealed: Seal) -> None:
    """Give the elements of a context that shows the same the references that `sealed` says.

    Raises:
        PageStuck, SandboxLost: as `seal`.
    """
    tabs = [live.frames(page) for page in live.pages]
    if sealed.dialog:
        tabs = [frames for n, frames in enumerate(tabs) if n != live.active]
    pairs = [pair for frames, tab in zip(tabs, sealed.tabs, strict=True) for pair in zip(frames, tab, strict=True)]
    live.renumber({frame: one.number for frame, one in pairs}, sealed.next_frame)
    for frame, one in pairs:
        live.next_ref(frame, one.next)
    await asyncio.gather(
        *(
            live.call(frame, "adopt", [list(pair) for pair in one.refs], one.next)
            for frame, one in pairs
            if one.hash != _UNREADABLE
        )
    )
