"""Sharing a budget of tokens among the parts of a task, by how hard they are and where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi
from typing import Literal, get_args

from ..core.errors import UsageError

Schedule = Literal["constant", "linear", "polynomial", "exponential", "cosine"]

LEVEL_TOKENS = {1: 200, 2: 250, 3: 350, 4: 450, 5: 600}
"""Tokens for a whole task by its level of difficulty."""


def schedule_weights(schedule: Schedule, parts: int) -> list[float]:
    """Return what each of a number of parts weighs by its place: the first ones more, for what follows rests on them.

    Lin et al. (2025), Plan and Budget, as in its public code: with i from 0 to N-1 constant 1, linear N-i, polynomial (N-i)^2,
    exponential 0.9^i, cosine 0.5 (1 + cos(pi i / (N-1))) + 0.1.

    Raises:
        UsageError: an unknown schedule, or no parts.
    """
    if schedule not in get_args(Schedule):
        raise UsageError(f"schedule={schedule!r} is unknown; it must be one of {', '.join(get_args(Schedule))}")
    if parts < 1:
        raise UsageError(f"parts={parts}: there must be at least one part to give tokens to")
    places = range(parts)
    match schedule:
        case "constant":
            return [1.0] * parts
        case "linear":
            return [float(parts - i) for i in places]
        case "polynomial":
            return [float((parts - i) ** 2) for i in places]
        case "exponential":
            return [0.9**i for i in places]
        case "cosine":
            return [0.5 * (1 + cos(pi * i / max(1, parts - 1))) + 0.1 for i in places]


def largest_remainder(total: int, weights: Sequence[float]) -> list[int]:
    """Return whole shares of `total` in proportion to `weights`: rounded down, what is left one by one to the heaviest.

    The shares add up to `total`, none is negative, and a heavier part never gets less. Weights that are all 0 count as equal.

    Raises:
        UsageError: a weight or the total is negative, or there are no weights.
    """
    if not weights or total < 0 or any(weight < 0 for weight in weights):
        raise UsageError(f"largest_remainder({total}, {list(weights)}): give weights, and nothing negative")
    whole = sum(weights)
    quotas = [total * weight / whole if whole else total / len(weights) for weight in weights]
    shares = [int(quota) for quota in quotas]
    heaviest = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    for i in heaviest[: total - sum(shares)]:
        shares[i] += 1
    return shares


def share_tokens(total: int, shares: Sequence[float], schedule: Schedule = "cosine") -> list[int]:
    """Return the tokens of every part: its credit times the schedule's weights, by the largest remainder.

    Args:
        total: tokens for all of them.
        shares: how much each part deserves, its credit, >= 0.
        schedule: what a part's place is worth.
    """
    weights = schedule_weights(schedule, len(shares))
    return largest_remainder(total, [credit * weight for credit, weight in zip(shares, weights, strict=True)])


def efficiency(accuracy: float, mean_tokens: float, *, exponent: float = 2.0) -> float:
    """Return accuracy^exponent / tokens: the paper's E3, which counts accuracy more than thrift.

    Raises:
        UsageError: no tokens were used.
    """
    if mean_tokens <= 0:
        raise UsageError(f"mean_tokens={mean_tokens!r} must be positive")
    return float(accuracy**exponent) / mean_tokens
