"""What scripts achieve on MiniWoB++ and on the shop through our observation and actions, and what they can point at.

    python benchmarks/web.py [--json] [--seeds 3] [--only NAME ...]

The scripts (`oracles`, and those of the shop) act as agents do: by references and typed actions. A task counts as solved where the
page's own reward without its penalty for time is 1 on every seed; an element that a script points at counts as seen where what
was shown of the page had a reference to it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from oracles import ORACLES
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from branchwise.core.errors import BranchwiseError
from branchwise.web import Browser
from branchwise.web.tasks import Hand, MiniWoB, Oracle, WebTask

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from shop import TASKS, Shop

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


async def measure(seeds: int, only: list[str]) -> dict[str, float]:
    """Return the figures."""
    miniwob, own = Score(), Score()
    gate = asyncio.Semaphore(SIDE_BY_SIDE)
    begun = time.monotonic()
    with (
        MiniWoB() as family,
        Shop() as shop,
        tempfile.TemporaryDirectory() as folder,
        Progress(console=Console(stderr=True), transient=True) as bar,
    ):
        names = [name for name in ORACLES if not only or name in only]
        shop_names = [name for name in TASKS if not only or name in only]
        row = bar.add_task("tasks", total=len(names) * seeds + len(shop_names))
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
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what scripts achieve on web tasks.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each MiniWoB++ task (default: 3)")
    parser.add_argument("--only", nargs="*", default=[], help="names of tasks (default: all)")
    given = parser.parse_args()
    figures = asyncio.run(measure(given.seeds, given.only))
    if given.json:
        print(json.dumps(figures))
        return
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:g}")
    Console().print(table)


if __name__ == "__main__":
    main()
