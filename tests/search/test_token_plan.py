"""Sharing tokens among the parts of a task."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.search.token_plan import Schedule, efficiency, largest_remainder, schedule_weights, share_tokens

WEIGHTS = st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(total=st.integers(0, 5000), weights=WEIGHTS)
def test_shares_add_up_and_follow_the_weights(total: int, weights: list[float]) -> None:
    """Nothing is lost, nothing is negative, and a heavier part never gets less."""
    shares = largest_remainder(total, weights)
    assert sum(shares) == total
    assert min(shares) >= 0
    pairs = sorted(zip(weights, shares, strict=True))
    assert all(low <= high for (a, low), (b, high) in pairwise(pairs) if a < b)


@settings(max_examples=100, deadline=None)
@given(total=st.integers(0, 2000), data=st.data())
def test_a_constant_schedule_knows_no_order(total: int, data: st.DataObject) -> None:
    """Permuted parts get permuted shares, where no two weigh the same."""
    weights = data.draw(st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True))
    order = data.draw(st.permutations(range(len(weights))))
    shares = share_tokens(total, weights, "constant")
    assert share_tokens(total, [weights[i] for i in order], "constant") == [shares[i] for i in order]


def test_schedules_are_the_published_ones() -> None:
    """Their formulas at three parts, and at one."""
    assert schedule_weights("linear", 3) == [3, 2, 1]
    assert schedule_weights("polynomial", 3) == [9, 4, 1]
    assert schedule_weights("exponential", 3) == pytest.approx([1, 0.9, 0.81])
    assert schedule_weights("cosine", 3) == pytest.approx([1.1, 0.6, 0.1])
    assert all(len(schedule_weights(schedule, 1)) == 1 for schedule in get_args(Schedule))
    for schedule in get_args(Schedule):
        weights = schedule_weights(schedule, 5)
        assert weights == sorted(weights, reverse=True)
    with pytest.raises(UsageError, match="unknown"):
        schedule_weights("square", 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one part"):
        schedule_weights("linear", 0)
    with pytest.raises(UsageError, match="nothing negative"):
        largest_remainder(10, [1, -1])
    assert largest_remainder(7, [0, 0]) == [4, 3]


def solved(shares: list[int], needs: list[float]) -> float:
    """Mean chance of the parts to be solved: 1 - exp(-tokens / need) each."""
    return sum(1 - math.exp(-share / need) for share, need in zip(shares, needs, strict=True)) / len(needs)


@pytest.mark.parametrize(("noise", "wins"), [(0.2, True), (3.0, False)], ids=["credits that tell", "credits of noise"])
def test_weighting_wins_where_credits_tell_what_parts_need(noise: float, wins: bool) -> None:
    """At equal totals that are about enough: weighted, then uniform, then no plan. The ablation: noise for credits loses."""
    rng = random.Random(3)
    sums = {"weighted": 0.0, "uniform": 0.0, "none": 0.0}
    for _ in range(400):
        needs = [rng.uniform(20, 200) for _ in range(5)]
        deserved = [need * math.exp(rng.gauss(0, noise)) for need in needs]
        sums["weighted"] += solved(share_tokens(1500, deserved, "constant"), needs)
        sums["uniform"] += solved(share_tokens(1500, [1] * 5, "constant"), needs)
        sums["none"] += solved(largest_remainder(1500, [rng.expovariate(1) for _ in range(5)]), needs)
    assert sums["uniform"] > sums["none"]
    assert (sums["weighted"] > sums["uniform"]) == wins


def test_efficiency_counts_accuracy_twice() -> None:
    """Twice the accuracy at twice the tokens is worth it; the exponent is the reader's choice."""
    assert efficiency(0.8, 200) > efficiency(0.4, 100)
    assert efficiency(0.8, 200, exponent=1) == pytest.approx(efficiency(0.4, 100, exponent=1))
    with pytest.raises(UsageError):
        efficiency(0.5, 0)
