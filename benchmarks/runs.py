# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Many whole runs in one process: what each costs, what a child that goes wrong costs its parent, and whether anything stays behind.

- *At once*: all runs begin together, each with a journal and a log of calls of its own, and a model that replies at once. Beside them
  LangGraph alone: as many graphs, each of one node that does nothing, that take as many super-steps into as many databases.
- *Children*: a parent spawns 32 searches of which one crashes, hangs or floods, and joins them all.
- *Leaks*: runs one batch after the other; tasks, threads, open files, sockets, child processes and containers before and after.

Every part runs in a process of its own.

    python benchmarks/runs.py [--json] [--runs 1000] [--nodes 10] [--sandboxed 20]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict

import psutil
from rich.console import Console
from rich.table import Table

import branchwise as bw
from branchwise.core.protocols import Meter
from branchwise.core.types import ModelRequest, ModelResponse, Task, Usage
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.stored import usage

BATCH = 50
"""Runs at once where leaks are looked for."""
CHILDREN = 32
HANG_SECONDS = 2.0
"""Time that a child is given; one that hangs takes all of it."""
FLOOD_CHARS = 1_000_000

Figures = dict[str, Any]


class Instant:
    """A model that replies at once: some calls of a tool, then an answer.

    Args:
        nodes: turns of a trajectory.
    """

    name = "none:instant"
    slots = 8
    native_tools = False

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Reply."""
        turns = sum(message.role == "assistant" for message in request.messages)
        reply = {"thought": "", "tool": "look", "args": {"at": turns}}
        if turns + 1 >= self.nodes:
            reply = {"thought": "", "tool": "answer", "args": {"text": "done"}}
        meter.prompt_tokens, meter.completion_tokens, meter.finished = 10, 10, True
        await asyncio.sleep(0)
        return ModelResponse(json.dumps(reply), Usage(prompt_tokens=10, completion_tokens=10, calls=1))

    async def prompt_tokens(self, request: ModelRequest) -> int:  # noqa: ARG002 - the protocol's
        """Say how long a prompt is."""
        return 10

    def price(self, usage: Usage) -> float:  # noqa: ARG002 - the protocol's
        """Cost nothing."""
        return 0.0

    async def aclose(self) -> None:
        """Hold nothing."""


@bw.tool(effects="pure")
def look(at: int) -> str:
    """Look at something."""
    return f"seen {at}"


def worker(nodes: int, **changes: Any) -> bw.Agent:
    """An agent whose run has so many nodes."""
    options: dict[str, Any] = {"name": "worker", "model": Instant(nodes), "tools": [look], **changes}
    return bw.Agent(**options)


# --- at once ----------------------------------------------------------------------------------------------------------


def measured_at_once(folder: Path, runs: int, nodes: int) -> Figures:
    """All runs begin together. The first few, alone, pay for what is loaded once."""
    runner = LocalRunner(RunStore(folder / "runs"))
    agent = worker(nodes)

    async def all_of(count: int) -> list[bw.Result]:
        tasks = [runner.run(agent, Task(prompt=f"task {n}"), bw.Budget(tokens=10**6), seed=n) for n in range(count)]
        return await asyncio.gather(*tasks)

    asyncio.run(all_of(5))
    gc.collect()
    watch = Watch(runs)
    results = asyncio.run(all_of(runs))
    figures = watch.figures(runs, runs * nodes)
    assert all(result.answer == "done" and len(result.tree) == nodes + 1 for result in results)
    steps = sum(_steps(run.folder / "journal.sqlite") for run in runner.store.runs()[-runs:])
    return {**figures, "super_steps": steps / runs, "steps_per_second": steps / figures["seconds"]}


class State(TypedDict):
    """What the bare graph counts; LangGraph looks its types up in the module."""

    step: int


def measured_bare(folder: Path, runs: int, steps: int, nodes: int) -> Figures:
    """LangGraph alone: as many graphs, super-steps and databases."""
    from langgraph.graph import END, START, StateGraph

    from branchwise.graphs.journal import Run
    from branchwise.graphs.open_files import room_for_a_run

    async def node(state: State) -> State:
        return {"step": state["step"] + 1}

    async def where_next(state: State) -> str:
        return "node" if state["step"] < steps else END

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges("node", where_next, ["node", END])

    async def one(number: int) -> int:
        place = folder / str(number)
        place.mkdir()
        with room_for_a_run():
            return await counted(place)

    async def counted(place: Path) -> int:
        async with Run(place).saver() as saver:
            config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 10**6}
            compiled = graph.compile(checkpointer=saver)
            return (await compiled.ainvoke({"step": 0}, config, durability="sync"))["step"]

    async def all_of(first: int, count: int) -> list[int]:
        return await asyncio.gather(*(one(first + n) for n in range(count)))

    asyncio.run(all_of(0, 5))
    gc.collect()
    watch = Watch(runs)
    assert asyncio.run(all_of(5, runs)) == [steps] * runs
    figures = watch.figures(runs, runs * nodes)
    return {**figures, "super_steps": steps, "steps_per_second": steps * runs / figures["seconds"]}


class Watch:
    """CPU time, memory and open files from its making on, the largest seen.

    Args:
        runs: how many there are. To count the files of thousands takes milliseconds, so that is done once a second for a thousand.
    """

    def __init__(self, runs: int) -> None:
        self._every_seconds = runs / 1000
        self._process = psutil.Process()
        self._base_bytes = self._process.memory_info().rss
        self._base_files = self._process.num_fds()
        self._most_bytes, self._most_files = self._base_bytes, self._base_files
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(self._every_seconds):
            self._most_bytes = max(self._most_bytes, self._process.memory_info().rss)
            self._most_files = max(self._most_files, self._process.num_fds())

    def figures(self, runs: int, nodes: int) -> Figures:
        """Stop, and say what it came to."""
        cpu, seconds = time.process_time() - self._cpu, time.perf_counter() - self._wall
        self._ended.set()
        self._thread.join()
        return {
            "runs": runs,
            "seconds": seconds,
            "cpu_ms_per_node": 1000 * cpu / nodes,
            "cpu_ms_per_run": 1000 * cpu / runs,
            "kib_per_run": (self._most_bytes - self._base_bytes) / runs / 1024,
            "files_per_run": (self._most_files - self._base_files) / runs,
        }


def _steps(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        [(count,)] = db.execute("SELECT COUNT(*) FROM checkpoints")
    return int(count)


# --- children that go wrong ---------------------------------------------------------------------------------------------


async def parent_of_many(runner: LocalRunner, trouble: str) -> Figures:
    """A parent with 32 children of which one is trouble."""
    joined: list[bw.Conclusion] = []

    @bw.tool(effects="pure", timeout=60)
    async def ask_around(ctx: bw.Context) -> str:
        """Ask everybody."""
        async with ctx.group(budget=bw.Budget(tokens=2_000, seconds=HANG_SECONDS)) as group:
            for number in range(CHILDREN):
                wrong = number == CHILDREN // 2 and trouble != "none"
                group.spawn(_troubled(trouble) if wrong else worker(3), f"look {number}")
            joined.extend(await group.join())
        return f"{sum(c.valid for c in joined)} answered"

    class Asks(Instant):
        async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
            turns = sum(message.role == "assistant" for message in request.messages)
            said = ("ask_around", {}) if turns == 0 else ("answer", {"text": request.messages[-1].content})
            reply = await super().generate(request, meter)
            return ModelResponse(json.dumps({"thought": "", "tool": said[0], "args": said[1]}), reply.usage)

    agent = bw.Agent(name="parent", model=Asks(2), tools=[ask_around])
    began = time.perf_counter()
    result = await runner.run(agent, Task(prompt="ask"), bw.Budget(tokens=100_000, seconds=60), seed=1)
    seconds = time.perf_counter() - began
    bad = next(c for c in joined if c.task == f"look {CHILDREN // 2}")
    return {
        "trouble": trouble,
        "answered": sum(c.valid for c in joined),
        "said": result.answer,
        "seconds": seconds,
        "of_the_one": bad.reason[:80],
        "adds_up": adds_up(runner, result),
    }


def _troubled(trouble: str) -> bw.Agent:
    class Trouble(Instant):
        async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
            if trouble == "crashes":
                raise RuntimeError("out of order")
            if trouble == "hangs":
                await asyncio.Event().wait()
            reply = await super().generate(request, meter)
            text = json.dumps({"thought": "x" * FLOOD_CHARS, "tool": "look", "args": {"at": len(request.messages)}})
            return ModelResponse(text, reply.usage)

    return worker(10**6, model=Trouble(10**6), search=bw.search.BestOfN(n=1, depth=10**6))


def adds_up(runner: LocalRunner, result: bw.Result) -> bool:
    """Whether a run has spent what its calls and its journals say, and no limit was overshot."""
    run = runner.store.open(result.run_id)
    with closing(sqlite3.connect(run.folder / "journal.sqlite")) as db:
        elsewhere = sum(usage(db, result.run_id).values(), Usage())
    with closing(sqlite3.connect(run.calls_path)) as db:
        rows = [json.loads(row) for (row,) in db.execute("SELECT usage FROM spending")]
    calls = sum((Usage(**row) for row in rows), Usage())
    return result.usage == calls + elsewhere


def measured_children(folder: Path) -> Figures:
    """Each kind of trouble, beside none."""
    runner = LocalRunner(RunStore(folder))
    kinds = ("none", "crashes", "hangs", "floods")
    return {"children": [asyncio.run(parent_of_many(runner, kind)) for kind in kinds]}


# --- what stays behind ----------------------------------------------------------------------------------------------------


def _counts() -> dict[str, int]:
    process = psutil.Process()
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()) - 1,
        "threads": process.num_threads(),
        "files": process.num_fds(),
        "sockets": len(process.net_connections(kind="all")),
        "processes": len(process.children(recursive=True)),
        "containers": _containers(),
    }


def _containers() -> int:
    """Containers of this process's own; others may come and go meanwhile."""
    from branchwise.core.errors import SandboxStartFailed
    from branchwise.sandboxes.docker_engine import DockerEngine
    from branchwise.sandboxes.inventory import objects

    try:
        with closing(DockerEngine.connect()) as engine:
            ours = {run.folder.name for run in RunStore().runs()}
            return sum(thing.kind == "container" and thing.run in ours for thing in objects(engine))
    except SandboxStartFailed:
        return 0


