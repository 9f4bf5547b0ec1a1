"""Small tools for fitting laws to counts: a minimum, a resampled interval, binomial tails."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where the true value lies with the stated confidence."""

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.estimate:.3g} ({self.low:.3g} to {self.high:.3g})"


def minimum(
    loss: Callable[[Sequence[float]], float], start: Sequence[float], *, step: float = 0.5, tolerance: float = 1e-4
) -> list[float]:
    """Return where a smooth function of a few parameters is least, near `start`.

    Pattern search (Hooke & Jeeves 1961) without its second move: each parameter is tried a step to both sides, and the steps
    are halved when none is better.
    """
    best, least = list(start), loss(start)
    while step > tolerance:
        improved = False
        for place in range(len(best)):
            for move in (step, -step):
                trial = [*best]
                trial[place] += move
                if (value := loss(trial)) < least:
                    best, least, improved = trial, value, True
                    break
        if not improved:
            step /= 2
    return best


def resampled(
    statistic: Callable[[Sequence[T]], float],
    data: Sequence[T],
    *,
    times: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic of `data` with its percentile interval over bootstrap samples (Efron 1979)."""
    rng = random.Random(seed)  # noqa: S311 - statistics
    values = sorted(statistic(rng.choices(data, k=len(data))) for _ in range(times))
    tail = (1 - confidence) / 2
    low, high = values[int(tail * times)], values[min(times - 1, int((1 - tail) * times))]
    return Interval(statistic(data), low, high, confidence)


def log_beta(a: float, b: float) -> float:
    """Return the logarithm of the beta function."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def at_most(successes: int, trials: int, chance: float) -> float:
    """Return the probability of at most `successes` in `trials` independent trials."""
    if chance <= 0:
        return 1.0
    if chance >= 1:
        return float(successes >= trials)
    odds = math.log(chance) - math.log1p(-chance)
    logs = [
        -math.log(trials + 1) - log_beta(j + 1, trials - j + 1) + j * odds + trials * math.log1p(-chance)
        for j in range(min(successes, trials) + 1)
    ]
    return min(1.0, math.fsum(map(math.exp, logs)))


def solve(rising: Callable[[float], float], target: float) -> float:
    """Return the probability in [0, 1] at which a rising function of it reaches `target`."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2
