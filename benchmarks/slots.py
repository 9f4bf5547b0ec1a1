# its-hub is partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
"""How well a search keeps a model server's slots busy: the mean number of slots at work, as a share of them all.

A server in a process of its own takes lognormal times (median 200 ms, sigma 1) over its replies and serves 16 at once.
Best-first search, beams, particles and tree searches go through everything that a real run goes through: client, retries,
accounts, ledger, machine, journal. A level of a single beam or particle filter waits for its slowest reply, which is its
nature; several of them side by side (`groups`) fill the slots meanwhile. Beside them, through the same client, its-hub's beam
search, whose levels are barriers. Clients may have some more calls out than the server has slots (`ahead`): what waits there
fills the milliseconds between a reply and the next request.

    python benchmarks/slots.py [--json] [--nodes N] [--ahead 2] [--searches best-first ...]
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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from its_hub.api import AbstractLanguageModel, AbstractProcessRewardModel
from its_hub.core.algorithms.beam_search import BeamSearch
from its_hub.core.lms.step_generation import StepGeneration
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.core.budget import Ledger
from branchwise.core.protocols import Meter, Model
from branchwise.core.types import Budget, Message, ModelRequest, Sampling, Task, ToolCall
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models import connect
from branchwise.models.accounts import Accounted, CallLog
from branchwise.models.fake_server import Answer, FakeServer, Latency, Stats
from branchwise.models.retry import Retrying

SLOTS = 16
AHEAD = 2
MEDIAN_SECONDS = 0.2
SIGMA = 1.0

SEARCHES: dict[str, bw.Strategy] = {
    "best-first": bw.search.BestFirst(width=4, depth=6),
    "beams": bw.search.Beam(beams=4, width=4, depth=100, groups=16),
    "particles": bw.search.Particles(particles=8, depth=100, groups=32),
    "uct": bw.search.UCT(width=SLOTS, depth=16),
    "ab-mcts": bw.search.ABMCTS(depth=16),
    "noise-aware": bw.search.NoiseAware(bw.search.BestFirst(width=4, depth=6)),
    "one_beam": bw.search.Beam(beams=4, width=4, depth=1000),
    "one_particle_filter": bw.search.Particles(particles=16, depth=1000),
}
"""What is measured; the last two have a barrier after each level."""

BARRIERS = ("one_beam", "one_particle_filter")

PEER = "its-hub_beam"


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


async def serve(median_seconds: float) -> None:
    """Be the server until it is told to end, then say how the slots were used."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with FakeServer(reply, latency=Latency(median_seconds, SIGMA), slots=SLOTS) as fake:
        fake.stats = stats = SlotStats()
        print(fake.base_url, flush=True)
        await ended.wait()
        print(json.dumps([*stats.until_last_request, stats.slot_seconds, stats.started.total()]))


async def use_of(client: Callable[[str], Awaitable[None]], median_seconds: float) -> Use:
    """Let a client work on a fresh server, in a process of its own, and ask the server how it was used."""
    command = [sys.executable, __file__, "--serve", "--median-seconds", str(median_seconds)]
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


async def search(base_url: str, strategy: bw.Strategy, nodes: int, ahead: int) -> None:
    """Run an agent that searches, journal and all."""
    model = await connect("openai:fake", base_url=base_url, api_key="none", slots=SLOTS + ahead, native_tools=True)
    agent = bw.Agent(name="noter", model=model, tools=[note], search=strategy)
    with tempfile.TemporaryDirectory() as folder:
        runner = LocalRunner(RunStore(Path(folder)))
        result = await runner.run(agent, Task(prompt="Take notes."), Budget(nodes=nodes), seed=1)
    await model.aclose()
    assert result.stop_detail == "the budget's nodes is spent", result.stop_detail


