"""Doing actions again in a fresh context, and seeing whether they lead to what they led to before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..core.errors import ActionFailed, StateDiverged
from .branch import Branch
from .hands import Hands
from .live import Live, PageStuck
from .past import Past, PastStep
from .sealing import Seal, seal
from .settling import settle
from .targets import again

_LOOKS_SECONDS = 0.02


async def replay(
    branch: Branch,
    past: Past,
    content: Callable[[str], bytes],
    *,
    patient: bool,
    before: Callable[[int, PastStep], Awaitable[None]] | None = None,
) -> None:
    """Do all steps of a past again, and compare what the context shows after each.

    Args:
        branch: a context on the start page.
        past: what was done.
        content: returns a content of the store by its digest.
        patient: wait after every step as long as the first time, and for pages that blink until they show it. Otherwise a step counts as over as soon as the page shows
            what it showed then, and nothing goes on in it.
        before: told the number of every step, from 1, and the step before it is done.

    Raises:
        StateDiverged: a step could not be done, or led elsewhere.
        SandboxLost: the browser is gone.
    """
    last = ""
    live, hands = branch.live, branch.hands
    for number, step in enumerate(past.steps, 1):
        what = f"step {number} of {len(past.steps)} ({step.action.get('do')})"
        branch.files = _giver(step.files, content)
        if before is not None:
            await before(number, step)
        try:
            await _again(hands, live, step, longer_seconds=hands.patience.settle_seconds if patient else 0.0)
        except StateDiverged as error:
            raise StateDiverged(f"{what} cannot be done again: {error}") from error
        except ActionFailed as error:
            if not step.failed:
                raise StateDiverged(f"{what} cannot be done again: {error}") from error
        # Where nothing was to be seen of a step, being as expected at once says nothing: it is waited for in full.
        early = not patient and step.fingerprint != last
        found = await arrived(branch, step.fingerprint, early=early, longer=patient)
        if found.fingerprint != step.fingerprint:
            raise StateDiverged(f"{what} led to another page than before, {_shown(live)}")
        last = step.fingerprint
    if not past.steps and (await sealed(live)).fingerprint != past.seal.fingerprint:
        raise StateDiverged(f"the start page is not what it was, {_shown(live)}")


def _giver(files: Mapping[str, str], content: Callable[[str], bytes]) -> Callable[[str], Awaitable[bytes]]:
    """Return what gives a step the files that it was given the first time."""

    async def give(path: str) -> bytes:
        return content(files[path])

    return give


async def _again(hands: Hands, live: Live, step: PastStep, *, longer_seconds: float) -> None:
    renamed: dict[str, Any] = dict(step.action)
    for key in ("ref", "to"):
        ref = renamed.get(key)
        if isinstance(ref, str) and ref in step.targets:
            renamed[key] = await _meant(live, step.targets[ref], longer_seconds)
    action = PastStep(renamed, {}, "").parsed()
    found = await hands.aim(action, {})
    await hands.do(action, found, {})


async def _meant(live: Live, target: Mapping[str, Any], longer_seconds: float) -> str:
    """Return the reference of a recorded target; one whose name blinks is looked for so much longer."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + longer_seconds
    while True:
        try:
            return await again(live, target)
        except StateDiverged:
            if clock() >= deadline:
                raise
        await live.stirred(_LOOKS_SECONDS)


async def arrived(branch: Branch, expected: str, *, early: bool, longer: bool = False) -> Seal:
    """Wait for a step to have had its effects, and return what the page shows.

    Args:
        branch: where the step was done.
        expected: the fingerprint of what it led to.
        early: wait no longer than until the page shows that and does nothing.
        longer: look on for a while where it shows something else: a cursor that blinks may be in its other half.

    Raises:
        PageStuck: it does not answer.
        SandboxLost: the browser is gone.
    """
    live = branch.live
    settling = asyncio.ensure_future(settle(live, branch.hands.patience))
    try:
        while early and not settling.done():
            try:
                found = await seal(live)
            except PageStuck:
                found = None  # it is on its way elsewhere
            if found is not None and found.fingerprint == expected and not found.busy:
                return found
            await asyncio.wait({settling}, timeout=_LOOKS_SECONDS)
        await settling
    finally:
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
    found = await sealed(live)
    clock = asyncio.get_running_loop().time
    deadline = clock() + branch.hands.patience.settle_seconds
    while longer and found.fingerprint != expected and clock() < deadline:
        await live.stirred(_LOOKS_SECONDS)
        found = await sealed(live)
    return found


async def sealed(live: Live) -> Seal:
    """Return what a settled context shows; one that goes elsewhere just then is asked once more.

    Raises:
        PageStuck: it does not answer.
        SandboxLost: it is gone.
    """
    try:
        return await seal(live)
    except PageStuck:
        await live.stirred(_LOOKS_SECONDS)
        return await seal(live)


def _shown(live: Live) -> str:
    return f"now {live.page.url[:200]}" if live.pages else "with no tab left"
