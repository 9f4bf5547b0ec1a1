# The peers' signatures are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
"""What is lost of what was paid for: the same mishaps with treequest, its-hub and ours, in one table.

- *Five at once*: 1,000 generations, five in flight at a time. treequest's `ask_batch(5)` hands out what it will not take back.
- *A long chain*: 10,000 steps, each on the last. treequest's `step` copies the tree by recursion unless told not to.
- *One failure in 64*: of 64 samples one fails. its-hub's best-of-n gathers them all or none.
- *One failure in ten*: of 1,000 steps a tenth fails.

    python benchmarks/failures.py [--json] [--calls 1000] [--depth 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from its_hub import BestOfN as HubBestOfN
from its_hub.api import AbstractLanguageModel, AbstractOutcomeRewardModel
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from treequest import StandardMCTS
from treequest.algos.best_first_search import BestFirstSearchAlgo

import branchwise as bw
from branchwise.core.budget import Bill, Ledger
from branchwise.core.errors import ModelUnavailable
from branchwise.core.events import Expand, Score
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Budget, Node, NodeId, Step, Usage, Verdict
from branchwise.graphs.machine import run_search, search_graph
from branchwise.graphs.search import Search

SAMPLES = 64


@dataclass(frozen=True)
class Loss:
    """What became of the generations that were made."""

    wanted: int
    made: int
    """Those that were paid for and came."""
    kept: int
    """Those that are in the tree, or among the results, in the end."""
    note: str = ""


# --- ours: the machine, as every run goes through it --------------------------------------------------------------------


@dataclass
class Bench:
    """Work that takes no time: steps with drawn values, of which some fail."""

    ledger: Ledger
    fails: Callable[[int], bool]
    """Whether the expansion of this number fails."""
    begun: int = 0
    made: int = 0
    failed: int = 0

    async def expand(self, work: Expand, tree: Tree, bill: Bill) -> Node:  # noqa: ARG002 - the protocol's
        """Make a step."""
        self.begun += 1
        number = self.begun
        with await self.ledger.reserve(Usage(nodes=1)) as held:
            await asyncio.sleep(0)
            if self.fails(number):
                self.failed += 1
                raise ModelUnavailable(f"generation {number} fails")
            held.actual = Usage(nodes=1)
        self.made += 1
        parent = tree[work.node]
        return Node(NodeId(work.id), parent.id, Step("thought", ""), None, parent.depth + 1, held.actual)

    async def score(self, work: Score, tree: Tree, bill: Bill) -> tuple[Verdict, ...]:  # noqa: ARG002 - the protocol's
        """Draw a value."""
        return (Verdict(random.Random(work.node).random(), "value", "drawn"),)


def ours(
    strategy: bw.Strategy, calls: int, *, slots: int, fails: Callable[[int], bool] = lambda _number: False
) -> Loss:
    """Run a search of ours for so many generations that succeed."""
    ledger = Ledger(Budget(nodes=calls))
    bench = Bench(ledger, fails)
    machine = Search(strategy.fresh(1), bench, ledger, Node(ROOT, None, None), slots)
    asyncio.run(run_search(machine, search_graph().compile(), "run"))
    deepest = max(node.depth for node in machine.tree)
    note = f"depth {deepest:,}" + (f"; {bench.failed:,} failed and were made up for" if bench.failed else "")
    return Loss(calls, bench.made, len(machine.tree) - 1, note)


# --- treequest ----------------------------------------------------------------------------------------------------------


def treequest_batches(calls: int) -> Loss:
    """Ask for five at a time, as its documentation of parallel search does, and tell the results."""
    logging.getLogger("treequest").setLevel(logging.ERROR)
    algorithm: Any = StandardMCTS(samples_per_action=2)
    state = algorithm.init_tree()
    made = 0
    while made < calls:
        state, trials = algorithm.ask_batch(state, 5, ["step"])
        for trial in trials:
            made += 1
            state = algorithm.tell(state, trial.trial_id, ("", random.Random(made).random()))
    return Loss(calls, made, len(algorithm.get_state_score_pairs(state)))


def treequest_chain(depth: int, *, inplace: bool = False) -> Loss:
    """Go deeper and deeper by its best-first search's `step`."""
    algorithm: Any = BestFirstSearchAlgo(num_samples=1)
    state = algorithm.init_tree()
    made = 0

    def generate(_above: str | None) -> tuple[str, float]:
        nonlocal made
        made += 1
        return "", 1.0

    try:
        while made < depth:
            state = algorithm.step(state, {"step": generate}, inplace=inplace)
    except RecursionError:
        return Loss(depth, made, made, f"RecursionError at depth {made:,}")
    return Loss(depth, made, len(algorithm.get_state_score_pairs(state)))


