"""How well a search keeps a model server's slots busy: the mean number of slots at work, as a share of them all.

A server in a process of its own takes lognormal times (median 50 ms, sigma 1) over its replies and serves 16 at once. A
best-first search goes through everything that a real run goes through: client, retries, accounts, ledger, machine,
journal. Beside it, through the same client, a level-synchronous beam search: all of a level's calls end before the next
level begins.

    python benchmarks/slots.py [--json] [--nodes N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import branchwise as bw
from branchwise.core.budget import Ledger
from branchwise.core.protocols import Meter
from branchwise.core.types import Budget, Message, ModelRequest, Sampling, Task, ToolCall
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models import connect
from branchwise.models.accounts import Accounted, CallLog
from branchwise.models.fake_server import Answer, FakeServer, Latency, Stats
from branchwise.models.retry import Retrying

SLOTS = 16
MEDIAN_SECONDS = 0.05
SIGMA = 1.0


def reply(body: Mapping[str, Any]) -> Answer:
    """What the server's model says: a note, so that the trajectory goes on."""
    return Answer(tool_calls=(ToolCall("call", "note", {"text": f"{random.Random(body['seed']).random():.6f}"}),))


@bw.tool(effects="pure")
def note(text: str) -> str:
    """Write something down.

    Args:
        text: what to write down.
    """
    return f"noted {text}"


@dataclass(frozen=True)
class Use:
    """How the slots were used by one client."""

    slots_in_use: float
    """Mean number of slots at work, from the first request to the last, by the number of slots."""
    wall_seconds: float
    """Of the whole run, its last calls included, as its caller sees it."""
    ideal_seconds: float
    """The time that the slots worked, by their number."""
    calls: int

    def to_json(self, prefix: str = "") -> dict[str, float]:
        """The figures by the names that the benchmark gives them."""
        return {
            f"{prefix}slots_in_use": round(self.slots_in_use, 4),
            f"{prefix}wall_s": round(self.wall_seconds, 3),
            f"{prefix}ideal_s": round(self.ideal_seconds, 3),
            f"{prefix}calls": self.calls,
        }


class SlotStats(Stats):
    """Counts how many slots are at work; requests in flight beyond the slots wait at the server."""

    def __init__(self) -> None:
        super().__init__()
        self.slot_seconds = 0.0
        """Of work so far."""
        self.changed = 0.0
        self.until_last_request = (0.0, 0.0)
        """Slot seconds and seconds from the first request to the last: then there was work enough for every slot."""

    def enter(self, key: str, now: float) -> None:
        """A request came."""
        self.count(now)
        super().enter(key, now)
        self.until_last_request = (self.slot_seconds, now - (self.first or now))

    def leave(self, now: float) -> None:
        """A request ended."""
        self.count(now)
        super().leave(now)

    def count(self, now: float) -> None:
        """Add the work since the last change."""
        self.slot_seconds += min(self.in_flight, SLOTS) * (now - self.changed)
        self.changed = now


async def serve() -> None:
    """Be the server until it is told to end, then say how the slots were used."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with FakeServer(reply, latency=Latency(MEDIAN_SECONDS, SIGMA), slots=SLOTS) as fake:
        fake.stats = stats = SlotStats()
        print(fake.base_url, flush=True)
        await ended.wait()
        print(json.dumps([*stats.until_last_request, stats.slot_seconds, stats.started.total()]))


async def use_of(client: Callable[[str], Awaitable[None]]) -> Use:
    """Let a client work on a fresh server, in a process of its own, and ask the server how it was used."""
    command = [sys.executable, __file__, "--serve"]
    server = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    base_url = (await server.stdout.readline()).decode().strip()
    began = time.perf_counter()
    try:
        await client(base_url)
    finally:
        wall_seconds = time.perf_counter() - began
        server.terminate()
        answer, _ = await server.communicate()
    busy_seconds, window_seconds, total_seconds, calls = json.loads(answer)
    return Use(busy_seconds / SLOTS / window_seconds, wall_seconds, total_seconds / SLOTS, calls)


async def best_first(base_url: str, nodes: int) -> None:
    """Run an agent that searches, journal and all."""
    model = await connect("openai:fake", base_url=base_url, api_key="none", slots=SLOTS, native_tools=True)
    agent = bw.Agent(name="noter", model=model, tools=[note], search=bw.search.BestFirst(width=4, depth=6))
    with tempfile.TemporaryDirectory() as folder:
        runner = LocalRunner(RunStore(Path(folder)))
        result = await runner.run(agent, Task(prompt="Take notes."), Budget(nodes=nodes), seed=1)
    await model.aclose()
    assert result.stop_detail == "the budget's nodes is spent", result.stop_detail


async def beam(base_url: str, calls: int) -> None:
    """Make the calls of a beam search: a level's calls at once, the next level when all of them have ended."""
    http = await connect("openai:fake", base_url=base_url, api_key="none", slots=SLOTS)
    with CallLog() as log:
        model = Retrying(Accounted(http, Ledger(Budget(calls=calls)), log))
        for level in range(calls // SLOTS):
            requests = [
                ModelRequest((Message("user", f"level {level}"),), Sampling(seed=level * SLOTS + number))
                for number in range(SLOTS)
            ]
            await asyncio.gather(*(model.generate(request, Meter()) for request in requests))
    await http.aclose()


async def measure(nodes: int) -> tuple[Use, Use]:
    """Both clients, one after the other."""
    return (
        await use_of(lambda base_url: best_first(base_url, nodes)),
        await use_of(lambda base_url: beam(base_url, max(SLOTS, nodes // 4))),
    )


def table(ours: Use, level: Use) -> Table:
    """The figures for people."""
    view = Table(title=f"{SLOTS} slots, replies after exp(N(ln {MEDIAN_SECONDS * 1000:.0f} ms, {SIGMA:g}))")
    for heading in ("", "slots in use", "wall", "ideal", "calls"):
        view.add_column(heading, justify="left" if not heading else "right")
    for name, use in (("best-first search", ours), ("level-synchronous beam", level)):
        view.add_row(
            name, f"{use.slots_in_use:.1%}", f"{use.wall_seconds:.2f} s", f"{use.ideal_seconds:.2f} s", f"{use.calls:,}"
        )
    return view


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--nodes", type=int, default=2400, help="nodes of the search; the beam makes a quarter as many calls"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
        return
    ours, level = asyncio.run(measure(given.nodes))
    if given.json:
        print(json.dumps(ours.to_json() | level.to_json("beam_")))
    else:
        Console().print(table(ours, level))


if __name__ == "__main__":
    main()
