"""From what a search believes to how often such a belief turned out right."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Self

from ..core.errors import UsageError

Outcomes = Iterable[tuple[float, bool]]
"""Confidences that were reported for answers, and whether the answers were right."""


@dataclass(frozen=True)
class Calibration:
    """A rising step function from reported to true probabilities, fitted on tasks whose answers are known.

    Isotonic regression by pooling adjacent violators (Ayer et al. 1955; Zadrozny & Elkan 2002 for classifiers). Differs:
    every step is drawn towards the share of right answers over all tasks as if by one more task, so that no step says 0 or 1.

    Args:
        starts: where the steps begin, rising.
        rates: the probability on each step, rising.
        tasks: how many tasks it was fitted on.
    """

    starts: tuple[float, ...]
    rates: tuple[float, ...]
    tasks: int

    @classmethod
    def fit(cls, outcomes: Outcomes) -> Self:
        """Return the calibration that fits `outcomes` best: reported confidences and whether the answers were right.

        Use tasks like those to come, run with the same agent, search and budget, without a calibration.

        Raises:
            UsageError: fewer than ten outcomes.
        """
        pairs = sorted(outcomes)
        if len(pairs) < 10:
            raise UsageError(f"{len(pairs)} outcomes are too few to calibrate on; give at least 10, better 100")
        share = sum(right for _, right in pairs) / len(pairs)
        steps: list[tuple[float, float, int]] = []  # start, right answers, answers
        for confidence, same in groupby(pairs, key=itemgetter(0)):
            outcome = [right for _, right in same]
            step = (confidence, float(sum(outcome)), len(outcome))
            while steps and steps[-1][1] / steps[-1][2] >= step[1] / step[2]:
                before = steps.pop()
                step = (before[0], before[1] + step[1], before[2] + step[2])
            steps.append(step)
        rates = tuple((right + share) / (count + 1) for _, right, count in steps)
        return cls(tuple(start for start, _, _ in steps), tuple(_rising(rates)), len(pairs))

    def __call__(self, confidence: float) -> float:
        """Return the probability that an answer with this reported confidence is right."""
        return self.rates[max(0, bisect_right(self.starts, confidence) - 1)]


def _rising(rates: Iterable[float]) -> Iterable[float]:
    best = 0.0
    for rate in rates:
        best = max(best, rate)
        yield best


def expected_calibration_error(outcomes: Outcomes, bins: int = 10) -> float:
    """Return the mean distance between reported confidence and share of right answers, over bins of equally many tasks.

    Naeini et al. (2015). Differs: bins of equal mass, which do not depend on where confidences lie.

    Raises:
        UsageError: no outcomes.
    """
    pairs = sorted(outcomes)
    if not pairs:
        raise UsageError("no outcomes; give (confidence, right) of at least one task")
    error = 0.0
    for number in range(bins):
        part = pairs[number * len(pairs) // bins : (number + 1) * len(pairs) // bins]
        error += abs(sum(c for c, _ in part) - sum(right for _, right in part))
    return error / len(pairs)


def threshold_for(precision: float, outcomes: Sequence[tuple[float, bool]]) -> float:
    """Return the confidence below which to abstain so that the share of right answers among those given is `precision`.

    The lowest threshold that keeps (wrong + 1) / (given + 1) within 1 - `precision` on the outcomes: the correction of split
    conformal prediction (Vovk et al. 2005; Geifman & El-Yaniv 2017 for selective answers). It holds on average over tasks
    like these, not for every single set of them. Where no threshold does, it is infinite: never answer.

    Raises:
        UsageError: `precision` is no probability.
    """
    if not 0.0 < precision < 1.0:
        raise UsageError(f"precision={precision!r} must lie between 0 and 1, for example 0.9")
    best = math.inf
    wrong = 0
    ranked = sorted(outcomes, reverse=True)
    for given, (confidence, right) in enumerate(ranked, 1):
        wrong += not right
        last = given == len(ranked) or ranked[given][0] != confidence
        if last and (wrong + 1) / (given + 1) <= 1 - precision:
            best = confidence
    return best
