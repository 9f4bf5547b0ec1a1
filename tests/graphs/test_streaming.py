"""The stream of events: readers may be slow, and may leave."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import branchwise as bw
from branchwise.core.events import Event, Expanded
from branchwise.core.testing import ScriptedModel
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Result, Step, Task, WorkId
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.streaming import streamed


def ended(tree: Tree) -> Result:
    """A result of a run that did nothing else."""
    return Result(None, False, True, None, "", (), "exhausted", "", tree.usage, 0.0, None, tree, "run")


async def test_a_reader_who_never_reads_costs_a_few_bytes_per_event() -> None:
    """What waits is what the tree has anyway: the queue adds no copies. All of it comes, in order, once it is read."""
    count, tree, done = 20_000, Tree(Node(ROOT, None, None)), asyncio.Event()
    events: list[Event] = [
        Expanded(WorkId(n), Node(NodeId(n), ROOT, Step("thought", f"{n} " + "x" * 200), None, 1))
        for n in range(1, count + 1)
    ]
    for event in events:
        tree.apply(event)
    waiting: list[int] = []

    async def begin(listener: Callable[..., None], started: Callable[[Any], None]) -> Result:
        tracemalloc.start()
        for event in events:
            listener("", [event], tree)
        waiting.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        done.set()
        return ended(tree)

    async with aclosing(streamed(begin)) as stream:
        first = await anext(stream)
        await done.wait()
        rest = [item async for item in stream]
    assert [first, *rest[:-1]] == events
    assert isinstance(rest[-1], Result)
    assert waiting[0] / count < 32


async def test_a_slow_reader_does_not_slow_the_run(tmp_path: Path) -> None:
    """The run has come to its end while the reader still looks at the first event; leaving after that changes nothing."""
    answer = json.dumps({"thought": "", "tool": "answer", "args": {"text": "x"}})
    agent = bw.Agent(
        name="a", model=ScriptedModel(lambda _: answer, native_tools=False), search=bw.search.BestOfN(n=20)
    )
    runner = LocalRunner(RunStore(tmp_path))
    async with aclosing(runner.stream(agent, Task(prompt="t"), bw.Budget(), seed=1)) as stream:
        await anext(stream)
        [run] = runner.store.runs()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=60)
    assert run.load().status == "exhausted"
    assert run.load().summary["nodes"] == 20
