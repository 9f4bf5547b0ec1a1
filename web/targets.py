"""Finding what an action means, in words that help where it cannot be found or reached."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Error, Frame

from ..core.errors import ActionFailed, StateDiverged
from .live import Live, PageStuck
from .policy import Target
from .script import INSET

_REF = re.compile(r"(?:f(\d+))?e(\d+)")
_SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Found:
    """An element that an action is about."""

    frame: Frame
    number: int
    ref: str
    target: Target
    told: Mapping[str, Any]
    """What the page script says of it; `x` and `y` are where to point within its frame."""


async def find(live: Live, ref: str, known: Mapping[str, str], *, point: bool, enabled: bool = True) -> Found:
    """Return the element of a reference, scrolled into view where it is to be pointed at.

    Args:
        live: the context.
        ref: a reference that an observation has shown.
        known: what references meant when they were shown, to say what is gone.
        point: whether it must be where a pointer can reach it.
        enabled: whether it must not be disabled.

    Raises:
        ActionFailed: it is gone, hidden, disabled or covered; the message says by what and what is nearest.
    """
    parsed = _REF.fullmatch(ref)
    assert parsed is not None, ref  # the action's own model has seen to it
    frame, number = live.frame(int(parsed[1] or 0)), int(parsed[2])
    told: Mapping[str, Any] | None = {"problem": "gone"}
    if frame is not None:
        told = await live.call(frame, "locate", number, {"point": point, "enabled": enabled})
    if told is None:
        raise ActionFailed("a dialog is open, and the page waits for it: answer it by the action dialog")
    if "problem" in told or frame is None:
        raise ActionFailed(await _why(live, ref, told, known))
    target = Target(
        live.number(frame), tuple(told["path"]), str(told["role"]), str(told["name"]), str(told.get("method", ""))
    )
    return Found(frame, number, ref, target, told)


async def _why(live: Live, ref: str, told: Mapping[str, Any], known: Mapping[str, str]) -> str:
    what = f"{ref} ({told['role']} {json.dumps(told['name'], ensure_ascii=False)})" if "role" in told else ref
    match told["problem"]:
        case "disabled":
            return f"{what} is disabled; something else may have to be filled in or chosen first"
        case "covered":
            by = told["by"]
            return f"{what} is covered by [{_prefix(ref)}e{by['ref']}] {by['role']} {by['name']!r}; close or answer that first, or use it"
        case "option":
            return f"{what} is an option of a list: choose it by the action select on the list"
        case "hidden":
            near = await _nearest(live, str(told.get("name", "")))
            return f"{what} is there but cannot be seen; open what it is in first{near}"
        case _:
            was = known.get(ref, "")
            if not was:
                return f"{ref} is no reference that this page shows; look at the page again and take one from it"
            return f"{ref} ({was[:80]}) is not on the page any more{await _nearest(live, was)}"


async def _nearest(live: Live, words: str) -> str:
    """Return what of the page is most like the words, as the end of a message."""
    frame = live.page.main_frame
    found = await live.call(frame, "alike", words, _SUGGESTED) if words else None
    if not found:
        return ""
    shown = ", ".join(f"[e{one['ref']}] {one['role']} {one['name']!r}" for one in found)
    return f"; nearest now: {shown}"


def _prefix(ref: str) -> str:
    return ref.partition("e")[0]


async def again(live: Live, recorded: Mapping[str, Any]) -> str:
    """Return the reference of a recorded target in a context where its action is to be repeated.

    Raises:
        StateDiverged: what is there now is something else.
    """
    frame = live.frame(int(recorded["frame"]))
    wanted = f"{recorded['role']} {recorded['name']!r}"
    if frame is None:
        raise StateDiverged(f"the frame of the {wanted} is not there this time")
    found = await live.call(frame, "find", dict(recorded))
    if not found or found["ref"] is None:
        instead = found["instead"] if found else "a dialog"
        raise StateDiverged(f"there is {instead} where the {wanted} was")
    return f"{live.prefix(frame)}e{found['ref']}"


async def point_of(found: Found) -> tuple[float, float]:
    """Return where an element is on its tab.

    Raises:
        ActionFailed: the frame that it is in has gone meanwhile.
    """
    x, y = float(found.told["x"]), float(found.told["y"])
    try:
        left, top = await corner_of(found.frame, scroll=True)
    except PageStuck as error:
        raise ActionFailed(f"the frame of {found.ref} has gone or is hidden: {error}") from error
    return x + left, y + top


async def corner_of(frame: Frame, *, scroll: bool = False) -> tuple[float, float]:
    """Return where a frame begins on its tab, scrolled into view if `scroll`.

    Raises:
        PageStuck: it has gone.
    """
    x = y = 0.0
    try:
        while frame.parent_frame is not None:
            holder = await frame.frame_element()
            if scroll:
                await holder.scroll_into_view_if_needed(timeout=1000)
            left, top = await holder.evaluate(INSET)
            x, y = x + left, y + top
            frame = frame.parent_frame
    except Error as error:
        raise PageStuck(error.message.partition("\n")[0][:200]) from error
    return x, y
