"""Rollover: what a step saves the next one has, and never more than all quotas together."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.core.events import Cancel, Cancelled, Expand, WorkStarted
from branchwise.core.simulated.steps import Judge, Path, Simulation, StepTree, noise_judge, true_judge
from branchwise.core.types import ROOT
from branchwise.search import BaseStrategy, Rollover, StepBestOfN

from .worlds import golden, grow, never_accepted


@dataclass(frozen=True)
class Uneven(StepTree):
    """A tree whose steps are easy and hard by turns."""

    def probabilities(self, path: Path) -> list[float]:
        """The right child has .9 at easy steps and .15 at hard ones."""
        right = 0.9 if len(path) % 2 == 0 else 0.15
        other = (1.0 - right) / (self.branching - 1)
        return [right if child == self.right(path) else other for child in range(self.branching)]


def test_a_better_step_is_taken_at_once(bench: Any) -> None:
    """What is left of the quota is added to the next step's."""
    b = bench(Rollover(quota=3).fresh(0))
    b.judge(0.5)
    assert b.grow(0.4).parent == ROOT
    good = b.grow(0.6)
    assert b.strategy._left == 1 + 3
    for _ in range(4):
        assert b.grow(0.5).parent == good.id
    assert b.wants() == [good.id + 1 + 1]


def test_the_best_is_taken_where_none_is_better(bench: Any) -> None:
    """With the quota used up the best candidate is gone on from."""
    b = bench(Rollover(quota=2).fresh(0))
    b.judge(0.9)
    best = b.grow(0.5)
    b.grow(0.4)
    assert b.wants(3) == [best.id]
    assert b.strategy._left == 2


def test_what_is_not_needed_is_cancelled(bench: Any) -> None:
    """Candidates in the making when a better one is found are cancelled, for real, and stay paid for."""
    simulation = Simulation(
        Rollover(quota=4, ahead=4).fresh(0), Uneven(3, 4, 0), slots=4, judge=lambda _w, path: len(path) / 4
    )
    simulation.finish(simulation.fill()[0].id)
    works = simulation.fill()
    assert len(works) == 4
    simulation.finish(works[0].id)
    (score, *_) = simulation.fill()
    simulation.finish(score.id)
    cancels = [work for work in simulation.fill() if isinstance(work, Cancel)]
    assert {cancel.target for cancel in cancels} == {work.id for work in works[1:]}
    assert sum(isinstance(event, Cancelled) for event in simulation.events) == 3


def test_failures_cost_nothing_until_there_are_too_many(bench: Any) -> None:
    """A failed candidate is sampled again; a step on which all fail ends the search."""
    b = bench(Rollover(quota=1).fresh(0))
    b.judge(0.5)
    for _ in range(3):
        (work,) = b.ask()
        b.fail(work.id)
    assert b.wants() == []


@given(quota=st.integers(1, 5), ahead=st.integers(1, 5), depth=st.integers(1, 5), seed=st.integers(0, 20))
def test_the_budget_is_conserved(quota: int, ahead: int, depth: int, seed: int) -> None:
    """Candidates that were sampled never exceed the quotas of the steps that were begun, whatever is accepted when."""
    simulation = Simulation(Rollover(quota, ahead, depth=depth).fresh(seed), StepTree(3, 5, seed), judge=noise_judge)
    tree = simulation.run(10_000, random.Random(seed))
    sampled = sum(isinstance(e, WorkStarted) and isinstance(e.work, Expand) for e in simulation.events)
    steps = 1 + max(node.depth for node in tree if tree.children(node.id))
    assert sampled <= quota * steps <= quota * depth
    assert max(node.depth for node in tree) == depth


def solved(strategy: BaseStrategy, judge: Judge, problems: int = 150) -> int:
    """How many uneven problems are solved by one run to its end."""
    count = 0
    for seed in range(problems):
        simulation = Simulation(strategy.fresh(seed), Uneven(3, 6, seed), slots=1, judge=judge, seed=seed)
        simulation.run(10_000)
        count += simulation.solved
    return count


def test_hard_steps_get_what_easy_ones_save() -> None:
    """At the same budget it solves more uneven problems than equal quotas do; with values of noise it does not.

    150 problems each: a difference of 25 is 4 standard errors.
    """
    assert solved(Rollover(quota=5, depth=6), true_judge) > solved(StepBestOfN(width=5, depth=6), true_judge) + 25
    assert solved(Rollover(quota=5, depth=6), noise_judge) < solved(StepBestOfN(width=5, depth=6), noise_judge) + 10


def test_golden_tree() -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden("rollover", Rollover(ahead=2, depth=4))


def test_deep() -> None:
    """10,000 steps cost what few do each, and failures lose nothing."""
    small, large = grow(Rollover(depth=10**6), 1_000), grow(Rollover(depth=10**6), 10_000, fails=0.1)
    assert (large.nodes, large.lost) == (10_001, 0)
    assert large.seconds / large.nodes < 4 * small.seconds / small.nodes


def test_values_that_are_all_alike() -> None:
    """Where nothing is ever better every step uses its quota up."""
    simulation = Simulation(Rollover(quota=3, depth=4).fresh(0), StepTree(4, 5, 1), judge=never_accepted)
    assert len(simulation.run(10_000)) == 1 + 4 * 3


@pytest.mark.parametrize("wrong", [{"quota": 0}, {"ahead": 0}, {"depth": 0}, {"prior": -1}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and the bound."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Rollover(**wrong)
