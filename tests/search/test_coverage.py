"""Coverage: exact where it can be counted, lawful beyond."""

from __future__ import annotations

import math
import random
from itertools import combinations

import pytest

from branchwise.core.errors import UsageError
from branchwise.search.coverage import BetaCoverage, PowerCoverage, Tally, coverage, extrapolated, pass_at_k


def tallies(a: float, b: float, *, problems: int, samples: int, seed: int = 1) -> list[Tally]:
    """Problems whose chances are drawn from Beta(a, b)."""
    rng = random.Random(seed)
    chances = [rng.betavariate(a, b) for _ in range(problems)]
    return [(samples, sum(rng.random() < p for _ in range(samples))) for p in chances]


def test_pass_at_k_counts_subsets() -> None:
    """It is the share of all k-subsets with a right sample in them."""
    for samples, right, k in ((6, 2, 3), (5, 0, 2), (5, 5, 1), (7, 1, 7)):
        hits = [any(i < right for i in chosen) for chosen in combinations(range(samples), k)]
        assert pass_at_k(samples, right, k) == pytest.approx(sum(hits) / len(hits))
    for wrong in ((5, 2, 6), (5, 6, 2), (5, 2, 0)):
        with pytest.raises(UsageError, match="k must be from 1"):
            pass_at_k(*wrong)


def test_it_is_unbiased_where_the_plug_in_is_not() -> None:
    """p=.2, n=20, k=5: the truth is .6723; 1-(1-c/n)^k gives .6321 on average, this gives the truth."""
    chance = [math.comb(20, c) * 0.2**c * 0.8 ** (20 - c) for c in range(21)]
    unbiased = sum(chance[c] * pass_at_k(20, c, 5) for c in range(21))
    plug_in = sum(chance[c] * (1 - (1 - c / 20) ** 5) for c in range(21))
    assert unbiased == pytest.approx(1 - 0.8**5, abs=1e-12)
    assert round(unbiased, 4) == 0.6723
    assert round(plug_in, 4) == 0.6321


@pytest.mark.parametrize("a", [0.3, 0.6])
def test_the_tail_is_recovered(a: float) -> None:
    """Misses fall like k^-a: the law's own slope far out, and the fitted one, within .02."""
    law = BetaCoverage(a, 1.2)
    far = (math.log(1 - law.at(1e6)) - math.log(1 - law.at(1e5))) / math.log(10)
    assert far == pytest.approx(-a, abs=0.02)
    found = BetaCoverage.fit(tallies(a, 1.2, problems=10_000, samples=50, seed=2))
    assert found.tail == pytest.approx(-a, abs=0.02)


def test_extrapolation_has_an_interval_that_holds() -> None:
    """Ten times as many samples as there were: the truth lies within, and the power law agrees roughly."""
    truth = BetaCoverage(0.5, 2.0).at(200)
    sets = [tallies(0.5, 2.0, problems=200, samples=20, seed=seed) for seed in range(8)]
    found = [extrapolated(data, 200) for data in sets]
    assert sum(truth in interval for interval in found) >= 7
    assert all(interval.high - interval.low < 0.2 for interval in found)
    data = sets[0]
    assert PowerCoverage.fit(data).at(200) == pytest.approx(truth, abs=0.08)
    inside = extrapolated(data, 20)
    assert inside.estimate == pytest.approx(coverage(data, 20), abs=0.02)


def test_a_law_of_one_chance_misses_the_tail() -> None:
    """The ablation: the same number of right samples, spread evenly over the problems, has no hard ones left."""
    data = tallies(0.3, 1.2, problems=500, samples=50)
    mean = sum(right for _, right in data) / len(data)
    even = [(50, round(mean) + (-1) ** n) for n in range(500)]
    assert BetaCoverage.fit(even).at(50) > 0.999
    assert BetaCoverage.fit(data).at(50) == pytest.approx(coverage(data, 50), abs=0.02)


def test_too_little_is_no_law() -> None:
    """Few problems, or none with both outcomes."""
    for data in ([(10, 3)] * 9, [(10, 0)] * 20, [(10, 10)] * 20):
        with pytest.raises(UsageError, match="tell no law"):
            BetaCoverage.fit(data)
        with pytest.raises(UsageError, match="tell no law"):
            PowerCoverage.fit(data)
    with pytest.raises(UsageError, match="no problems"):
        coverage([], 1)
