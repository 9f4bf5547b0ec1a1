"""Looking at a context: its tab in front as text, frames put where they lie."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from playwright.async_api import Error, Frame

from .live import Live, PageStuck
from .observation import Observation
from .script import REFERENCE

_REF = re.compile(r"\[((?:f\d+)?e\d+)\]")
_FRAMES_MOST = 64
_FRAME_SECONDS = 3.0

Looks = Mapping[Frame, Mapping[str, Any]]


async def look(live: Live, *, screens: float, whole: bool = False, told: bool = True) -> Observation:
    """Return what the tab in front looks like, uncut, without what has changed.

    Args:
        live: the context.
        screens: how many screens above and below the visible part are told too.
        whole: tell all of the page.
        told: whether what has happened beside the page counts as told; otherwise it waits for the next look.

    Raises:
        PageStuck: it does not answer.
        SandboxLost: it is gone.
    """
    page = live.page
    notes = live.take_notes() if told else ()
    tabs = tuple(_short(other.url) for other in live.pages)
    if live.dialog is not None:
        kind, message = live.dialog.type, " ".join(live.dialog.message.split())[:500]
        line = f"{kind} dialog: {message!r}" + (
            f" [{live.dialog.default_value!r}]" if live.dialog.default_value else ""
        )
        asked = (*notes, "a dialog is open, and the page waits for it: answer it by the action dialog")
        return Observation(page.url, "", (line,), tabs=tabs, tab=live.active + 1, notes=asked)
    frames = live.frames(page)[:_FRAMES_MOST]
    looks = await _all(live, frames, screens, whole=whole)
    main = looks[frames[0]]
    lines = await _spliced(live, frames[0], looks)
    refs = frozenset(ref for line in lines for ref in _REF.findall(line))
    said = live.take_messages() if told else ()
    if live.chooser is not None:
        notes = (*notes, "the page asks for files: give it some by the action upload")
    scroll = main["scroll"]
    if scroll["height"] > scroll["screen"] + 4:
        notes = (*notes, f"scrolled to {scroll['y']} of {scroll['height']} px, {scroll['screen']} px are in view")
    return Observation(
        _short(str(main["url"]), 300),
        str(main["title"]),
        tuple(lines),
        above=int(main["above"]),
        below=int(main["below"]),
        tabs=tabs,
        tab=live.active + 1,
        notes=notes,
        said=tuple(text.replace(">>>", "…").replace("[", "(") for text in said),
        refs=refs,
    )


async def _all(live: Live, frames: Sequence[Frame], screens: float, *, whole: bool) -> dict[Frame, Mapping[str, Any]]:
    """Ask all frames at once; those inside that do not answer are left out."""

    async def one(frame: Frame) -> tuple[Frame, Mapping[str, Any] | None]:
        options = {"next": live.next_ref(frame), "prefix": live.prefix(frame), "screens": screens, "whole": whole}
        main = frame is frames[0]
        try:
            found = await live.call(frame, "observe", options, **({} if main else {"timeout_seconds": _FRAME_SECONDS}))
        except PageStuck:
            if main:
                raise
            return frame, None
        return frame, found

    for frame in frames:
        live.number(frame)  # in the order of the page, not of the answers
    answers = await asyncio.gather(*(one(frame) for frame in frames))
    looks: dict[Frame, Mapping[str, Any]] = {}
    for frame, found in answers:
        if found is None:
            if frame is frames[0]:
                raise PageStuck("a dialog has opened while the page was looked at; look again")
            continue
        looks[frame] = found
        live.next_ref(frame, int(found["next"]))
    return looks


async def _spliced(live: Live, frame: Frame, looks: Looks, depth: int = 0) -> list[str]:
    """Return a frame's lines with those of the frames inside it where they lie."""
    lines: list[str] = []
    inner = {int(looks[child]["index"]): child for child in frame.child_frames if child in looks}
    own: list[str] = str(looks[frame]["text"]).split("\n") if looks[frame]["text"] else []
    told = 0
    for before, number, ref in cast("Sequence[tuple[int, int, int]]", looks[frame]["frames"]):
        lines += own[told:before]
        told = before
        child = inner.get(number) if number >= 0 else await _hosted(frame, ref, looks)
        if child is None or depth > 8:
            lines.append("(a frame that does not answer)")
            continue
        within = await _spliced(live, child, looks, depth + 1)
        lines += ["(frame:)", *within, "(end of frame)"] if within else []
    return lines + own[told:]


async def _hosted(frame: Frame, ref: int, looks: Looks) -> Frame | None:
    """Return the frame whose element has a reference: in shadow trees frames have no number."""
    for child in frame.child_frames:
        if child in looks and int(looks[child]["index"]) < 0:
            try:
                element = await child.frame_element()
                if await element.evaluate(REFERENCE) == ref:
                    return child
            except Error:
                continue  # it has gone meanwhile
    return None


def _short(url: str, most: int = 80) -> str:
    return url if len(url) <= most else url[: most - 1] + "…"
