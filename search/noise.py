"""How noisy each verifier is, estimated from its own verdicts while a search runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.types import Verdict

PRIOR_VARIANCE = 0.01
"""What a call's noise is taken for before anything was measured: a standard deviation of .1. Weighs one repetition."""

EXACT_VARIANCE = 1e-6
"""For verifiers that give the same value every time; not 0, so that nothing is divided by it."""

ENOUGH_AGREEMENT = 2.0
"""Repetitions with exactly the same value after which a verifier counts as one that repeats itself."""


OVERHANG = 0.6
"""Mean of the part of a normal distribution beyond a boundary near its middle, in its standard deviations: .5 to .8."""


@dataclass(slots=True)
class Readings:
    """What one verifier said about one node: count, mean and sum of squared deviations (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    cut: int = 0
    """Values at the upper end of the scale less those at the lower one."""

    def add(self, value: float) -> None:
        """Take one more value in."""
        self.cut += _end(value)
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.squares += step * (value - self.mean)


def _end(value: float) -> int:
    return (value >= 1.0) - (value <= 0.0)


@dataclass(slots=True)
class Judge:
    """What is known of one verifier.

    A verifier is *exact* where it says so by the integrity of its verdicts (it executed something), and *fixed* where it
    repeats itself to the last digit: asking either twice is a waste. A fixed one may be wrong in the same way every time.

    Noise that would lead beyond the ends of the scale is cut off there, which makes the best nodes look worse and the noise
    smaller than they are. A value at an end therefore counts as `OVERHANG` standard deviations beyond it.
    """

    exact: bool = False
    squares: float = 0.0
    repetitions: int = 0
    agreement: float = 0.0
    differed: bool = False
    inner: int = 0
    """Verdicts so far that lay strictly between the ends of the scale."""
    verdicts: int = 0

    @property
    def fixed(self) -> bool:
        """Whether its repetitions never differed, and there were enough."""
        return not self.differed and self.agreement >= ENOUGH_AGREEMENT

    @property
    def repeatable(self) -> bool:
        """Whether asking it again about the same node can tell anything."""
        return not self.exact and not self.fixed

    @property
    def variance(self) -> float:
        """Variance of one call's noise: pooled over nodes that were judged repeatedly, with a weak prior."""
        if not self.repeatable:
            return EXACT_VARIANCE
        return max(EXACT_VARIANCE, (self.squares + PRIOR_VARIANCE) / (self.repetitions + 1))

    @property
    def overhang(self) -> float:
        """By how much a value at an end of the scale is moved beyond it; 0 for one that only says yes and no."""
        if not self.differed or 2 * self.inner < self.verdicts:
            return 0.0
        return OVERHANG * math.sqrt(self.variance)

    def mean(self, readings: Readings) -> float:
        """Return the mean of what it said about a node, values at the ends moved."""
        return readings.mean + self.overhang * readings.cut / readings.count

    def take(self, verdict: Verdict, readings: Readings) -> None:
        """Take a verdict in, and put it to the `readings` of its node.

        A repetition at the end of the scale says little, for noise is cut off there: it counts a quarter.
        """
        self.exact = self.exact or verdict.integrity is not None
        self.verdicts += 1
        self.inner += 0.0 < verdict.value < 1.0
        if readings.count == 0:
            readings.add(verdict.value)
            return
        first, before, count = readings.mean, self.mean(readings), readings.count
        readings.add(verdict.value)
        self.repetitions += 1
        if readings.squares > 1e-18:
            self.differed = True
        else:
            self.agreement += 1.0 if 0.0 < first < 1.0 else 0.25
        moved = verdict.value + self.overhang * _end(verdict.value)
        self.squares += (moved - before) ** 2 * count / (count + 1)
