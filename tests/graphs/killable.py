"""A search in a process of its own, for the tests to kill. Run by `runpy` with `folder` and `options` as globals."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from pathlib import Path
from typing import Any

from branchwise.core.budget import Ledger
from branchwise.core.errors import BranchwiseError
from branchwise.core.events import Expand, Score
from branchwise.core.simulated.steps import SimulatedBench, StepTree, noise_judge
from branchwise.core.tree import Tree
from branchwise.core.types import Budget, Usage
from branchwise.graphs.journal import Run
from branchwise.graphs.machine import run_search, search_graph
from branchwise.graphs.search import Search
from branchwise.search import BestFirst

WORLD = StepTree(branching=4, depth=1000)


def summary(tree: Tree) -> dict[str, Any]:
    """What a run came to."""
    return {
        "nodes": [[node.id, node.parent, node.env_ref, tree.value(node.id), tree.status(node.id)] for node in tree],
        "selected": tree.selected,
        "reason": tree.stopped.reason if tree.stopped else None,
        "usage": tree.usage.to_json(),
    }


async def search(
    folder: Path, *, nodes: int, slots: int = 4, work_seconds: float = 0.0, journal: str | None = None
) -> Tree:
    """Begin a run, or go on with it; note every work item that was done in `executions`.

    Args:
        folder: of the run.
        nodes: the budget.
        slots: expansions in flight.
        work_seconds: how long a work item takes.
        journal: folder of the journal, if it is another one.
    """
    ledger = Ledger(Budget(nodes=nodes))
    with (folder / "executions").open("a", buffering=1) as executions:

        async def note(work: Expand | Score) -> None:
            # Blocking on purpose: what ends first must not depend on the clock, for trees are compared.
            time.sleep(work_seconds)  # noqa: ASYNC251
            executions.write(f"{work.id}\n")

        machine = Search(
            BestFirst(depth=1000).fresh(1),
            SimulatedBench(WORLD, ledger, judge=noise_judge, seed=1, pause=note),
            ledger,
            WORLD.root(),
            slots,
            replayed=lambda tree: ledger.charge(Usage(nodes=len(tree) - 1)),
        )
        async with Run(Path(journal or folder)).saver() as saver:
            return await run_search(machine, search_graph().compile(checkpointer=saver), "run")


def main(folder: Path, *, file_limit_bytes: int | None = None, **options: Any) -> None:
    """Run and leave `result.json`, or `error.json` where the run ended with one of our errors."""
    if file_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, resource.RLIM_INFINITY))
    try:
        result = summary(asyncio.run(search(folder, **options)))
    except BranchwiseError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / "error.json").write_text(json.dumps([type(error).__name__, str(error)]))
    else:
        (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__killable__":
    main(Path(folder), **options)  # type: ignore[name-defined]  # noqa: F821 - given by the test
