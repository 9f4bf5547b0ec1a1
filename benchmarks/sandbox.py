"""What sandboxes cost and what they withstand: the figures of every part, beside the host, the engine and other sandboxes.

    python benchmarks/sandbox.py [--json] [--count 100] [--only PART ...] [--quick]

Parts: latency, forks, judge, search, fairness, peers, forgeries, abuses. `X_over_Y` is X divided by Y: below 1 is faster than Y.
`--quick` measures a few times only, to see that it works. Kills are counted by benchmarks/kills.py, which takes longer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import abuses
import fairness
import forgeries
import sandbox_forks
import sandbox_judge
import sandbox_latency
import sandbox_peers
import sandbox_search
from rich.console import Console
from rich.table import Table

from branchwise.core.protocols import Sandboxes
from branchwise.sandboxes import Docker, Local

Figures = dict[str, Any]
RUN = "bench-sandbox"
ROOMY = Docker(memory_mb=1024, workspace_mb=256)
GOALS: dict[str, tuple[str, float]] = {
    "exec_over_host_python": ("<=", 0.7),
    "exec_over_docker_exec": ("<=", 1 / 8),
    "exec_cpu_over_docker_exec": ("<=", 0.1),
    "exec_per_s": (">=", 150),
    "exec_per_s_over_same_server": (">=", 0.7),
    "fresh_over_host_python": ("<=", 2.0),
    "write_1kb_ms": ("<=", 1.0),
    "read_1kb_ms": ("<=", 1.0),
    "fork_5mb_ms": ("<=", 10.0),
    "fork_5mb_copy_ms": ("<=", 100.0),
    "fork_100mb_over_commit": ("<=", 0.2),
    "judge_split_over_in_process": ("<=", 2.2),
    "search_sandbox_share": ("<=", 0.1),
    "forged": ("<=", 0),
    "forged_without_engine": ("<=", 0),
    "escaped": ("<=", 0),
}
"""What the figures should be on two cores that do other work too."""


async def latency(count: int) -> Figures:
    """Programs, files, throughput."""
    async with _Supply() as (supply, image):
        environment = await supply.open()
        found = await sandbox_latency.latencies(environment, image, count)
        cpu = await sandbox_latency.processor_ms(environment, RUN, count)
        await environment.close()
        ours, same, bare = await sandbox_latency.throughput(supply)
    engine = sandbox_peers.docker_exec(image, count)
    return {
        "exec_ms": found["exec"],
        "exec_over_host_fork": found["exec"] / found["host_fork"],
        "exec_over_host_python": found["exec"] / found["host_python"],
        "exec_over_docker_exec": found["exec"] / found["docker_exec"],
        "exec_cpu_ms": cpu,
        "exec_cpu_over_docker_exec": cpu / engine["cpu_ms"],
        "exec_per_s": ours,
        "exec_per_s_over_same_server": ours / same,
        "exec_per_s_over_host_fork": ours / bare,
        "fresh_over_host_python": found["fresh"] / found["host_python"],
        "host_fork_ms": found["host_fork"],
        "host_python_ms": found["host_python"],
        "docker_exec_ms": found["docker_exec"],
        "docker_exec_cpu_ms": engine["cpu_ms"],
        "write_1kb_ms": found["write_1kb"],
        "read_1kb_ms": found["read_1kb"],
    }


async def forks(count: int) -> Figures:
    """Forks of files."""
    async with _Supply() as (supply, image):
        found = await sandbox_forks.measure(supply, image, count)
    return {**found, "fork_100mb_over_commit": found["fork_100mb_ms"] / found["commit_100mb_ms"]}


async def judge(count: int) -> Figures:
    """Verdicts."""
    async with _Supply() as (supply, _):
        found = await sandbox_judge.measure(supply, count)
    return {**found, "judge_split_over_in_process": found["judge_split_ms"] / found["judge_in_process_ms"]}


async def search(count: int) -> Figures:
    """A whole search, of five nodes for each time that other things are measured."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return {**await sandbox_search.measure(count * 5, Path(folder))}


async def share(count: int) -> Figures:
    """Sixty-four searches at once."""
    found = await fairness.measure(seconds=20.0 if count >= 100 else 5.0)
    return {f"fair_{name}": value for name, value in found.items()}


async def peers(count: int) -> Figures:
    """Other sandboxes."""
    async with _Supply() as (_, image):
        found = await sandbox_peers.measure(image, count)
    figures: Figures = {}
    for peer, values in found.items():
        name = peer.replace("-", "_")
        if values is None:
            figures[name] = f"not installed: {sandbox_peers.INSTALL}"
        else:
            figures |= {f"{name}_{key}": value for key, value in values.items()}
    return figures


async def forged(_count: int) -> Figures:
    """Forged verdicts, at the levels that promise that there are none."""
    found: list[int] = []
    for spec in (ROOMY, Local()):
        async with _Supply(spec) as (supply, _):
            tallies = await forgeries.judge_all(supply, ["host-io", "split"])
        found.append(sum(len(tally.forged) for tally in tallies.values()))
    return {"forged": found[0], "forgeries": len(forgeries.corpus()), "forged_without_engine": found[1]}


async def escaped(_count: int) -> Figures:
    """Hostile programs."""
    found = {kind: await abuses.count(kind) for kind in ("docker", "local")}
    return {
        "escaped": found["docker"][0],
        "abuses": found["docker"][1],
        "escaped_without_engine": found["local"][0],
    }


PARTS: dict[str, Callable[[int], Awaitable[Figures]]] = {
    "latency": latency,
    "forks": forks,
    "judge": judge,
    "search": search,
    "fairness": share,
    "peers": peers,
    "forgeries": forged,
    "abuses": escaped,
}


class _Supply:
    """Sandboxes, roomy ones unless told otherwise, and the name of the image that those of the engine are made of."""

    def __init__(self, spec: Docker | Local = ROOMY) -> None:
        self._spec = spec
        self._folder = tempfile.TemporaryDirectory(prefix="bench-")
        self._supply: Sandboxes | None = None

    async def __aenter__(self) -> tuple[Sandboxes, str]:
        self._supply = await self._spec.start(RUN, Path(self._folder.name))
        return self._supply, sandbox_peers.with_image(str)

    async def __aexit__(self, *_: object) -> None:
        assert self._supply is not None  # it was entered
        await self._supply.aclose()
        self._folder.cleanup()


async def measure(parts: Sequence[str], count: int, console: Console) -> Figures:
    """Measure the parts, one after the other."""
    figures: Figures = {}
    for part in parts:
        console.print(f"{part} ...", style="dim")
        found = await PARTS[part](count)
        figures |= {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}
    return figures


def table(figures: Figures) -> Table:
    """The figures for people."""
    view = Table(title="sandboxes")
    for heading in ("", "measured", "goal"):
        view.add_column(heading, justify="left" if not heading else "right")
    for name, value in figures.items():
        sign, goal = GOALS.get(name, ("", 0.0))
        met = not sign or (value <= goal if sign == "<=" else value >= goal)
        view.add_row(
            name.replace("_", " "), f"{value}", f"{sign} {goal:.3g}" if sign else "", style=None if met else "red"
        )
    return view


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--count", type=int, default=100, help="how often each thing is measured")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--quick", action="store_true", help="measure a few times only")
    given = parser.parse_args()
    figures = asyncio.run(measure(given.only, 6 if given.quick else given.count, Console(stderr=True)))
    if given.json:
        print(json.dumps(figures))
    else:
        Console().print(table(figures))


if __name__ == "__main__":
    main()
