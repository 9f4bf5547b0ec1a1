"""How often at least one of k samples is right, and what more samples would give."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ..core.errors import UsageError
from .estimation import Interval, log_beta, minimum, resampled

Tally = tuple[int, int]
"""A problem's number of samples and how many of them were right. The samples must be independent of each other."""


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the unbiased estimate of the chance that one of `k` samples is right: 1 - C(n-c, k) / C(n, k).

    Chen et al. (2021), Evaluating Large Language Models Trained on Code. Putting c/n into 1-(1-p)^k instead is too low.

    Raises:
        UsageError: `k` is not from 1 to `samples`, or `right` not from 0 to that.
    """
    if not 1 <= k <= samples or not 0 <= right <= samples:
        raise UsageError(f"pass_at_k({samples=}, {right=}, {k=}): k must be from 1, right from 0 to samples")
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def coverage(tallies: Sequence[Tally], k: int) -> float:
    """Return the mean of `pass_at_k` over problems.

    Raises:
        UsageError: there are no problems, or one has fewer than `k` samples.
    """
    if not tallies:
        raise UsageError("coverage of no problems; give (samples, right) of at least one")
    return sum(pass_at_k(samples, right, k) for samples, right in tallies) / len(tallies)


@dataclass(frozen=True, slots=True)
class BetaCoverage:
    """Coverage where problems' chances per sample are spread like Beta(a, b): c(k) = 1 - B(a, b + k) / B(a, b).

    The misses fall like k^-a in the end (Schaeffer et al. 2025, How do language models scale with sampling?), so it is the
    hard problems, of small `a`, that decide what many samples are worth. Samples must be independent: those of a search that
    learns from earlier ones are not.
    """

    a: float
    b: float

    @classmethod
    def fit(cls, tallies: Sequence[Tally]) -> Self:
        """Return the law under which the tallies are likeliest (beta-binomial).

        Raises:
            UsageError: fewer than ten problems, or none or all of the samples are right.
        """
        counts = Counter(_checked(tallies))

        # By mean and spread, which hardly depend on each other, unlike a and b.
        def law(place: Sequence[float]) -> tuple[float, float]:
            mean, size = 1 / (1 + math.exp(-place[0])), math.exp(place[1])
            return mean * size, (1 - mean) * size

        def loss(place: Sequence[float]) -> float:
            a, b = law(place)
            whole = log_beta(a, b)
            return -math.fsum(times * (log_beta(a + c, b + n - c) - whole) for (n, c), times in counts.items())

        return cls(*law(minimum(loss, (0.0, 0.5))))

    def at(self, k: float) -> float:
        """Return the coverage of `k` samples."""
        return 1 - math.exp(log_beta(self.a, self.b + k) - log_beta(self.a, self.b))

    @property
    def tail(self) -> float:
        """Slope of the misses over the number of samples in the end, both logarithmic."""
        return -self.a


@dataclass(frozen=True, slots=True)
class PowerCoverage:
    """Coverage by an exponentiated power law, c(k) = exp(a k^-b) with a < 0 (Brown et al. 2024, Large Language Monkeys)."""

    a: float
    b: float

    @classmethod
    def fit(cls, tallies: Sequence[Tally]) -> Self:
        """Return the law by least squares over powers of two, of the logarithm of minus the logarithm.

        Raises:
            UsageError: fewer than ten problems, or none or all of the samples are right.
        """
        checked = _checked(tallies)
        most = min(samples for samples, _ in checked)
        points: list[tuple[float, float]] = []
        for power in range(most.bit_length()):
            reached = coverage(checked, 1 << power)
            if reached < 1:
                points.append((power * math.log(2), math.log(-math.log(reached))))
        x = sum(x for x, _ in points) / len(points)
        y = sum(y for _, y in points) / len(points)
        spread = sum((px - x) ** 2 for px, _ in points)
        slope = sum((px - x) * (py - y) for px, py in points) / spread if spread else 0.0
        return cls(-math.exp(y - slope * x), -slope)

    def at(self, k: float) -> float:
        """Return the coverage of `k` samples."""
        return math.exp(self.a * k**-self.b)


def extrapolated(tallies: Sequence[Tally], k: int, *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the coverage of `k` samples by `BetaCoverage`, also beyond the samples there are, with a bootstrap interval.

    The interval is that of the problems drawn, given the law; where `BetaCoverage` and `PowerCoverage` differ by more, it is the
    law that is in doubt.

    Raises:
        UsageError: fewer than ten problems, or none or all of the samples are right.
    """
    checked = _checked(tallies)

    def at_k(drawn: Sequence[Tally]) -> float:
        rights = sum(right for _, right in drawn)
        if rights in (0, sum(samples for samples, _ in drawn)):
            return float(rights > 0)
        return BetaCoverage.fit(drawn).at(k)

    return resampled(at_k, checked, times=100, confidence=confidence, seed=seed)


def _checked(tallies: Sequence[Tally]) -> Sequence[Tally]:
    right, samples = sum(right for _, right in tallies), sum(samples for samples, _ in tallies)
    if len(tallies) < 10 or right in (0, samples):
        raise UsageError(
            f"{len(tallies)} problems with {right} of {samples} samples right tell no law; give at least 10 problems, some right "
            "and some wrong"
        )
    return tallies
