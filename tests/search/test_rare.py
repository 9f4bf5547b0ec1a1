"""Rates of rare success: exact intervals, no bias."""

from __future__ import annotations

import math
import random

import pytest

from branchwise.core.errors import UsageError
from branchwise.search.estimation import at_most, resampled, solve
from branchwise.search.rare import samples_needed, success_rate


def until(rng: random.Random, rate: float, successes: int, cap: int) -> tuple[int, int]:
    """Sample until so many succeeded or the cap is reached; return successes and samples."""
    samples = found = 0
    while found < successes:
        # The wait for the next success is geometric.
        samples += max(1, math.ceil(math.log(1 - rng.random()) / math.log1p(-rate)))
        if samples > cap:
            return found, cap
        found += 1
    return found, samples


@pytest.mark.parametrize(("rate", "successes", "cap"), [(1e-4, 3, 10**9), (0.05, 10, 10**9), (2e-4, 5, 20_000)])
def test_the_interval_covers(rate: float, successes: int, cap: int) -> None:
    """In at least 95 % of the runs, less four standard errors: stopped by successes or by the cap."""
    rng = random.Random(3)
    runs = [success_rate(*until(rng, rate, successes, cap), until=successes) for _ in range(400)]
    assert sum(rate in run for run in runs) / 400 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 400)
    assert sum(run.high / max(run.low, 1e-12) < 100 for run in runs) > 200, "and says something"


def test_stopping_at_a_success_is_corrected_for() -> None:
    """(r-1)/(K-1) is unbiased, r/K is not: the ablation of the correction."""
    rng, rate, r = random.Random(5), 0.02, 3
    runs = [until(rng, rate, r, 10**9) for _ in range(4000)]
    corrected = [success_rate(found, samples, until=r).estimate for found, samples in runs[:400]]
    assert sum(corrected) / 400 == pytest.approx(rate, abs=4 * rate / math.sqrt(400))
    plain = sum(found / samples for found, samples in runs) / 4000
    assert plain > 1.2 * rate


def test_no_success_is_an_interval_too() -> None:
    """Nothing in 30,000 samples: not 0, but at most about 3.7/30,000."""
    found = success_rate(0, 30_000, until=3)
    assert found.estimate == found.low == 0.0
    assert found.high == pytest.approx(-math.log(0.025) / 30_000, rel=1e-3)
    assert str(found).startswith("0 (0 to 0.000123")


def test_known_values() -> None:
    """Clopper and Pearson for 7 of 50, and the ends."""
    found = success_rate(7, 50)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0582, 0.2674)
    assert success_rate(50, 50).high == 1.0
    assert samples_needed(1e-4, 3) == 30_000
    for wrong in (
        {"successes": 3, "samples": 2},
        {"successes": 0, "samples": 0},
        {"successes": 4, "samples": 9, "until": 3},
    ):
        with pytest.raises(UsageError, match="cannot go together"):
            success_rate(**wrong)
    with pytest.raises(UsageError, match="rate"):
        samples_needed(0.0, 3)


def test_the_tools() -> None:
    """Binomial tails are exact, a rising function is inverted, a resampled interval holds the mean."""
    exact = sum(math.comb(12, j) * 0.3**j * 0.7 ** (12 - j) for j in range(5))
    assert at_most(4, 12, 0.3) == pytest.approx(exact, abs=1e-12)
    assert (at_most(3, 9, 0.0), at_most(3, 9, 1.0), at_most(9, 9, 1.0)) == (1.0, 0.0, 1.0)
    assert solve(lambda p: p * p, 0.25) == pytest.approx(0.5)
    rng = random.Random(1)
    mean = resampled(lambda xs: sum(xs) / len(xs), [rng.gauss(5, 1) for _ in range(100)])
    assert 5 in mean
    assert 0.2 < mean.high - mean.low < 0.6
