# The peers' signatures are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What the search machine itself costs: CPU time per node, memory and journal, with work that does nothing.

Every figure comes from a process of its own. Beside ours: a bare LangGraph loop (what one super-step costs, with and
without a SQLite saver) and treequest's StandardMCTS in place, on the same machine in the same run.

    python benchmarks/machine.py [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypedDict

import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

SLOTS = 16
WARM_UP_NODES = 200
PEER_LIMIT_SECONDS = 120.0
"""A peer's figure that would take longer is left out."""

Figures = dict[str, float]


# --- ours -------------------------------------------------------------------------------------------------------------


async def search(nodes: int, folder: Path | None) -> Any:
    """Run a best-first search of `nodes` nodes whose work is done at once; return the machine, its tree still in memory."""
    from branchwise.core.budget import Bill, Ledger
    from branchwise.core.events import Expand, Score
    from branchwise.core.tree import Tree
    from branchwise.core.types import ROOT, Budget, Node, NodeId, Step, Usage, Verdict
    from branchwise.graphs.journal import Run
    from branchwise.graphs.machine import run_search, search_graph
    from branchwise.graphs.search import Search
    from branchwise.search import BestFirst

    ledger = Ledger(Budget(nodes=nodes))

    class Idle:
        async def expand(self, work: Expand, tree: Tree, bill: Bill) -> Node:  # noqa: ARG002 - the protocol's
            parent = tree[work.node]
            with await ledger.reserve(Usage(nodes=1)) as held:
                held.actual = Usage(nodes=1)
            return Node(NodeId(work.id), parent.id, Step("thought", ""), None, parent.depth + 1, held.actual)

        async def score(self, work: Score, tree: Tree, bill: Bill) -> tuple[Verdict, ...]:  # noqa: ARG002
            return (Verdict((work.node * 2654435761 % 1000) / 1000, "value", "idle"),)

    machine = Search(BestFirst(depth=50).fresh(1), Idle(), ledger, Node(ROOT, None, None), SLOTS)
    async with AsyncExitStack() as stack:
        saver = await stack.enter_async_context(Run(folder).saver()) if folder is not None else None
        await run_search(machine, search_graph().compile(checkpointer=saver), "run")
    assert len(machine.tree) == nodes + 1
    return machine


def measure_ours(nodes: int, folder: Path | None) -> Figures:
    """CPU time per node; growth of memory per node; bytes of the journal per node."""
    if folder is not None:
        (folder / "warm").mkdir()
    asyncio.run(search(WARM_UP_NODES, folder / "warm" if folder is not None else None))
    gc.collect()
    base_bytes = psutil.Process().memory_info().rss
    began = time.process_time()
    machine = asyncio.run(search(nodes, folder))
    figures = {"us": (time.process_time() - began) / nodes * 1e6}
    gc.collect()
    figures["rss_mb"] = (psutil.Process().memory_info().rss - base_bytes) / 1e6
    assert len(machine.tree) == nodes + 1
    if folder is not None:
        figures["journal_bytes"] = sum(file.stat().st_size for file in folder.glob("journal.sqlite*")) / nodes
    return figures


# --- peers ------------------------------------------------------------------------------------------------------------


class Counter(TypedDict):
    """State of the bare loop."""

    count: int


def measure_langgraph(steps: int, folder: Path | None) -> Figures:
    """CPU time per super-step of a graph whose one node does nothing but count."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import END, START, StateGraph

    async def count(state: Counter) -> Counter:
        return {"count": state["count"] + 1}

    def again(state: Counter) -> str:
        return END if state["count"] >= steps else "count"

    graph = StateGraph(Counter)
    graph.add_node("count", count)
    graph.add_edge(START, "count")
    graph.add_conditional_edges("count", again, ["count", END])

    async def run() -> None:
        config: Any = {"configurable": {"thread_id": "run"}, "recursion_limit": steps + 10}
        async with AsyncExitStack() as stack:
            saver = None
            if folder is not None:
                saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(folder / "peer.sqlite")))
            await graph.compile(checkpointer=saver).ainvoke({"count": 0}, config)

    began = time.process_time()
    asyncio.run(run())
    return {"us": (time.process_time() - began) / steps * 1e6}


def measure_treequest(nodes: int, _folder: Path | None) -> Figures:
    """CPU time per node of StandardMCTS, the state changed in place."""
    import treequest

    algorithm = treequest.StandardMCTS()
    state = algorithm.init_tree()
    values = iter(range(1, nodes + 1))

    def generate(_parent: str | None) -> tuple[str, float]:
        return "", next(values) * 2654435761 % 1000 / 1000

    began = time.process_time()
    for _ in range(nodes):
        state = algorithm.step(state, {"step": generate}, inplace=True)
        if time.process_time() - began > PEER_LIMIT_SECONDS:
            return {}
    return {"us": (time.process_time() - began) / nodes * 1e6}


# --- putting it together ----------------------------------------------------------------------------------------------

MEASURES: dict[str, Callable[[int, Path | None], Figures]] = {
    "ours": measure_ours,
    "langgraph": measure_langgraph,
    "treequest": measure_treequest,
}


def in_own_process(what: str, size: int, *, journal: bool, times: int) -> Figures:
    """Median figures of several fresh processes."""
    runs: list[Figures] = []
    for _ in range(times):
        command = [
            sys.executable,
            __file__,
            "--measure",
            what,
            "--size",
            str(size),
            *(["--journal"] if journal else []),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def collect(progress: Progress) -> dict[str, float | None]:
    """Run every measurement; return the benchmark's JSON object."""
    plan = [("ours", size, journal) for journal in (False, True) for size in (1_000, 10_000, 100_000)]
    plan += [("langgraph", 2_000, False), ("langgraph", 2_000, True), ("treequest", 1_000, False)]
    plan += [("treequest", 10_000, False)]
    bar = progress.add_task("measuring", total=len(plan))
    found: dict[tuple[str, int, bool], Figures] = {}
    for what, size, journal in plan:
        progress.update(bar, description=f"{what}, {size:,}{', journal' if journal else ''}")
        once = size >= 100_000 or (what == "treequest" and size >= 10_000)
        found[what, size, journal] = in_own_process(what, size, journal=journal, times=1 if once else 3)
        progress.advance(bar)
    ours = {
        f"us_per_node{'_journal' if journal else ''}_1e{len(str(size)) - 1}": round(
            found["ours", size, journal]["us"], 1
        )
        for journal in (False, True)
        for size in (1_000, 10_000, 100_000)
    }
    treequest_1e4 = found["treequest", 10_000, False].get("us")
    return {
        **ours,
        "rss_mb_1e5": round(found["ours", 100_000, False]["rss_mb"], 1),
        "rss_mb_journal_1e5": round(found["ours", 100_000, True]["rss_mb"], 1),
        "journal_bytes_per_node": round(found["ours", 100_000, True]["journal_bytes"], 1),
        "journal_bytes_per_node_1e3": round(found["ours", 1_000, True]["journal_bytes"], 1),
        "langgraph_us_per_step": round(found["langgraph", 2_000, False]["us"], 1),
        "langgraph_us_per_step_sqlite": round(found["langgraph", 2_000, True]["us"], 1),
        "treequest_us_per_node_1e3": round(found["treequest", 1_000, False]["us"], 1),
        "treequest_us_per_node_1e4": None if treequest_1e4 is None else round(treequest_1e4, 1),
    }


def table(result: dict[str, float | None]) -> Table:
    """The figures for people."""
    view = Table(title=f"The machine's own cost, {SLOTS} slots, work that does nothing")
    view.add_column("CPU per node, µs")
    for size in ("10³", "10⁴", "10⁵"):
        view.add_column(f"{size} nodes", justify="right")
    for name, key in (("without a journal", "us_per_node"), ("with the SQLite journal", "us_per_node_journal")):
        view.add_row(name, *(f"{result[f'{key}_1e{n}']:,.0f}" for n in (3, 4, 5)))
    peer = [result["treequest_us_per_node_1e3"], result["treequest_us_per_node_1e4"]]
    view.add_row("treequest StandardMCTS", *("> 120 s" if us is None else f"{us:,.0f}" for us in peer), "")
    step, sqlite = result["langgraph_us_per_step"], result["langgraph_us_per_step_sqlite"]
    view.caption = (
        f"memory beside the nodes' text: {result['rss_mb_1e5']:.0f} MB per 10⁵ nodes; "
        f"journal: {result['journal_bytes_per_node']:.0f} bytes per node; a bare LangGraph loop: {step:,.0f} µs per "
        f"super-step, {sqlite:,.0f} with its SQLite saver (one of ours takes in up to {2 * SLOTS} results)"
    )
    return view


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--journal", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(MEASURES[given.measure](given.size, Path(folder) if given.journal else None)))
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        result = collect(progress)
    if given.json:
        print(json.dumps(result))
    else:
        Console().print(table(result))


if __name__ == "__main__":
    main()
