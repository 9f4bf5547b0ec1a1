"""Waiting until a page has done what an action made it do, by its own signals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .live import Live, PageStuck

_CHILDREN_SECONDS = 0.5
_TAB_SECONDS = 2.0
"""So long a tab that was opened may take to be there; some are never, for example where the page closed it at once."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long pages are waited for."""

    quiet_seconds: float = 0.06
    """So long nothing may have happened before a page counts as settled."""
    settle_seconds: float = 1.0
    """A page that never comes to rest, such as one with a clock, is looked at after that."""
    load_seconds: float = 15.0
    """So long a page may take to arrive."""
    action_seconds: float = 5.0
    """So long a page may take to react to a click or a key."""


async def settle(live: Live, patience: Patience) -> None:
    """Wait for navigations, downloads, changes, requests, short timers and animations of the tab in front to end.

    Pages that do not come to rest, or do not answer, are waited for no longer than `patience` says; that is noted.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience.load_seconds
    while live.alive and live.dialog is None:
        if live.waiting:
            if clock() >= deadline:
                live.note("the page has not arrived yet; wait, or go elsewhere")
                return
            await live.stirred(deadline - clock())
            continue
        page, before = live.page, live.navigations
        try:
            await asyncio.gather(*(_settle(live, n, patience) for n in range(len(live.frames(page)))))
        except PageStuck as error:
            if live.navigations == before and not live.waiting:
                live.note(str(error))
                return
        await live.expected(_TAB_SECONDS)
        moved = live.navigations != before or live.waiting or live.page is not page
        if not moved:
            return
        if clock() >= deadline:
            live.note("the page goes on loading others")
            return


async def _settle(live: Live, place: int, patience: Patience) -> None:
    """Wait for one frame of the tab in front; one inside another may go away meanwhile, which is no matter."""
    frames = live.frames(live.page)
    if place >= len(frames):
        return
    times = (patience.quiet_seconds * 1000, patience.settle_seconds * 1000)
    if place == 0:
        limit = patience.settle_seconds + patience.action_seconds
        found: Mapping[str, Any] | None = await live.call(frames[0], "settle", *times, timeout_seconds=limit)
        live.expect(_opening(found))
        return
    try:
        limit = patience.settle_seconds + _CHILDREN_SECONDS
        found = await live.call(frames[place], "settle", *times, timeout_seconds=limit)
        live.expect(_opening(found))
    except PageStuck:
        return


def _opening(found: Mapping[str, Any] | None) -> int:
    return 0 if found is None else int(found["opening"])
