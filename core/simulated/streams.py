"""Simulated streams for what is calibrated: scores and outcomes that are exchangeable, until they drift."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

Rng = random.Random


@dataclass(frozen=True)
class CalibrationStream:
    """Tasks one after the other, each with a score of how unlike the others it is and a confidence that is off by a known map.

    Scores are standard normal and independent, so that before any drift every order of them is equally probable, and the chance
    of a score below any bound is exact. Confidences are uniform, and an answer is right with the chance `confidence ** skew`.

    Args:
        seed: which stream it is.
        skew: above 1 confidences are too high, below 1 too low, 1 is calibrated.
        drifts_at: from this task on the stream is another one; None never.
        shift: by how much scores are moved after the drift.
        skew_after: the skew after the drift.
    """

    seed: int
    skew: float = 2.0
    drifts_at: int | None = None
    shift: float = 1.0
    skew_after: float = 4.0

    def drifted(self, task: int) -> bool:
        """Whether a task, from 0, comes after the drift."""
        return self.drifts_at is not None and task >= self.drifts_at

    def scores(self, count: int) -> Iterator[float]:
        """Yield the scores of the first tasks."""
        rng = Rng(f"{self.seed} scores")
        for task in range(count):
            yield rng.gauss(self.shift if self.drifted(task) else 0.0, 1.0)

    def below(self, bound: float, task: int = 0) -> float:
        """Return the exact chance that the score of a task is at most `bound`."""
        return NormalDist(self.shift if self.drifted(task) else 0.0).cdf(bound)

    def rate(self, confidence: float, task: int = 0) -> float:
        """Return the exact chance that an answer with this confidence is right."""
        return math.pow(confidence, self.skew_after if self.drifted(task) else self.skew)

    def outcomes(self, count: int) -> Iterator[tuple[float, bool]]:
        """Yield confidence and rightness of the first tasks."""
        rng = Rng(f"{self.seed} outcomes")
        for task in range(count):
            confidence = rng.random()
            yield confidence, rng.random() < self.rate(confidence, task)
