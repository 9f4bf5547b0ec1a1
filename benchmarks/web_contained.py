"""The part `contained` of `benchmarks/web.py`: what a browser in a container costs, beside one on this machine.

Both do the same in turns, in the same run: they are started, and scripts do some of the tasks of the part `steps` with them, three times
each, and go back five steps. `contained_X_ms` is inside, `contained_X_ms_outside` on this machine. The image is made before.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from oracles import ORACLES
from rich.progress import Progress
from web_shop import TASKS, Shop
from web_steps import MINIWOB, SHOP, Times

from branchwise.web import Browser, WebSandboxes
from branchwise.web.tasks import MiniWoB, Oracle, WebTask

STARTS = 5
MINIWOB_TASKS = MINIWOB[:6]
SHOP_TASKS = SHOP[:3]
LOOKS = 15


async def measure(bar: Progress) -> dict[str, float]:
    """Return the figures."""
    places = (False, True)
    times = {place: Times() for place in places}
    starts: dict[bool, list[float]] = {place: [] for place in places}
    looks: dict[bool, list[float]] = {place: [] for place in places}
    task = bar.add_task("contained", total=STARTS + len(MINIWOB_TASKS) + len(SHOP_TASKS))
    with MiniWoB() as family, Shop() as shop, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        await (await Browser(shop.url, contained=True).start("image", home / "image")).aclose()
        for _ in range(STARTS):
            for place in places:
                starts[place].append(await _start(Browser(shop.url, contained=place), home))
            bar.advance(task)
        standing = [await Browser(shop.url, contained=place).start("standing", home / "standing") for place in places]
        try:
            for _ in range(LOOKS):
                for place, supply in zip(places, standing, strict=True):
                    looks[place].append(await _look(supply))
            given: list[tuple[WebTask, Oracle]] = [
                (await family.task(name, 1, goal=""), ORACLES[name]) for name in MINIWOB_TASKS
            ]
            given += [(TASKS[name].on(shop), TASKS[name].oracle) for name in SHOP_TASKS]
            for number, (one, oracle) in enumerate(given):
                for place in places if number % 2 else places[::-1]:
                    placed = replace(one, settings={**one.settings, "contained": place})
                    await times[place].take(placed, oracle, home / f"{one.name}-{place}")
                bar.advance(task)
        finally:
            for supply in standing:
                await supply.aclose()
    return _figures(starts, looks, times)


async def _start(browser: Browser, home: Path) -> float:
    begun = time.perf_counter()
    supply = await browser.start("start", home / "start")
    taken_ms = (time.perf_counter() - begun) * 1000
    await supply.aclose()
    return taken_ms


async def _look(supply: WebSandboxes) -> float:
    env = await supply.open()
    await env.observe()
    begun = time.perf_counter()
    await env.observe()
    taken_ms = (time.perf_counter() - begun) * 1000
    await env.close()
    return taken_ms


def _figures(
    starts: dict[bool, list[float]], looks: dict[bool, list[float]], times: dict[bool, Times]
) -> dict[str, float]:
    figures: dict[str, float] = {}
    for place, suffix in ((True, ""), (False, "_outside")):
        for name, values in (
            ("start", starts[place]),
            ("look", looks[place]),
            ("step", times[place].steps),
            ("reset", times[place].resets),
            ("back", times[place].back),
        ):
            figures[f"contained_{name}_ms{suffix}"] = round(statistics.median(values), 1)
    for name in ("look", "step", "reset", "back"):
        ratio = figures[f"contained_{name}_ms"] / figures[f"contained_{name}_ms_outside"]
        figures[f"contained_{name}_over_outside"] = round(ratio, 3)
    figures["contained_steps"] = len(times[True].steps)
    return figures
