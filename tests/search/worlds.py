"""What the tests of strategies share: shares of solved problems, golden trees, worlds of their own."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from branchwise.core.events import Expanded, Judged
from branchwise.core.simulated.steps import Judge, Simulation, StepTree
from branchwise.core.simulated.steps import Path as Choices
from branchwise.core.simulated.trees import EnumeratedTree, ScoredTree
from branchwise.core.types import Verdict
from branchwise.search import BaseStrategy, BestOfN

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class EnumeratedScores(EnumeratedTree, ScoredTree):
    """A scored tree whose policy proposes each child once, in order."""


@dataclass(frozen=True)
class Unsolvable(ScoredTree):
    """A scored tree in which no trajectory is accepted, so that a search goes on to its end."""

    def solved(self, path: Choices) -> bool:
        """Never."""
        return False


def distance(found: dict[Choices, float], target: dict[Choices, float]) -> float:
    """Total variation distance of two distributions, each normalised first."""
    sums = sum(found.values()), sum(target.values())
    return sum(abs(found.get(x, 0.0) / sums[0] - target.get(x, 0.0) / sums[1]) for x in {*found, *target}) / 2


def prefix_score(world: StepTree, path: Choices) -> float:
    """Value a prefix by its score."""
    assert isinstance(world, ScoredTree)
    return world.score(path)


def leaf_reward(world: StepTree, path: Choices) -> float:
    """Value whole trajectories by their reward, prefixes by nothing."""
    assert isinstance(world, ScoredTree)
    return world.reward(path) if len(path) == world.depth else 0.5


class AnswersOnly(Simulation):
    """A simulation in which only whole trajectories are judged."""

    def finish(self, number: Any, outcome: Any = "well") -> Any:
        """End a work item; a judgement of a prefix is empty."""
        work = self.tree.in_flight[number]
        if outcome == "well" and hasattr(work, "node") and type(work).__name__ == "Score":
            whole = self.tree[work.node].answer is not None
            verdicts: tuple[Verdict, ...] = (self.verdict(work.node),) if whole else ()
            event = Judged(work.id, work.node, verdicts)
            self._take(event)
            return event
        return super().finish(number, outcome)


def solved_share(strategy: BaseStrategy, judge: Judge, expansions: int = 60, problems: int = 100) -> float:
    """Share of seeded problems that a strategy solves within a number of expansions."""
    solved = 0
    for seed in range(problems):
        simulation = Simulation(strategy.fresh(seed), StepTree(3, 4, seed), slots=8, judge=judge, seed=seed)
        simulation.run(expansions, random.Random(seed))
        solved += simulation.solved
    return solved / problems


@cache
def chance_level(expansions: int = 60) -> float:
    """The same for independent trajectories."""
    return solved_share(BestOfN(n=1000, depth=4), lambda _world, _path: 0.5, expansions)


def golden(name: str, strategy: BaseStrategy) -> None:
    """Check that the tree of a seeded search is that of a file. `BRANCHWISE_WRITE_GOLDEN=1` writes it anew."""
    simulation = Simulation(strategy.fresh(7), StepTree(3, 4, seed=7), slots=4, seed=7)
    tree = simulation.run(40, random.Random(7))
    rows = [
        [node.id, node.parent, node.env_ref, tree.status(node.id), round(tree.value(node.id) or 0.0, 6)]
        for node in tree
    ]
    found = {"selected": simulation.strategy.select(tree), "nodes": rows}
    path = GOLDEN / f"{name}.json"
    if os.environ.get("BRANCHWISE_WRITE_GOLDEN"):
        body = ",\n".join(json.dumps(row) for row in rows)
        path.write_text(f'{{"selected": {found["selected"]}, "nodes": [\n{body}\n]}}\n')
    assert json.loads(path.read_text()) == found


def never_accepted(_world: StepTree, _path: Choices) -> float:
    """Value everything alike."""
    return 0.5


@dataclass(frozen=True)
class Endless(StepTree):
    """A tree that nobody gets to the end of, its states cheap to make."""

    depth: int = 10**9

    def expand(self, work: Any, view: Any, seed: int) -> Any:
        """Return a node in a state of its own."""
        from branchwise.core.types import Node, NodeId, Step, Usage

        parent = view[work.node]
        return Node(NodeId(work.id), parent.id, Step("thought", ""), str(work.id), parent.depth + 1, Usage(nodes=1))


@dataclass
class Grown:
    """How a large search went."""

    nodes: int
    depth: int
    seconds: float
    lost: int
    """Work items that ended well and left no trace in the tree."""


def grow(strategy: BaseStrategy, nodes: int, *, slots: int = 16, fails: float = 0.0) -> Grown:
    """Grow a tree in which no end is in sight, values at random, a share of all work failing."""
    rng = random.Random(3)

    class Cheap(Simulation):
        """Verdicts without a hash."""

        def verdict(self, node: Any) -> Verdict:
            return Verdict(rng.random(), "value", "cheap")

    simulation = Cheap(strategy.fresh(1), Endless(), slots=slots)
    began = time.process_time()
    while len(simulation.tree) <= nodes:
        simulation.fill()
        flying = simulation.tree.in_flight
        if not flying:
            break
        number = next(iter(flying))
        simulation.finish(number, "failed" if rng.random() < fails else "well")
    seconds = time.process_time() - began
    made = sum(isinstance(event, Expanded) for event in simulation.events)
    deepest = max(node.depth for node in simulation.tree)
    return Grown(len(simulation.tree), deepest, seconds, made - (len(simulation.tree) - 1))
