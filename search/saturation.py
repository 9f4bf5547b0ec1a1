"""Stopping where further trajectories would add next to nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import ClassVar, Self

from ..core.errors import UsageError
from ..core.events import Event, Expanded, Judged
from ..core.tree import TreeView
from ..core.types import NodeId
from .common import within
from .controller import Controller
from .coverage import Tally, coverage
from .estimation import Interval

RECENT = 128
"""A search's law is fitted to so many trajectories, the latest."""

BADLY = 0.1
"""A search says so where the law is off by more than this anywhere."""

MISFIT = 2.0
"""A law whose prediction is off by more than so many standard errors is said to be wrong."""


@dataclass(frozen=True, slots=True)
class SaturationLaw:
    """What n independent trajectories reach: F(n) = ceiling * (1 - (1 - chance)^n).

    Wang et al. (2025), Scaling over Scaling, for parallel samples and for sequential rethinking
    alike.

    Args:
        ceiling: what infinitely many would reach, in [0, 1].
        chance: that one trajectory gets there, where it can be got to, in (0, 1).
    """

    ceiling: float
    chance: float

    def at(self, n: float) -> float:
        """Return what n trajectories reach."""
        return self.ceiling * -math.expm1(n * math.log1p(-self.chance))

    def gain(self, n: int) -> float:
        """Return what the n-th trajectory adds."""
        return self.ceiling * self.chance * math.exp((n - 1) * math.log1p(-self.chance))

    def saturation(self, epsilon: float) -> int:
        """Return the number of the first trajectory that adds less than `epsilon`: N*.

        ceil(1 + ln(epsilon / (ceiling * chance)) / ln(1 - chance)), and 1 where already the first one adds less.
        """
        first = self.ceiling * self.chance
        if first < epsilon:
            return 1
        exact = 1 + math.log(epsilon / first) / math.log1p(-self.chance)
        n = max(1, math.ceil(exact - 1e-9))
        return n if self.gain(n) < epsilon else n + 1

    @classmethod
    def through(cls, curve: Sequence[float]) -> Self:
        """Return the law that fits a curve best by least squares; `curve[0]` is what one trajectory reaches.

        For every chance the best ceiling is known; the chance is found on a grid of logarithms, then between its neighbours.
        """
        grid = [math.exp(-7 + 7 * step / 70) * 0.999 for step in range(71)]
        chance = min(grid, key=lambda p: _misfit(curve, p)[0])
        for width in (0.05, 0.01, 0.002):
            nearby = [min(0.999, max(1e-4, chance * (1 + width * step))) for step in range(-4, 5)]
            chance = min(nearby, key=lambda p: _misfit(curve, p)[0])
        return cls(_misfit(curve, chance)[1], chance)

    @classmethod
    def fit(cls, tallies: Sequence[Tally]) -> Self:
        """Return the law of a set of problems: of their coverage by 1 to n samples, n the least that a problem has.

        Raises:
            UsageError: there are no problems.
        """
        most = min((samples for samples, _ in tallies), default=0)
        if not most:
            raise UsageError("no law fits no samples; give (samples, right) of at least one problem")
        return cls.through([coverage(tallies, k) for k in range(1, most + 1)])


def _misfit(curve: Sequence[float], chance: float) -> tuple[float, float]:
    """Return the sum of squared residuals with the best ceiling up to 1, and that ceiling."""
    keep = 1 - chance
    cross = square = total = 0.0
    left = 1.0
    for value in curve:
        left *= keep
        shape = 1 - left
        cross += shape * value
        square += shape * shape
        total += value * value
    ceiling = min(1.0, cross / square) if square else 0.0
    return total - 2 * ceiling * cross + ceiling * ceiling * square, ceiling


