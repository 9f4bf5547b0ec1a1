"""A mixture of two Weibull distributions fitted to likelihoods, in log space: those of long texts underflow otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDS = 200
"""Most rounds of expectation and maximisation."""

ENOUGH = 1e-7
"""The fit is done where a round improves the mean log-likelihood by less."""

NEWTON_STEPS = 30

SHAPES = (0.02, 50.0)
"""Bounds of a shape: what is steeper fits a single value."""


@dataclass(frozen=True, slots=True)
class Weibull:
    """One component. Its variable is x > 0, given as log x."""

    shape: float
    log_scale: float

    def log_density(self, log_x: float) -> float:
        """Log of the density over log x, which differs from that over x by a factor that all components share."""
        z = self.shape * (log_x - self.log_scale)
        return math.log(self.shape) + z - math.exp(min(z, 700.0))

    @property
    def log_mean(self) -> float:
        """Log of the mean of x."""
        return self.log_scale + math.lgamma(1 + 1 / self.shape)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Two components; `good` has the larger mean."""

    good: Weibull
    bad: Weibull
    weight: float
    """Of the good one."""

    def prefers_good(self, log_x: float) -> bool:
        """Whether a value is at least as probably the good component's."""
        good = math.log(self.weight) + self.good.log_density(log_x)
        return good >= math.log(1 - self.weight) + self.bad.log_density(log_x)


def fit_mixture(logs: Sequence[float], *, least_weight: float = 0.2) -> Mixture | None:
    """Return the mixture of maximum likelihood by expectation and maximisation (Dempster et al. 1977).

    Args:
        logs: logarithms of the values.
        least_weight: neither component may have less of the whole, in (0, .5).

    Returns:
        None where there is nothing to tell apart: fewer than two different values.
    """
    if len(set(logs)) < 2:
        return None
    ordered = sorted(logs)
    middle = len(ordered) // 2
    halves = [_fit(part, [1.0] * len(part)) for part in (ordered[middle:], ordered[:middle])]
    upper, lower, weight, before = halves[0], halves[1], 0.5, -math.inf
    for _ in range(ROUNDS):
        shares: list[float] = []
        likelihood = 0.0
        for x in logs:
            a = math.log(weight) + upper.log_density(x)
            b = math.log(1 - weight) + lower.log_density(x)
            top = max(a, b)
            total = top + math.log(math.exp(a - top) + math.exp(b - top))
            shares.append(math.exp(a - total))
            likelihood += total
        weight = min(1 - least_weight, max(least_weight, math.fsum(shares) / len(logs)))
        upper = _fit(logs, shares, upper.shape)
        lower = _fit(logs, [1 - share for share in shares], lower.shape)
        if likelihood - before < ENOUGH * len(logs):
            break
        before = likelihood
    if upper.log_mean >= lower.log_mean:
        return Mixture(upper, lower, weight)
    return Mixture(lower, upper, 1 - weight)


def _fit(logs: Sequence[float], weights: Sequence[float], start: float = 1.0) -> Weibull:
    """Return the component of maximum likelihood for weighted values.

    The shape k solves sum(w x^k log x) / sum(w x^k) - 1/k = sum(w log x) / sum(w), whose left side rises with k. It is sought
    from `start` on.
    """
    total = math.fsum(weights)
    if total <= 0.0:
        return Weibull(1.0, max(logs))
    mean = math.fsum(w * x for w, x in zip(weights, logs, strict=True)) / total
    top = max(logs)
    least, most = (math.log(bound) for bound in SHAPES)
    log_shape = math.log(start)
    for _ in range(NEWTON_STEPS):
        shape = math.exp(log_shape)
        powers = [w * math.exp(shape * (x - top)) for w, x in zip(weights, logs, strict=True)]
        whole = max(sum(powers), 1e-300)
        first = sum(p * x for p, x in zip(powers, logs, strict=True)) / whole
        second = sum(p * (x - first) ** 2 for p, x in zip(powers, logs, strict=True)) / whole
        # Newton's step in the logarithm of the shape, at most by a factor of e.
        step = (first - 1 / shape - mean) / (shape * second + 1 / shape)
        log_shape = min(most, max(least, log_shape - min(1.0, max(-1.0, step))))
        if abs(step) < 1e-6:
            break
    shape = math.exp(log_shape)
    powers = [w * math.exp(shape * (x - top)) for w, x in zip(weights, logs, strict=True)]
    return Weibull(shape, top + math.log(max(math.fsum(powers), 1e-300) / total) / shape)
