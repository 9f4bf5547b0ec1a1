"""The part `oracles` of `benchmarks/web.py`: what scripts achieve on MiniWoB++ and on the shop, and what they can point at.

The scripts (`oracles`, and those of the shop) act as agents do: by references and typed actions. A task counts as solved where the
page's own reward without its penalty for time is 1 on every seed; an element that a script points at counts as seen where what
was shown of the page had a reference to it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from oracles import ORACLES
from rich.progress import Progress
from web_shop import TASKS, Shop

from branchwise.core.errors import BranchwiseError
from branchwise.web import Browser
from branchwise.web.tasks import Hand, MiniWoB, Oracle, WebTask

SIDE_BY_SIDE = 2
LIMIT_SECONDS = 120.0
_SCRIPT_ERRORS = (BranchwiseError, AssertionError, StopIteration, LookupError, ValueError, TypeError, TimeoutError)
"""A script that finds another page than it expects fails by one of these, and its task counts as not solved."""


@dataclass
class Score:
    """What came of all tasks of a family."""

    solved: dict[str, list[bool]] = field(default_factory=dict[str, list[bool]])
    pointed: int = 0
    unseen: list[str] = field(default_factory=list[str])
    troubles: list[str] = field(default_factory=list[str])

    @property
    def tasks_solved(self) -> int:
        """Tasks that were solved on every seed."""
        return sum(map(all, self.solved.values()))

    @property
    def seen(self) -> float:
        """Part of the elements pointed at that had a reference."""
        return 1 - len(self.unseen) / max(self.pointed, 1)


async def attempt(name: str, task: WebTask, oracle: Oracle, folder: Path, score: Score) -> None:
    """Have a script do a task, and note what came of it."""
    supply = await task.browser().start(task.name, folder)
    try:
        env = await supply.open()
        hand = Hand(env)
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                mark = await task.mark(env, await oracle(hand))
            why = mark.why
            done = mark.done
        except _SCRIPT_ERRORS as error:
            done, why = False, f"{type(error).__name__}: {error}"
        score.solved.setdefault(name, []).append(done)
        score.pointed += hand.pointed
        score.unseen += hand.unseen
        if not done:
            score.troubles.append(f"{task.name}: {why[:200]}")
        await env.close()
    finally:
        await supply.aclose()


async def measure(bar: Progress, seeds: int, only: list[str]) -> dict[str, float]:
    """Return the figures.

    Args:
        bar: where to say how far it is.
        seeds: of each task of MiniWoB++, from 1.
        only: names of tasks; all unless given.
    """
    miniwob, own = Score(), Score()
    gate = asyncio.Semaphore(SIDE_BY_SIDE)
    with MiniWoB() as family, Shop() as shop, tempfile.TemporaryDirectory() as folder:
        names = [name for name in ORACLES if not only or name in only]
        shop_names = [name for name in TASKS if not only or name in only]
        row = bar.add_task("scripts", total=len(names) * seeds + len(shop_names))
        # One browser for all of them: as long as one leases it, it stays.
        standing = await Browser(site=shop.site()).start("standing", Path(folder) / "standing")

        async def one(name: str, task: WebTask, oracle: Oracle, score: Score) -> None:
            async with gate:
                await attempt(name, task, oracle, Path(folder) / task.name, score)
                bar.advance(row)

        work = [
            one(name, await family.task(name, seed, goal=""), ORACLES[name], miniwob)
            for name in names
            for seed in range(1, seeds + 1)
        ]
        work += [one(name, TASKS[name].on(shop), TASKS[name].oracle, own) for name in shop_names]
        try:
            await asyncio.gather(*work)
        finally:
            await standing.aclose()
        total = len(family.names)
    for line in (*miniwob.troubles, *own.troubles):
        print(line, file=sys.stderr)
    return {
        "miniwob_tasks": total,
        "miniwob_tasks_with_oracle": len(miniwob.solved),
        "miniwob_tasks_oracle_solved": miniwob.tasks_solved,
        "miniwob_seeds": seeds,
        "miniwob_targets": miniwob.pointed,
        "miniwob_targets_seen": round(miniwob.seen, 4),
        "shop_tasks": len(TASKS),
        "shop_tasks_oracle_solved": own.tasks_solved,
    }
