"""Lookahead: traps that only rollouts show, the steadier of two equals, and when it stops looking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Expanded
from branchwise.core.simulated.steps import Path, Simulation, StepTree, noise_judge
from branchwise.core.types import ROOT, Node, NodeId, Step
from branchwise.search import BaseStrategy, Lookahead, StepBestOfN

from .worlds import golden, grow, never_accepted


@dataclass(frozen=True)
class Traps(StepTree):
    """Every other step has a child that looks best and leads nowhere."""

    def trapped(self, path: Path) -> bool:
        """Whether a bait was taken."""
        return any(path[i] == self.right(path[:i]) for i in range(0, len(path), 2))

    def solved(self, path: Path) -> bool:
        """Whether it is whole and no bait was taken."""
        return len(path) == self.depth and not self.trapped(path)


def tempting(world: StepTree, path: Path) -> float:
    """Value a bait highest and what comes after it lowest."""
    assert isinstance(world, Traps)
    if world.trapped(path[:-1]):
        return 0.1
    return 0.9 if world.trapped(path) else 0.5


def solved(strategy: BaseStrategy, judge: Any, problems: int = 40) -> float:
    """Share of problems with traps that are solved by one run to its end."""
    count = 0
    for seed in range(problems):
        simulation = Simulation(strategy.fresh(seed), Traps(3, 6, seed), judge=judge, seed=seed)
        simulation.run(10_000)
        count += simulation.solved
    return count / problems


def test_sees_traps() -> None:
    """Greedy steps fall for what looks best, rollouts of two steps show where it leads; with noise nothing is gained."""
    assert solved(StepBestOfN(width=6, depth=6), tempting) <= 0.3
    assert solved(Lookahead(width=6, rollouts=2, steps=2, depth=6), tempting) >= 0.9
    assert solved(Lookahead(width=6, rollouts=2, steps=2, depth=6), noise_judge) <= 0.6


def step_of(b: Any, work: Expand, value: float) -> Node:
    """End an expansion with a node of some value."""
    node = Node(NodeId(work.id), work.node, Step("thought", ""), str(work.id), b.tree[work.node].depth + 1)
    b.take(Expanded(work.id, node))
    b.judge(value)
    return node


def test_the_steadier_of_two_equals(bench: Any) -> None:
    """Where rollouts end alike the candidate whose values get there evenly is taken."""
    b = bench(Lookahead(width=2, rollouts=1, steps=2).fresh(0))
    b.judge(0.5)
    wild, even = (step_of(b, work, value) for work, value in zip(b.ask(2), (0.9, 0.6), strict=True))
    for values in ({wild.id: 0.1, even.id: 0.65}, {}):
        for work in b.ask(2):
            step_of(b, work, values.get(work.node, 0.7))
    # They end alike, so the steps that follow are those of its rollout.
    assert [node.id for node in b.tree.path(b.strategy._here)][1] == even.id


def test_rollouts_of_the_chosen_are_not_thrown_away(bench: Any) -> None:
    """What was rolled out from the step that is taken are candidates for the next one."""
    b = bench(Lookahead(width=2, rollouts=2, steps=2).fresh(0))
    b.judge(0.2)
    good, bad = (step_of(b, work, value) for work, value in zip(b.ask(2), (0.6, 0.3), strict=True))
    for _ in range(2):
        for work in b.ask(8):
            step_of(b, work, 0.1 if bad.id in (work.node, b.tree[work.node].parent) else 0.8)
    assert b.strategy._here == good.id
    assert list(b.strategy._ends) == list(b.tree.children(good.id))
    # Each of the two has one rollout of one step, which goes on, and begins a second one.
    kids = b.tree.children(good.id)
    assert sorted(b.wants(9)) == sorted([*kids, *(b.tree.children(kid)[0] for kid in kids)])


def test_stops_looking_where_there_is_nothing_to_see() -> None:
    """With values that are all alike it looks ahead once: 3 candidates, 3 * 2 rollouts of 2 steps, then one step each."""
    simulation = Simulation(Lookahead(width=3, depth=8).fresh(0), StepTree(4, 9, 1), judge=never_accepted)
    tree = simulation.run(10_000)
    assert len(tree) == 1 + 3 + 3 * 2 * 2 + (8 - 3)
    assert max(node.depth for node in tree) == 8


def test_failed_rollouts_end_where_they_are(bench: Any) -> None:
    """A candidate that cannot be rolled out is judged by itself; a step on which all fail ends the search."""
    b = bench(Lookahead(width=1, rollouts=1, steps=2).fresh(0))
    b.judge(0.5)
    (work,) = b.ask(4)
    only = step_of(b, work, 0.6)
    for _ in range(3):
        (work,) = b.ask(4)
        assert work.node == only.id
        b.fail(work.id)
    assert b.strategy._here == only.id
    while works := b.ask(4):
        for work in works:
            b.fail(work.id)
    assert b.strategy._here is None


def test_golden_tree() -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden("lookahead", Lookahead(width=2, depth=4))


def test_deep() -> None:
    """Thousands of steps cost what few do each, and failures lose nothing."""
    small, large = grow(Lookahead(depth=10**6), 1_000), grow(Lookahead(depth=10**6), 10_000, fails=0.1)
    assert (large.nodes, large.lost) == (10_001, 0)
    assert large.depth > 400
    assert large.seconds / large.nodes < 4 * small.seconds / small.nodes


def test_draws_by_worth() -> None:
    """With a high temperature steps are drawn, and other seeds take other ones."""
    chosen = set()
    for seed in range(12):
        simulation = Simulation(
            Lookahead(width=3, temperature=100.0, depth=3).fresh(seed), StepTree(3, 4, 0), judge=noise_judge
        )
        tree = simulation.run(10_000)
        chosen.add(max(tree.children(ROOT), key=lambda node: len(tree.children(node))))
    assert len(chosen) > 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"rollouts": 0},
        {"steps": 0},
        {"advantage": -1},
        {"temperature": -1},
        {"epsilon": -1},
        {"prior": 2},
    ],
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and the bound."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Lookahead(**wrong)
