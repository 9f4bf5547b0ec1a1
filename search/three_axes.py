"""Which of three axes a budget of tokens goes to: longer calls, larger batches, or more turns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from ..core.errors import UsageError
from .common import within
from .turns import Turns


@dataclass(frozen=True, slots=True)
class Saturating:
    """What an axis yields by itself: most * (1 - exp(-x / scale)).

    Args:
        most: the share of tasks that it can solve at all, in [0, 1].
        scale: where 63 % of that are solved, in the axis's own unit, > 0.
    """

    most: float
    scale: float

    def __post_init__(self) -> None:
        within("most", self.most, 0.0, 1.0)
        within("scale", self.scale, 1e-9)

    def __call__(self, x: float) -> float:
        """Return the share of tasks solved at `x`."""
        return self.most * -math.expm1(-x / self.scale)

    @classmethod
    def fit(cls, points: Sequence[tuple[float, float]]) -> Self:
        """Return the curve closest to (x, share solved) by least squares; `most` has a closed form for every `scale`.

        Raises:
            UsageError: fewer than two different x, or one that is not positive.
        """
        if len({x for x, _ in points}) < 2 or min(x for x, _ in points) <= 0:
            raise UsageError(f"{len(points)} points do not make a curve; give shares at two or more different x > 0")
        low, high = min(x for x, _ in points) / 10, max(x for x, _ in points) * 10
        fits = [cls._given(low * (high / low) ** (step / 400), points) for step in range(401)]
        return min(fits, key=lambda curve: sum((curve(x) - share) ** 2 for x, share in points))

    @classmethod
    def _given(cls, scale: float, points: Sequence[tuple[float, float]]) -> Self:
        basis = [-math.expm1(-x / scale) for x, _ in points]
        most = sum(b * share for b, (_, share) in zip(basis, points, strict=True)) / sum(b * b for b in basis)
        return cls(min(1.0, max(0.0, most)), scale)


@dataclass(frozen=True, slots=True)
class Allocation:
    """How a budget is spent."""

    context: int
    """Tokens of a call."""
    batch: int
    turns: int
    gain: float
    """What is expected of it."""

    @property
    def tokens(self) -> int:
        """What it costs at most."""
        return self.context * self.batch * self.turns

    def strategy(self) -> Turns:
        """Return the search that spends it so, one call for each trajectory."""
        return Turns(self.turns, self.batch, self.context)


Gain = Callable[[int, int, int], float]
"""What is expected of so many tokens of context, samples of a batch, and turns."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What three axes yield together: a task is solved where one of them gets it, each by itself.

    Args:
        context: by tokens of a call.
        batch: by samples of a batch.
        turns: by turns.
    """

    context: Saturating
    batch: Saturating
    turns: Saturating

    def __call__(self, context: int, batch: int, turns: int) -> float:
        """Return the share of tasks expected to be solved."""
        missed = (1 - self.context(context)) * (1 - self.batch(batch)) * (1 - self.turns(turns))
        return 1 - missed


def allocate(gain: Gain, tokens: int, *, least_context: int = 256) -> Allocation:
    """Return how to spend `tokens`, each axis a power of two (times `least_context`): the best gain for each further token first.

    An increment is one axis doubled, once or twice, or two axes at once, so that a step that pays only together with another
    one is seen. When nothing more fits, factors are moved from one axis to another as long as that gains something. Not exact: its
    gain is within a few per cent of the best.

    Args:
        gain: rises with every axis.
        tokens: the budget.
        least_context: tokens of the shortest call.

    Raises:
        UsageError: the budget is smaller than one call.
    """
    if tokens < least_context:
        raise UsageError(f"tokens={tokens} is less than one call; give at least least_context={least_context}")
    best = here = Allocation(least_context, 1, 1, gain(least_context, 1, 1))
    while True:
        steps = [step for step in _increments(here, gain) if step.tokens <= tokens]
        if not steps:
            return _exchanged(best, gain, tokens, least_context)
        best = max(best, *steps, key=lambda step: (step.gain, -step.tokens))
        here = max(steps, key=lambda step: (step.gain - here.gain) / (step.tokens - here.tokens))


def _increments(here: Allocation, gain: Gain) -> list[Allocation]:
    found: list[Allocation] = []
    for context, batch, turns in _FACTORS:
        axes = here.context * context, here.batch * batch, here.turns * turns
        found.append(Allocation(*axes, gain(*axes)))
    return found


def _exchanged(best: Allocation, gain: Gain, tokens: int, least_context: int) -> Allocation:
    """Return the best that halving one axis and doubling another, as often as wanted, again and again, leads to."""
    while True:
        nearby = [Allocation(*axes, gain(*axes)) for axes in _exchanges(best, tokens, least_context)]
        found = max(nearby, key=lambda step: step.gain, default=best)
        if found.gain <= best.gain + 1e-12:
            return best
        best = found


def _exchanges(here: Allocation, tokens: int, least_context: int) -> Iterator[tuple[int, int, int]]:
    axes = (here.context, here.batch, here.turns)
    for less, more in itertools.permutations(range(3), 2):
        lowered = list(axes)
        while lowered[less] // 2 >= (least_context if less == 0 else 1):
            lowered[less] //= 2
            raised = list(lowered)
            while math.prod(raised) * 2 <= tokens:
                raised[more] *= 2
                yield raised[0], raised[1], raised[2]


_FACTORS = [
    (context, batch, turns)
    for context in (1, 2, 4)
    for batch in (1, 2, 4)
    for turns in (1, 2, 4)
    if 1 < context * batch * turns <= 4
]