def measured_leaks(runs: int, nodes: int, sandboxed: int) -> Figures:
    """Runs in batches, the last ones with sandboxes."""

    async def work() -> Figures:
        runner = LocalRunner()
        wrong = 0

        async def batch(count: int, **changes: Any) -> None:
            nonlocal wrong
            agent = worker(nodes, **changes)
            tasks = [runner.run(agent, Task(prompt=f"task {n}"), bw.Budget(tokens=10**6), seed=n) for n in range(count)]
            results = await asyncio.gather(*tasks)
            wrong += sum(result.answer != "done" or not adds_up(runner, result) for result in results)

        boxes = {"sandbox": bw.sandboxes.Auto(), "tools": [bw.tools.shell, look]}
        await batch(2)
        if sandboxed:
            await batch(1, **boxes)
        # Threads of asyncio's own pool come as they are needed, up to a bound, and stay: they are no leak.
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.05) for _ in range(64)))
        before = _counts()
        size = min(BATCH, runs)
        for _ in range(runs // size):
            await batch(size)
        for _ in range(sandboxed // 4):
            await batch(4, **boxes)
        await asyncio.sleep(0)
        return {
            "runs": runs // size * size + sandboxed // 4 * 4,
            "before": before,
            "after": _counts(),
            "wrong": wrong,
        }

    return asyncio.run(work())


# --- the report -----------------------------------------------------------------------------------------------------------


def in_its_own_process(part: str, **options: Any) -> Figures:
    """Run a part in a fresh process, in a folder that is gone after it."""
    with tempfile.TemporaryDirectory(prefix="branchwise-runs-") as folder:
        line = [sys.executable, __file__, "--part", part, "--folder", folder]
        line += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        env = {**os.environ, "BRANCHWISE_HOME": str(Path(folder) / "home")}
        done = subprocess.run(line, env=env, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--sandboxed", type=int, default=20, help="runs with a sandbox where leaks are looked for")
    parser.add_argument("--steps", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    parts: dict[str, Any] = {
        "at_once": lambda: measured_at_once(given.folder, given.runs, given.nodes),
        "bare": lambda: measured_bare(given.folder, given.runs, given.steps, given.nodes),
        "children": lambda: measured_children(given.folder),
        "leaks": lambda: measured_leaks(given.runs, given.nodes, given.sandboxed),
    }
    if given.part:
        print(json.dumps(parts[given.part]()))
        return
    ours = in_its_own_process("at_once", runs=given.runs, nodes=given.nodes)
    bare = in_its_own_process("bare", runs=given.runs, nodes=given.nodes, steps=round(ours["super_steps"]))
    children = in_its_own_process("children")["children"]
    leaks = in_its_own_process("leaks", runs=given.runs, nodes=given.nodes, sandboxed=given.sandboxed)
    if given.json:
        print(json.dumps({"at_once": ours, "bare": bare, "children": children, "leaks": leaks}))
    else:
        show(ours, bare, children, leaks)


def show(ours: Figures, bare: Figures, children: list[Figures], leaks: Figures) -> None:
    """Print tables."""
    console = Console()
    table = Table("", "Branchwise", "LangGraph alone", title=f"{ours['runs']} runs at once", box=None)
    for name, words in {
        "super_steps": "super-steps per run",
        "seconds": "seconds, all together",
        "cpu_ms_per_run": "CPU per run, ms",
        "cpu_ms_per_node": "CPU per node, ms",
        "steps_per_second": "super-steps into databases per second",
        "kib_per_run": "memory per run, KiB",
        "files_per_run": "open files per run",
    }.items():
        table.add_row(words, f"{ours[name]:,.2f}", f"{bare[name]:,.2f}")
    console.print(table)
    table = Table("one child", "answered", "seconds", "budget adds up", "what is said of it", box=None)
    for row in children:
        table.add_row(row["trouble"], f"{row['answered']} of {CHILDREN}", f"{row['seconds']:.2f}",
                      "yes" if row["adds_up"] else "NO", row["of_the_one"])  # fmt: skip
    console.print(table)
    table = Table(f"{leaks['runs']} runs", "before", "after", box=None)
    for name, count in leaks["before"].items():
        table.add_row(name, str(count), str(leaks["after"][name]))
    table.add_row("runs whose budget does not add up", "", str(leaks["wrong"]))
    console.print(table)


if __name__ == "__main__":
    main()
