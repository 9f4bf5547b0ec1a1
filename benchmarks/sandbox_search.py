"""A whole search that forks its sandboxes at every node: how much of its work is spent on sandboxes?

An agent edits one of the demonstration's repositories and runs a small program there, at every node; its model answers
after 200 ms. What the operations on sandboxes take (bringing a state back, files, keeping a state, starting and ending
programs beyond the programs' own time, giving sandboxes back) is measured from outside, by a layer in between.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import branchwise as bw
from branchwise.core.protocols import Candidate
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ExecResult, ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore

REPOSITORIES = Path(__file__).parents[1] / "examples" / "repos"
MODEL_SECONDS = 0.2
SLOTS = 2
"""As many as the machine has processors: more would wait for these, and that is not what is measured."""
CHECK = "import pathlib\nfor path in pathlib.Path().rglob('*.py'): compile(path.read_text(), str(path), 'exec')"
TIMED = frozenset(["open", "exec", "read", "write", "remove", "list", "snapshot", "restore", "fork", "close"])


@dataclass
class Clock:
    """Where the time of a search went."""

    operations_seconds: float = 0.0
    """Of sandbox operations, waits for a sandbox included."""
    programs_seconds: float = 0.0
    """Of the programs themselves."""

    async def time(self, work: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
        """Do it, and book the time."""
        begun = time.perf_counter()
        done: Any = None
        try:
            done = await work(*arguments, **named)
        finally:
            own = done.seconds if isinstance(done, ExecResult) else 0.0
            self.programs_seconds += own
            self.operations_seconds += time.perf_counter() - begun - own
        return done


class Layer:
    """Lets everything through, and times the operations."""

    def __init__(self, inner: Any, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name not in TIMED:
            return inner

        async def timed(*arguments: Any, **named: Any) -> Any:
            done = await self._clock.time(inner, *arguments, **named)
            return Layer(done, self._clock) if name in {"open", "fork"} else done

        return timed


@dataclass(frozen=True)
class Timed:
    """Sandboxes whose operations are timed."""

    spec: bw.sandboxes.Docker
    clock: Clock = field(default_factory=Clock)

    async def start(self, run_id: str, store: Path) -> Any:
        """Start them."""
        return Layer(await self.spec.start(run_id, store), self.clock)


@bw.tool(effects="sandbox", timeout=60)
async def note(ctx: bw.Context, text: str) -> str:  # noqa: D417 - the model is told this, not `ctx`
    """Write a note beside the program, and look whether the program compiles.

    Args:
        text: what to write.
    """
    await ctx.sandbox.write("NOTES.md", text.encode())
    return (await ctx.sandbox.exec(bw.Python(CHECK))).stdout


@bw.verifier(semantics="value", scope="state")
def likes(candidate: Candidate) -> float:
    """Like some nodes better than others, without a sandbox."""
    return int(str(candidate.node.id)) * 2654435761 % 1000 / 1000


def reply(request: ModelRequest) -> str:
    """What the model says: a note that no other node has."""
    return json.dumps({"thought": "so", "tool": "note", "args": {"text": f"note {request.sampling.seed}"}})


async def search(repository: Path, nodes: int, folder: Path) -> tuple[Clock, int, float]:
    """Search one repository; return the clock, the number of model calls and the seconds that it took."""
    model = ScriptedModel(reply, slots=SLOTS, native_tools=False, latency_seconds=lambda _request: MODEL_SECONDS)
    sandboxes = Timed(bw.sandboxes.Docker())
    agent = bw.Agent(
        name="noter",
        model=model,
        tools=[note],
        verifiers=[likes],
        search=bw.search.BestFirst(width=4, depth=12),
        sandbox=sandboxes,
        context="none",
    )
    begun = time.perf_counter()
    task = Task(prompt="Take notes.", inputs={"files": str(repository)})
    result = await LocalRunner(RunStore(folder)).run(agent, task, bw.Budget(nodes=nodes), seed=1)
    assert result.usage.nodes == nodes, result.stop_detail
    return sandboxes.clock, len(model.requests), time.perf_counter() - begun


async def measure(nodes: int, folder: Path) -> dict[str, float]:
    """Search the repositories with `nodes` nodes in all; return the share of the work that went into sandboxes."""
    repositories = sorted(path for path in REPOSITORIES.iterdir() if path.is_dir())[:5]
    total, calls, seconds = Clock(), 0, 0.0
    for number, repository in enumerate(repositories):
        clock, made, took = await search(repository, nodes // len(repositories), folder / str(number))
        total.operations_seconds += clock.operations_seconds
        total.programs_seconds += clock.programs_seconds
        calls += made
        seconds += took
    work = total.operations_seconds + total.programs_seconds + calls * MODEL_SECONDS
    return {
        "search_sandbox_share": total.operations_seconds / work,
        "search_sandbox_ms_per_node": total.operations_seconds / nodes * 1000,
        "search_wall_s": seconds,
    }


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        print(json.dumps(asyncio.run(measure(100, Path(home)))))
