"""Sixty-four searches of eight runs, on one machine with room for a few sandboxes: does everybody get their part?

Each search opens a sandbox, runs a small program in it and gives it back, again and again; every eighth program burns the
processor for 50 ms. The runs come one after the other, the first finds the machine empty and takes all of it.

    python benchmarks/fairness.py [--json] [--runs 8] [--searches 8] [--seconds 20] [--room 16]

`p99_ms` is the time from asking for a sandbox to the program's result, waits included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from branchwise.core.protocols import Sandboxes
from branchwise.core.types import Python
from branchwise.sandboxes import Docker
from branchwise.sandboxes.governor import this_machine

SMALL = Python("print(sum(range(1000)))")
BUSY = Python("import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end: pass\nprint(499500)")
MOST_WARM_UP_SECONDS = 120.0


@dataclass
class Run:
    """What one run got."""

    latencies: list[float] = field(default_factory=list[float])
    """Seconds of each execution, its wait for a sandbox included."""
    ends: list[float] = field(default_factory=list[float])


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which `part` of them lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


async def search(supply: Sandboxes, run: Run, number: int, over: asyncio.Event) -> None:
    """Use sandboxes until it is over."""
    while not over.is_set():
        begun = time.perf_counter()
        environment = await supply.open()
        try:
            number += 1
            result = await environment.exec(SMALL if number % 8 else BUSY)
        finally:
            await environment.close()
        assert result.stdout == "499500\n", result
        run.ends.append(time.perf_counter())
        run.latencies.append(run.ends[-1] - begun)


async def measure(runs: int = 8, searches: int = 8, seconds: float = 20.0, room: int = 16) -> dict[str, Any]:
    """Return what the runs got, once each of them had got something."""
    spec = Docker(memory_mb=160, workspace_mb=16, scratch_mb=8, max_idle=1)
    machine = this_machine()
    whole, machine.capacity_bytes = machine.capacity_bytes, room * (spec.memory_mb << 20)
    books = [Run() for _ in range(runs)]
    over = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="fairness-") as folder:
        supplies: list[Sandboxes] = []
        tasks: list[asyncio.Task[None]] = []
        for number, run in enumerate(books):
            supplies.append(await spec.start(f"fairness-{number}", Path(folder)))
            tasks += [asyncio.create_task(search(supplies[-1], run, index, over)) for index in range(searches)]
        deadline = time.perf_counter() + MOST_WARM_UP_SECONDS
        while not all(len(run.ends) > searches for run in books):
            assert time.perf_counter() < deadline, "some run got nothing"
            await asyncio.sleep(0.1)
        begun = time.perf_counter()
        await asyncio.sleep(seconds)
        over.set()
        await asyncio.gather(*tasks)
        await asyncio.gather(*(supply.aclose() for supply in supplies))
    machine.capacity_bytes = whole
    return figures(books, begun, begun + seconds)


def figures(books: Sequence[Run], begun: float, ended: float) -> dict[str, Any]:
    """Return the figures of the time from `begun` to `ended`."""
    latencies: list[float] = []
    counts: list[int] = []
    for run in books:
        mine = [value for value, end in zip(run.latencies, run.ends, strict=True) if begun <= end < ended]
        latencies += mine
        counts.append(len(mine))
    return {
        "executions_per_s": round(sum(counts) / (ended - begun), 1),
        "p50_ms": round(quantile(latencies, 0.5) * 1000, 1),
        "p99_ms": round(quantile(latencies, 0.99) * 1000, 1),
        "most_ms": round(max(latencies) * 1000, 1),
        "least_of_a_run": min(counts),
        "most_of_a_run": max(counts),
        "fairness": round(sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts)), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--searches", type=int, default=8, help="of each run")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--room", type=int, default=16, help="how many sandboxes the machine has room for")
    given = parser.parse_args()
    found = asyncio.run(measure(given.runs, given.searches, given.seconds, given.room))
    if given.json:
        print(json.dumps(found))
        return
    view = Table("", "", title=f"{given.runs} runs of {given.searches} searches, room for {given.room} sandboxes")
    for name, value in found.items():
        view.add_row(name.replace("_", " "), str(value))
    Console().print(view)


if __name__ == "__main__":
    main()