class OverOurClient(AbstractLanguageModel):  # type: ignore[misc]  # its-hub has no types
    """its-hub's language model, by our client: a batch's requests at once."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.requests = 0

    async def agenerate(self, messages: Any, stop: str | None = None, **_options: Any) -> list[dict[str, str]]:  # noqa: ARG002
        """Reply to each of several conversations."""
        first = self.requests
        self.requests += len(messages)
        requests = [
            ModelRequest((Message("user", "step"),), Sampling(seed=first + number)) for number in range(len(messages))
        ]
        replies = await asyncio.gather(*(self.model.generate(request, Meter()) for request in requests))
        return [{"role": "assistant", "content": f"{reply.tool_calls}"} for reply in replies]


class Alike(AbstractProcessRewardModel):  # type: ignore[misc]  # its-hub has no types
    """Takes every prefix to be worth as much, as ours do here."""

    async def ascore(self, prompt_or_messages: Any, steps: Sequence[str]) -> list[float]:  # noqa: ARG002
        """Score prefixes."""
        return [0.5] * len(steps)

    def score(self, prompt_or_messages: Any, steps: Sequence[str]) -> list[float]:  # noqa: ARG002
        """The same."""
        return [0.5] * len(steps)


async def its_hub_beam(base_url: str, calls: int, ahead: int) -> None:
    """Run its-hub's beam search, 4 beams and 16 candidates on each level, for about so many calls."""
    http = await connect("openai:fake", base_url=base_url, api_key="none", slots=SLOTS + ahead)
    with CallLog() as log:
        model = Retrying(Accounted(http, Ledger(Budget(calls=2 * calls)), log))
        steps = StepGeneration(max_steps=max(1, calls // SLOTS - 1), step_token="\n")
        await BeamSearch(steps, Alike(), beam_width=4).ainfer(OverOurClient(model), "Take notes.", SLOTS)
    await http.aclose()


def clients(names: Sequence[str], nodes: int, ahead: int) -> dict[str, Callable[[str], Awaitable[None]]]:
    """Return what is measured, by name; what has barriers makes a quarter as many calls, for it takes as long for them."""
    found: dict[str, Callable[[str], Awaitable[None]]] = {}
    for name in names:
        if name == PEER:
            found[name] = partial(its_hub_beam, calls=max(2 * SLOTS, nodes // 4), ahead=ahead)
        else:
            some = nodes // 4 if name in BARRIERS else nodes
            found[name] = partial(search, strategy=SEARCHES[name], nodes=some, ahead=ahead)
    return found


async def measure(
    names: Sequence[str], nodes: int, median_seconds: float, ahead: int, progress: Progress
) -> dict[str, Use]:
    """All clients, one after the other."""
    bar = progress.add_task("measuring", total=len(names))
    uses: dict[str, Use] = {}
    for name, client in clients(names, nodes, ahead).items():
        progress.update(bar, description=name)
        uses[name] = await use_of(client, median_seconds)
        progress.advance(bar)
    return uses


def table(uses: Mapping[str, Use], median_seconds: float) -> Table:
    """The figures for people."""
    view = Table(
        title=f"{SLOTS} slots, replies after exp(N(ln {median_seconds * 1000:.0f} ms, {SIGMA:g}))",
        caption="the lower part waits for the slowest reply of each level",
    )
    for heading in ("", "slots in use", "wall", "ideal", "calls"):
        view.add_column(heading, justify="left" if not heading else "right")
    for name, use in uses.items():
        if name == BARRIERS[0]:
            view.add_section()
        view.add_row(
            name.replace("_", " "),
            f"{use.slots_in_use:.1%}",
            f"{use.wall_seconds:.2f} s",
            f"{use.ideal_seconds:.2f} s",
            f"{use.calls:,}",
        )
    return view


def main() -> None:
    """Measure and print."""
    everything = [*SEARCHES, PEER]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--nodes", type=int, default=1200, help="nodes of each search; those with barriers make a quarter as many"
    )
    parser.add_argument("--searches", nargs="*", default=everything, choices=everything)
    parser.add_argument(
        "--median-seconds", type=float, default=MEDIAN_SECONDS, help="of a reply; more on a busy machine"
    )
    parser.add_argument("--ahead", type=int, default=AHEAD, help="calls out beyond the server's slots")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.median_seconds))
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        uses = asyncio.run(measure(given.searches, given.nodes, given.median_seconds, given.ahead, progress))
    if given.json:
        prefixes = {name: "" if name == "best-first" else f"{name.replace('-', '_')}_" for name in uses}
        print(json.dumps({k: v for name, use in uses.items() for k, v in use.to_json(prefixes[name]).items()}))
    else:
        Console().print(table(uses, given.median_seconds))


if __name__ == "__main__":
    main()
