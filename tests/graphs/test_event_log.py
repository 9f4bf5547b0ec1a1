"""Events as lines of JSON: complete, in order, and never in the way of the search."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from branchwise.core.budget import Ledger
from branchwise.core.events import Event, decode
from branchwise.core.simulated.steps import SimulatedBench, StepTree, noise_judge
from branchwise.core.tree import Tree
from branchwise.core.types import Budget
from branchwise.graphs.event_log import EventLog
from branchwise.graphs.machine import run_search, search_graph
from branchwise.graphs.search import Search
from branchwise.search import BestFirst

WORLD = StepTree(branching=4, depth=1000)


class Gate(io.StringIO):
    """A stream whose reader takes nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text: str, /) -> int:
        self.let_go.wait()
        return super().write(text)


class Gone(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text: str, /) -> int:
        raise BrokenPipeError


async def search(log: EventLog, path: str = "") -> tuple[Tree, list[Event]]:
    """Search a simulated world; return the tree and what its listener was told."""
    ledger, told = Ledger(Budget(nodes=30)), list[Event]()

    def listen(events: Sequence[Event], tree: Tree) -> None:
        told.extend(events)
        log(path, events, tree)

    machine = Search(
        BestFirst().fresh(1),
        SimulatedBench(WORLD, ledger, judge=noise_judge, seed=1),
        ledger,
        WORLD.root(),
        4,
        listener=listen,
    )
    return await run_search(machine, search_graph().compile(), "run"), told


async def test_a_slow_reader_gets_everything_and_slows_nothing() -> None:
    """The search ends while not a line was taken; then all of them come, in order, as the journal has them."""
    stream = Gate()
    with EventLog(stream) as log:
        tree, told = await search(log, "inner")
        assert tree.stopped is not None
        assert stream.getvalue() == ""
        log.add({"result": 1})
        stream.let_go.set()
    *lines, last = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert decode(json.dumps([line["event"] for line in lines])) == told
    assert {line["search"] for line in lines} == {"inner"}
    assert sorted(line["time"] for line in lines) == [line["time"] for line in lines]
    assert last == {"result": 1}


async def test_a_reader_who_leaves_is_no_trouble() -> None:
    """The run goes on to its end without one."""
    with EventLog(Gone()) as log:
        tree, told = await search(log)
    assert tree.stopped is not None
    assert len(told) > 60


AGENT = """
import json
import branchwise as bw
from branchwise.core.testing import ScriptedModel

model = ScriptedModel(lambda _: json.dumps({"thought": "", "tool": "add", "args": {"a": 1}}), native_tools=False)

@bw.tool(effects="pure")
def add(a: int) -> int:
    '''Add.'''
    return a

adder = bw.Agent(name="adder", model=model, tools=[add], search=bw.search.BestOfN(n=30, depth=3))
"""


def test_the_command_line_logs_and_does_not_mind_a_reader_who_leaves(tmp_path: Path) -> None:
    """`--json | head -1` ends like the run itself and without complaint; `--log` has all events meanwhile."""
    (tmp_path / "agents.py").write_text(AGENT)
    command = [sys.executable, "-m", "branchwise.cli", "run", "agents.py:adder", "add", "--json", "--log", "events.log"]
    env = {**os.environ, "BRANCHWISE_HOME": str(tmp_path / "home")}
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["event"][0] == "WorkStarted"
        process.stdout.close()
        complaints = process.stderr.read()
    assert process.returncode == 3, complaints
    assert "roken" not in complaints
    lines = [json.loads(line) for line in (tmp_path / "events.log").read_text().splitlines()]
    kinds = [line["event"][0] for line in lines]
    (record,) = (tmp_path / "home" / "runs").glob("*/run.json")
    assert kinds.count("Expanded") == json.loads(record.read_text())["summary"]["nodes"] >= 60
    assert kinds[-1] == "Stopped"
