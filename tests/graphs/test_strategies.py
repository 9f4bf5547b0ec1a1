"""Every strategy in the real search machine: work takes its time, one item in ten fails, a run is cut and goes on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from branchwise.core.budget import Ledger
from branchwise.core.errors import ModelTimeout
from branchwise.core.events import Event, Expand, Expanded, Failed, Resumed, Score, WorkStarted
from branchwise.core.simulated.steps import SimulatedBench, StepTree, noise_judge
from branchwise.core.tree import Tree
from branchwise.core.types import Budget
from branchwise.graphs.journal import memory_saver
from branchwise.graphs.machine import run_search, search_graph
from branchwise.graphs.search import Search
from branchwise.search import BaseStrategy, ForkJoin
from branchwise.search.named import STRATEGIES
from branchwise.search.pieces import Pieces

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES.keys())
WORLD = StepTree(branching=4, depth=6, seed=3)


class Hiccups:
    """Work that takes a moment, and fails one time in ten."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    async def __call__(self, _work: Expand | Score) -> None:
        """Take a moment."""
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        if self.rng.random() < 0.1:
            raise ModelTimeout("simulated")


def search_by(strategy: BaseStrategy, events: list[Event], *, nodes: int, resumed: Resumed | None = None) -> Search:
    """A search with noise for values, so that no answer is found by skill."""
    ledger = Ledger(Budget(nodes=nodes))
    bench = SimulatedBench(WORLD, ledger, judge=noise_judge, seed=5, pause=Hiccups(nodes))

    def listen(news: Sequence[Event], _tree: Tree) -> None:
        events.extend(news)

    return Search(strategy.fresh(5), bench, ledger, WORLD.root(), 8, listener=listen, resumed=resumed)


STEPPING = {name: made for name, made in STRATEGIES.items() if not issubclass(made, Pieces | ForkJoin)}
"""Those that write texts together are over too soon where steps have no text: nothing would fail."""


@pytest.mark.parametrize("strategy", STEPPING.values(), ids=STEPPING.keys())
async def test_failures_lose_nothing(strategy: type[BaseStrategy]) -> None:
    """Whatever fails, every step that was made is in the tree, and the run ends with the best of them."""
    events: list[Event] = []
    tree = await run_search(search_by(strategy(), events, nodes=120), search_graph().compile(), "run")
    kinds = Counter(type(event) for event in events)
    assert kinds[Failed] > 0
    assert len(tree) == 1 + kinds[Expanded] > 10
    assert tree.selected is not None
    assert not tree.in_flight


@every_strategy
async def test_goes_on_where_it_was(strategy: type[BaseStrategy]) -> None:
    """Cut by its budget and resumed with a larger one, a search keeps what it has and does nothing twice."""
    events: list[Event] = []
    async with memory_saver() as saver:
        graph = search_graph().compile(checkpointer=saver)
        first = await run_search(search_by(strategy(), events, nodes=20), graph, "run")
        second = await run_search(search_by(strategy(), events, nodes=60, resumed=Resumed()), graph, "run")
    assert {node.id for node in first} <= {node.id for node in second}
    begun = [event.work.id for event in events if isinstance(event, WorkStarted)]
    assert len(begun) == len(set(begun))
    assert len(second) == 1 + sum(isinstance(event, Expanded) for event in events)
