"""The part `forks` of `benchmarks/web.py`: whether a fork of a page is the same page, or is refused, and what forks cost.

From random tasks a policy that draws among what is valid goes a random number of steps. Where it is then, the state is kept and brought
back: by the context that waits for it, and by a clone or by doing it all again. Each time it is compared by means that the framework's
own fingerprint has no part in: the page's whole source with what stands in its fields, what an agent sees, the shop's own state or the
page's own reward, and what one further action leads to. Pages that blink are looked at several times.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from oracles import ORACLES
from rich.progress import Progress
from web_policy import draw, options
from web_shop import TASKS, Shop, State

from branchwise.core.errors import ActionFailed, ActionHeld, StateDiverged
from branchwise.web import Browser, WebEnvironment, WebSandboxes
from branchwise.web.actions import Acting
from branchwise.web.tasks import MiniWoB

STEPS_MOST = 6
DEPTHS = (1, 5, 20)
_REPEATS = 3
_LOOKS, _BLINK_SECONDS = 8, 0.13
"""How often a page that changes by itself is looked at before it counts as another one."""
_SOURCE = """() => {
    const fields = [...document.querySelectorAll("input,select,textarea")].map((one) => [one.value, one.checked, one.selectedIndex]);
    const text = document.documentElement.outerHTML.replace(/<style[\\s\\S]*?<\\/style>/g, "");
    return JSON.stringify([location.href, document.title, text, fields, scrollX, scrollY,
        typeof WOB_RAW_REWARD_GLOBAL === "undefined" ? null : [WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]]);
}"""
"""All that a page says and holds, in words of the benchmark's own."""


@dataclass
class Tally:
    """What became of the forks."""

    points: int = 0
    exact: Counter[str] = field(default_factory=Counter[str])
    """By the way in which the state was brought back."""
    refused: int = 0
    wrong: list[str] = field(default_factory=list[str])
    """Forks that were neither refused nor the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk begins."""

    name: str
    browser: Browser
    goal: str


async def measure(bar: Progress, points: int, begin: int = 0) -> dict[str, float]:
    """Return the figures.

    Args:
        bar: where to say how far it is.
        points: branch points, a third of them on MiniWoB++, in worlds of the shop, and in the shop as a live site each.
        begin: number of the first.
    """
    tally = Tally()
    task = bar.add_task("forks", total=points + len(DEPTHS) * 2)
    with MiniWoB() as family, Shop() as shop, tempfile.TemporaryDirectory() as folder:
        standing = await Browser(shop.url).start("standing", Path(folder) / "standing")
        try:
            for number in range(begin, begin + points):
                rng = Random(f"branch point {number}")
                await _point(await _place(rng, number, family, shop), rng, Path(folder) / str(number), tally)
                bar.advance(task)
            costs = await _costs(bar, task, shop, Path(folder))
        finally:
            await standing.aclose()
    for line in tally.wrong:
        print("a fork is another page:", line, file=sys.stderr)
    return {
        "fork_points": tally.points,
        "fork_exact": tally.exact.total(),
        "fork_refused": tally.refused,
        "fork_wrong": len(tally.wrong),
        **{f"fork_exact_{way}": tally.exact[way] for way in ("kept", "clone", "replay")},
        **costs,
    }


async def _place(rng: Random, number: int, family: MiniWoB, shop: Shop) -> Place:
    """Return where a walk begins: thirds of them in either family, and in the shop as a site that is what it is."""
    match number % 3:
        case 0:
            name = rng.choice(sorted(ORACLES))
            goal = (await family.task(name, number)).goal
            return Place(
                f"{name}-{number}", (await family.task(name, number, goal=goal)).browser(kept_contexts=1), goal
            )
        case 1:
            task = TASKS[rng.choice(sorted(TASKS))]
            return Place(task.name, task.on(shop).browser(kept_contexts=1), task.goal)
        case _:
            return Place("the live shop", Browser(shop.url, kept_contexts=1), "find 'lamp'")


