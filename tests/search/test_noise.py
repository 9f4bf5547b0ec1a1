"""What is learnt of a verifier from its own verdicts."""

from __future__ import annotations

import random

import pytest

from branchwise.core.types import Integrity, Verdict
from branchwise.search.noise import EXACT_VARIANCE, Judge, Readings


def said(value: float, integrity: Integrity | None = None) -> Verdict:
    """A verdict."""
    return Verdict(value, "value", "judge", integrity=integrity)


def heard(
    sigma: float, truth: float, *, nodes: int = 60, times: int = 4, seed: int = 0
) -> tuple[Judge, list[Readings]]:
    """A judge that was heard about several nodes several times."""
    rng = random.Random(seed)
    judge, all_readings = Judge(), [Readings() for _ in range(nodes)]
    for _ in range(times):
        for readings in all_readings:
            judge.take(said(min(1.0, max(0.0, rng.gauss(truth, sigma)))), readings)
    return judge, all_readings


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.15])
def test_measures_the_noise_of_a_call(sigma: float) -> None:
    """From repetitions the standard deviation is found within a tenth; a verifier that varies may be asked again."""
    judge, _ = heard(sigma, 0.5)
    assert judge.variance**0.5 == pytest.approx(sigma, rel=0.1)
    assert judge.repeatable


def test_noise_that_is_cut_off_is_allowed_for() -> None:
    """At the end of the scale half of the noise is cut off; most of what that takes off the mean is given back."""
    judge, readings = heard(0.15, 1.0)
    rng = random.Random(1)
    for _ in range(100):
        judge.take(said(min(1.0, max(0.0, rng.gauss(0.6, 0.15)))), Readings())
    found = sum(judge.mean(r) for r in readings) / len(readings)
    raw = sum(r.mean for r in readings) / len(readings)
    assert raw < 0.95
    assert 1.0 - found < 0.6 * (1.0 - raw)


def test_one_that_executes_is_exact_at_once() -> None:
    """A verdict by execution says so; it is never asked twice."""
    judge = Judge()
    judge.take(said(1.0, "host-io"), Readings())
    assert judge.exact
    assert not judge.repeatable
    assert judge.variance == EXACT_VARIANCE


def test_one_that_repeats_itself_is_found_out() -> None:
    """Two repetitions without any difference are enough within the scale, eight at its ends; a difference settles it."""
    within, readings = Judge(), Readings()
    for _ in range(3):
        assert within.repeatable
        within.take(said(0.4), readings)
    assert within.fixed
    ends, readings = Judge(), Readings()
    for _ in range(8):
        ends.take(said(1.0), readings)
    assert ends.repeatable
    ends.take(said(1.0), readings)
    assert ends.fixed
    ends.take(said(0.0), readings)
    assert ends.repeatable


def test_yes_and_no_are_not_moved() -> None:
    """For a verifier that only accepts or rejects, values at the ends are no cut-off noise."""
    judge, readings = Judge(), Readings()
    for value in (1.0, 0.0, 1.0, 1.0):
        judge.take(said(value), readings)
    assert judge.mean(readings) == 0.75