def systematic_misfit(tallies: Sequence[Tally], *, times: int = 100, seed: int = 0) -> bool:
    """Return whether one law for all problems is wrong in a way that chance does not explain.

    A law is fitted to the first half of the samples and predicts all of them. Where problems differ in difficulty the misses
    fall ever more slowly, which one chance for all cannot do (Jensen's inequality): it promises too much. Then fit problems
    of like difficulty apart, or `BetaCoverage`. The standard error is that of problems drawn anew.
    """
    most = min(samples for samples, _ in tallies)
    half = max(1, most // 2)

    def excess(drawn: Sequence[Tally]) -> float:
        law = SaturationLaw.through([coverage(drawn, k) for k in range(1, half + 1)])
        return law.at(most) - coverage(drawn, most)

    rng = random.Random(seed)  # noqa: S311 - statistics
    again = [excess(rng.choices(tallies, k=len(tallies))) for _ in range(times)]
    mean = sum(again) / times
    error = math.sqrt(sum((value - mean) ** 2 for value in again) / (times - 1))
    return abs(excess(tallies)) > MISFIT * max(error, 1e-9)


def expected_best(values: Sequence[float]) -> list[float]:
    """Return for k = 1 to n the mean over all ways to take k of n values of the largest: `pass_at_k` for any scores."""
    ranked = sorted(values, reverse=True)
    n = len(ranked)
    curve: list[float] = []
    for k in range(1, n + 1):
        # The i-th largest of all is the largest of k where the other k-1 are among the n-i below it.
        share, mean = k / n, 0.0
        for place, value in enumerate(ranked):
            mean += share * value
            below = n - 1 - place
            share *= max(0, below - k + 1) / below if below else 0.0
        curve.append(mean)
    return curve


@dataclass
class Saturation(Controller):
    """Run a strategy until a further trajectory is expected to add less than `epsilon`.

    While it runs it fits `SaturationLaw` to the scores of the trajectories that are over: what the best of k of them scores, for
    every k. It stops at the law's N*, the first trajectory whose gain is below `epsilon`. The result's stop detail says what
    was estimated, with an interval, and whether scores spread so that the law does not hold.

    A trajectory is over where it has an answer and was judged. Scores that say little about the truth saturate all the same: the
    ceiling is that of the scores. Trajectories that learn from others break the law, which takes them for independent.

    Args:
        inner: the strategy.
        epsilon: least gain of the best score that is worth a trajectory, in (0, 1).
        least: trajectories before any estimate is trusted, >= 2.
    """

    name: ClassVar[str] = "saturation"
    epsilon: float = 0.01
    least: int = 4
    _open: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Answers that wait for their verdicts."""
    _scores: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """What each trajectory that is over scored last."""
    _law: SaturationLaw | None = field(default=None, init=False, repr=False)
    _fitted: int = field(default=0, init=False, repr=False)
    """Trajectories that were over when the law was fitted last."""

    def __post_init__(self) -> None:
        within("epsilon", self.epsilon, 1e-6, 0.999)
        within("least", self.least, 2)

    def closed(self, view: TreeView) -> bool:  # noqa: ARG002 - the base's signature
        """Whether as many trajectories are over as the law says."""
        return self._law is not None and len(self._scores) >= self._law.saturation(self.epsilon)

    def heard(self, event: Event, view: TreeView) -> None:
        """Count trajectories that are over by their scores."""
        match event:
            case Expanded(_, node) if node.answer is not None:
                self._open[node.id] = None
            case Judged(_, node) if node in self._open or node in self._scores:
                self._open.pop(node, None)
                value = view.value(node)
                self._scores[node] = 0.0 if value is None else value
                due = max(self.least, len(self._scores) if len(self._scores) < RECENT else ceil(1.05 * self._fitted))
                if len(self._scores) >= due:
                    self._fitted = len(self._scores)
                    self._law = estimated(self._recent())
            case _:
                pass

    def _recent(self) -> list[float]:
        return list(islice(reversed(self._scores.values()), RECENT))

    def why_over(self, view: TreeView) -> str:
        """Return what was estimated, where that is why."""
        if not self.closed(view) or self._law is None:
            return super().why_over(view)
        law, scores = self._law, self._recent()
        reach = number_interval(scores, self.epsilon)
        curve = expected_best(scores)
        off = max(abs(law.at(k) - value) for k, value in enumerate(curve, 1))
        warning = (
            f"; the law fits badly (off by {off:.2f}): trajectories differ in kind, and more may give more than it says"
            if off > max(BADLY, 2 * self.epsilon)
            else ""
        )
        return (
            f"saturated after {len(self._scores)} trajectories: a further one is expected to add less than {self.epsilon:g} to the best "
            f"score (N* = {reach.estimate:.0f}, {reach.low:.0f} to {reach.high:.0f}; ceiling {law.ceiling:.2f}, chance "
            f"{law.chance:.2g} each){warning}"
        )


def estimated(scores: Sequence[float]) -> SaturationLaw:
    """Return the law of a number of trajectories. Where none scored anything, one in n + 2 is assumed to (Laplace's rule)."""
    if not any(scores):
        return SaturationLaw(1.0, 1 / (len(scores) + 2))
    return SaturationLaw.through(expected_best(scores))


def number_interval(scores: Sequence[float], epsilon: float, *, times: int = 50, seed: int = 0) -> Interval:
    """Return N* with its percentile interval over trajectories drawn anew."""
    rng = random.Random(seed)  # noqa: S311 - statistics
    numbers = sorted(estimated(rng.choices(scores, k=len(scores))).saturation(epsilon) for _ in range(times))
    found = estimated(scores).saturation(epsilon)
    return Interval(found, min(found, numbers[times // 40]), max(found, numbers[times - 1 - times // 40]))