# --- its-hub ------------------------------------------------------------------------------------------------------------


class OneFails(AbstractLanguageModel):  # type: ignore[misc]  # its-hub has no types
    """A model of whose replies one fails, later than the others are there, as after time-outs and retries."""

    def __init__(self) -> None:
        self.asked = 0
        self.made = 0

    async def agenerate(self, messages: Any, stop: str | None = None, **_options: Any) -> Any:
        """Reply to one conversation after the other."""
        return [await self.agenerate_single(conversation, stop) for conversation in messages]

    async def agenerate_single(self, messages: Any, stop: str | None = None, **_options: Any) -> Any:  # noqa: ARG002
        """Reply to a conversation."""
        self.asked += 1
        number = self.asked
        if number == SAMPLES // 2:
            await asyncio.sleep(0.2)
            raise ModelUnavailable(f"generation {number} fails")
        self.made += 1
        return {"role": "assistant", "content": str(number)}


class AllAlike(AbstractOutcomeRewardModel):  # type: ignore[misc]  # its-hub has no types
    """Takes every answer to be worth as much."""

    def score(self, messages: Any, **_options: Any) -> list[float]:
        """Score answers."""
        return [0.5 for _ in messages]

    async def ascore(self, messages: Any, orchestrator: Any = None, **_options: Any) -> list[float]:  # noqa: ARG002
        """The same."""
        return self.score(messages)


def its_hub_best_of_n(samples: int) -> Loss:
    """Take so many samples, of which one fails."""
    model = OneFails()
    try:
        result: Any = HubBestOfN(AllAlike()).infer(model, "Answer.", samples, return_response_only=False)
    except RuntimeError as error:
        return Loss(samples, model.made, 0, f"RuntimeError: {error}")
    return Loss(samples, model.made, len(result.responses))


# --- putting it together ------------------------------------------------------------------------------------------------


def collect(progress: Progress, calls: int, depth: int) -> dict[str, Loss]:
    """Go through all mishaps."""

    def tenth(number: int) -> bool:
        return random.Random(number).random() < 0.1

    mcts = bw.search.UCT(width=2, depth=1000)
    plan: dict[str, Callable[[], Loss]] = {
        "five at once: ours, UCT": lambda: ours(mcts, calls, slots=5),
        "five at once: treequest, ask_batch(5)": lambda: treequest_batches(calls),
        "a long chain: ours": lambda: ours(bw.search.BestOfN(n=1, depth=depth), depth, slots=1),
        "a long chain: treequest, step": lambda: treequest_chain(depth),
        "a long chain: treequest, step(inplace=True)": lambda: treequest_chain(depth, inplace=True),
        "one failure in 64: ours, best-of-n": lambda: ours(
            bw.search.BestOfN(n=SAMPLES, depth=1), SAMPLES, slots=SAMPLES, fails=lambda number: number == SAMPLES // 2
        ),
        "one failure in 64: its-hub, best-of-n": lambda: its_hub_best_of_n(SAMPLES),
        "one failure in ten: ours, best-first": lambda: ours(
            bw.search.BestFirst(width=4, depth=1000), calls, slots=16, fails=tenth
        ),
    }
    bar = progress.add_task("measuring", total=len(plan))
    found: dict[str, Loss] = {}
    for name, run in plan.items():
        progress.update(bar, description=name)
        found[name] = run()
        progress.advance(bar)
    return found


def table(found: dict[str, Loss]) -> Table:
    """The figures for people."""
    view = Table("", title="generations that were wanted, that were made, and that are there in the end")
    for heading in ("wanted", "made", "kept"):
        view.add_column(heading, justify="right")
    view.add_column("")
    for name, loss in found.items():
        view.add_row(name, f"{loss.wanted:,}", f"{loss.made:,}", f"{loss.kept:,}", loss.note)
    return view


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=10_000)
    given = parser.parse_args()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        found = collect(progress, given.calls, given.depth)
    if given.json:
        print(json.dumps({name: asdict(loss) for name, loss in found.items()}))
    else:
        Console(width=max(120, Console().width)).print(table(found))


if __name__ == "__main__":
    main()
