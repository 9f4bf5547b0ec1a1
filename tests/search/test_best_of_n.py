"""Best-of-n: independent trajectories."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand
from branchwise.core.simulated.steps import Simulation, StepTree
from branchwise.core.types import ROOT
from branchwise.search import BestOfN


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 6), depth=st.integers(1, 5), slots=st.integers(1, 8), rng=st.randoms(use_true_random=False))
def test_n_trajectories_and_no_more(n: int, depth: int, slots: int, rng: random.Random) -> None:
    """`n` unbranched trajectories, each as long as it may be, then the end."""
    world = StepTree(branching=4, depth=7)
    simulation = Simulation(BestOfN(n=n, depth=depth).fresh(0), world, slots)
    tree = simulation.run(10_000, rng)
    assert len(tree) == 1 + n * depth
    assert len(tree.children(ROOT)) == n
    assert all(len(tree.children(node.id)) <= 1 for node in tree if node.id != ROOT)
    assert max(node.depth for node in tree) == depth
    assert simulation.fill() == []


def test_trajectories_under_way_come_first(bench: Any) -> None:
    """What was begun is gone on with before something new is begun."""
    b = bench(BestOfN(n=3, depth=3).fresh(0))
    b.judge(0.5)
    first = b.grow(0.1)
    assert b.wants(5) == [first.id, ROOT, ROOT]


def test_a_finished_trajectory_is_left_alone(bench: Any) -> None:
    """One that gave its answer does not go on."""
    b = bench(BestOfN(n=2, depth=5).fresh(0))
    b.judge(0.5)
    b.grow(0.1, answer="42")
    assert b.wants(5) == [ROOT]


def test_nothing_begins_before_the_start_was_judged(bench: Any) -> None:
    """The first steps have the root's verdicts to go by."""
    b = bench(BestOfN(n=2).fresh(0))
    assert b.wants(5) == []
    b.judge(0.5)
    assert b.wants(5) == [ROOT, ROOT]


def test_a_failed_step_is_tried_again(bench: Any) -> None:
    """A step that failed is tried three times, then its trajectory is given up; the others go on."""
    b = bench(BestOfN(n=2, depth=5).fresh(0))
    b.judge(0.5)
    first = b.grow(0.1)
    for _ in range(3):
        (work,) = b.ask()
        assert work.node == first.id
        b.fail(work.id)
    assert b.wants(5) == [ROOT]


def test_a_failed_beginning_is_begun_again(bench: Any) -> None:
    """`n` trajectories come to exist although some beginnings fail."""
    b = bench(BestOfN(n=2, depth=1).fresh(0))
    b.judge(0.5)
    for work in b.ask(2):
        b.fail(work.id)
    b.grow(0.1)
    b.grow(0.1)
    assert b.wants(5) == []
    assert len(b.tree.children(ROOT)) == 2


def test_one_trajectory_is_not_speculative() -> None:
    """With n = 1 nothing is thrown away, so tools with external effects are allowed."""
    assert not BestOfN(n=1).speculative
    assert BestOfN(n=2).speculative


def test_expansions_keep_their_order(bench: Any) -> None:
    """Trajectories take turns in the order of arrival."""
    b = bench(BestOfN(n=3, depth=4).fresh(0))
    b.judge(0.5)
    nodes = []
    for _ in range(2):
        (work,) = (w for w in b.ask() if isinstance(w, Expand))
        nodes.append(work.node)
        b.fail(work.id)
    assert nodes == [ROOT, ROOT]


@pytest.mark.parametrize("wrong", [{"n": 0}, {"depth": 0}, {"repeats": 1}])
def test_wrong_use(wrong: dict[str, int]) -> None:
    """A parameter out of range is refused with its name."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        BestOfN(**wrong)


def test_a_trajectory_that_goes_in_circles_is_over(bench: Any) -> None:
    """The same calls three times in a row end a trajectory; others, or none, do not."""
    b = bench(BestOfN(n=1, depth=20).fresh(0))
    b.judge(0.5)
    for call in ("look", "look", "move", None, None, None, "look", "look"):
        b.grow(0.1, call=call)
        assert b.wants(1) != []
    b.grow(0.1, call="look")
    assert b.wants(1) == []
