"""What right answers cost."""

from __future__ import annotations

import math
import random

import pytest

from branchwise.core.errors import UsageError
from branchwise.search.cost_of_pass import cost_of_pass, cost_of_pass_interval, frontier, frontier_cost

TABLE = {
    "cheap": {"easy": [(1.0, True), (1.0, True)], "hard": [(1.0, False)] * 4, "odd": [(1.0, True), (1.0, False)]},
    "dear": {"easy": [(10.0, True)], "hard": [(10.0, True), (10.0, False)], "odd": [(10.0, True)]},
}


def test_by_hand() -> None:
    """Mean cost over share of right answers; infinite where nothing is right; a percent more at three times the cost is worse."""
    assert cost_of_pass([(2.0, True), (4.0, False), (3.0, True)]) == 4.5
    assert cost_of_pass([(2.0, False)]) == math.inf
    better = [(3.0, n < 51) for n in range(100)]
    assert cost_of_pass(better) > cost_of_pass([(1.0, n < 50) for n in range(100)])
    with pytest.raises(UsageError, match="no outcomes"):
        cost_of_pass([])


def test_the_frontier_takes_the_cheapest_for_each_problem() -> None:
    """An expert where no method is cheaper; leaving a method out shows what it is worth."""
    assert frontier(TABLE) == {"easy": (1.0, "cheap"), "hard": (20.0, "dear"), "odd": (2.0, "cheap")}
    assert frontier(TABLE, expert=15.0)["hard"] == (15.0, "expert")
    assert frontier_cost(TABLE) == pytest.approx(23 / 3)
    assert frontier_cost(TABLE, without={"dear"}) == math.inf
    assert frontier_cost(TABLE, expert=15.0, without={"dear"}) == pytest.approx(6.0)
    assert frontier_cost(TABLE, expert=15.0, without={"cheap", "dear"}) == 15.0
    with pytest.raises(UsageError, match="no outcomes of problem 'odd'"):
        frontier({"a": {"odd": [(1.0, True)]}, "b": {}})


def test_the_interval_holds_and_knows_infinity() -> None:
    """In most of the samples the truth lies within; where success is rare the upper end is infinite."""
    rng = random.Random(2)
    hits = 0
    for seed in range(40):
        outcomes = [(rng.uniform(1, 3), rng.random() < 0.4) for _ in range(60)]
        hits += 2.0 / 0.4 in cost_of_pass_interval(outcomes, seed=seed)
    assert hits >= 34
    assert cost_of_pass_interval([(1.0, n == 0) for n in range(5)]).high == math.inf