async def _point(place: Place, rng: Random, folder: Path, tally: Tally) -> None:
    supply = await place.browser.start(place.name, folder)
    try:
        env = await supply.open()
        steps = await _walk(env, rng, place.goal)
        seen = await env.observe()
        before, kept = await _all_of(env), await env.snapshot()
        given = options(seen, place.goal)
        action = draw(rng, given) if given else None
        await env.close()
        tally.points += 1
        what = f"{place.name} after {steps}"
        # The first goes on in the context that waits, the second has none.
        after = [one for _ in range(2) for one in await _fork(supply, kept, before, tally, what=what, action=action)]
        for _ in range(_LOOKS):  # notes that go by themselves are there or not, depending on when one looks
            if len(after) < 2 or after[-1] in after[:-1]:
                return
            after += await _fork(supply, kept, before, Tally(), what=what, action=action)
        tally.wrong.append(f"{what}: {action} leads elsewhere")
    finally:
        await supply.aclose()


async def _walk(env: WebEnvironment, rng: Random, goal: str) -> list[Acting]:
    done: list[Acting] = []
    for _ in range(rng.randint(1, STEPS_MOST)):
        given = options(await env.observe(), goal)
        if not given:
            break
        done.append(draw(rng, given))
        try:
            await env.act(done[-1])
        except (ActionFailed, ActionHeld):
            continue  # it is covered, or not to be done here: part of a walk all the same
    return done


async def _fork(
    supply: WebSandboxes, kept: str, before: Any, tally: Tally, *, what: str, action: Acting | None
) -> list[Any]:
    """Bring a state back and compare it; return what one further action leads to, nothing where it was refused."""
    ways = Counter(supply.ways.opened)
    fork = await supply.open(kept)
    try:
        found = await _all_of(fork)
    except StateDiverged:
        tally.refused += 1
        await fork.close()
        return []
    way = next(iter(Counter(supply.ways.opened) - ways), "replay")
    for _ in range(_LOOKS):  # a cursor that blinks is to be seen in one of them
        if found == before:
            break
        await asyncio.sleep(_BLINK_SECONDS)
        found = await _all_of(fork)
    if found == before:
        tally.exact[way] += 1
    else:
        tally.wrong.append(f"{what}, by {way}: {_difference(str(before), str(found))}")
    after: Any = None
    if action is not None:
        try:
            await fork.act(action)
            after = await _all_of(fork)
        except (ActionFailed, ActionHeld) as error:
            after = str(error)
    await fork.close()
    return [after]


def _difference(one: str, other: str) -> str:
    """Return where two texts begin to differ."""
    place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"{one[max(0, place - 60) : place + 60]!r} against {other[max(0, place - 60) : place + 60]!r}"


async def _all_of(env: WebEnvironment) -> Any:
    """Return all that is known of a state."""
    lines = (await env.observe()).lines
    world = await env.world()
    state = getattr(world, "state", None)
    behind = state.to_json() if isinstance(state, State) else None
    if any("dialog" in line for line in lines[:1]):
        return lines, behind  # a page that waits for an answer says nothing else
    try:
        return lines, await env.evaluate(_SOURCE), behind
    except ActionFailed:
        return lines, behind


# --- what it costs ----------------------------------------------------------------------------------------------------


async def _costs(bar: Progress, task: Any, shop: Shop, folder: Path) -> dict[str, float]:
    """Return medians of the milliseconds until a state of the shop is back, by how many steps led to it."""
    told: dict[str, float] = {}
    for way, browser in (
        ("clone", Browser(shop.url, kept_contexts=0)),
        ("replay", Browser(site=shop.site(), kept_contexts=0)),
    ):
        for depth in DEPTHS:
            supply = await browser.start(way, folder / f"{way}-{depth}")
            try:
                env = await supply.open()
                for step in range(depth):
                    seen = await env.observe()
                    links = [one for one in options(seen, "") if one[0].do == "click"]
                    await env.act(links[step % 3 + 1][0])
                kept = await env.snapshot()
                await env.close()
                times: list[float] = []
                for _ in range(_REPEATS):
                    begun = time.perf_counter()
                    fork = await supply.open(kept)
                    await fork.cookies()
                    times.append((time.perf_counter() - begun) * 1000)
                    await fork.close()
                used = supply.ways.opened.most_common(1)[0][0]
                if used == way:  # after one step there is nothing that a clone would save: it is done again
                    told[f"fork_{way}_ms_depth_{depth}"] = round(statistics.median(times), 1)
            finally:
                await supply.aclose()
            bar.advance(task)
    return told
