"""Calibration, its error, and thresholds for a promised precision."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.search import Calibration, expected_calibration_error, threshold_for

OUTCOMES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=10, max_size=80)


def overconfident(tasks: int, seed: int) -> list[tuple[float, bool]]:
    """Confidences c of which only c^2 are right."""
    rng = random.Random(seed)
    return [(c := rng.random(), rng.random() < c * c) for _ in range(tasks)]


@given(OUTCOMES)
def test_rises_and_stays_within(outcomes: list[tuple[float, bool]]) -> None:
    """Whatever it is fitted on: a rising function with values in [0, 1], never sure beyond the data."""
    calibration = Calibration.fit(outcomes)
    values = [calibration(c / 20) for c in range(21)]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)
    if len({right for _, right in outcomes}) == 2:
        assert all(0 < value < 1 for value in values)


def test_mends_overconfidence() -> None:
    """Fitted on 800 tasks, the calibration error on 2,000 others falls from .15 to below .05."""
    held_out = overconfident(2000, seed=1)
    assert expected_calibration_error(held_out) > 0.13
    calibration = Calibration.fit(overconfident(800, seed=0))
    assert expected_calibration_error([(calibration(c), right) for c, right in held_out]) < 0.05


def test_order_is_kept_where_nothing_is_to_be_mended() -> None:
    """Equal confidences are one step, whatever the order of their outcomes."""
    outcomes = [(0.2, False)] * 10 + [(0.8, True)] * 9 + [(0.8, False)]
    calibration = Calibration.fit(outcomes)
    assert calibration == Calibration.fit(outcomes[::-1])
    assert calibration(0.2) == calibration(0.5) == pytest.approx(0.45 / 11)
    assert calibration(0.9) == pytest.approx(9.45 / 11)


def test_calibration_error_by_hand() -> None:
    """Two bins: one says .2 and has .5 right, the other says 1 and has all right."""
    outcomes = [(0.2, True), (0.2, False), (1.0, True), (1.0, True)]
    assert expected_calibration_error(outcomes, bins=2) == pytest.approx(0.15)


@pytest.mark.parametrize("precision", [0.6, 0.8])
def test_the_promised_precision_is_kept(precision: float) -> None:
    """Thresholds found on 400 tasks keep the promise on others, within two points on average over 40 splits."""
    kept: list[float] = []
    for seed in range(40):
        threshold = threshold_for(precision, overconfident(400, seed))
        given_answers = [right for c, right in overconfident(2000, 1000 + seed) if c >= threshold]
        kept.append(sum(given_answers) / len(given_answers))
    assert sum(kept) / len(kept) >= precision - 0.02


def test_no_threshold_can_promise_what_never_happens() -> None:
    """Where answers are never right, or too few to know, the advice is not to answer."""
    assert threshold_for(0.9, [(c / 10, False) for c in range(10)]) == math.inf
    assert threshold_for(0.9, [(0.9, True)]) == math.inf


def test_wrong_use() -> None:
    """Too little to learn from, or a promise that is none."""
    with pytest.raises(UsageError, match="at least 10"):
        Calibration.fit([(0.5, True)])
    with pytest.raises(UsageError, match="at least one"):
        expected_calibration_error([])
    with pytest.raises(UsageError, match=r"precision=1\.0"):
        threshold_for(1.0, [])
