"""What particles are weighted by: Feynman-Kac potentials of a trajectory's rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["prob", "odds", "ratio", "difference", "max", "sum", "reward"]
KINDS: tuple[Kind, ...] = ("prob", "odds", "ratio", "difference", "max", "sum", "reward")

EDGE = 1e-7
"""Rewards are kept so far away from 0 and 1, where logarithms end."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The potentials of a prefix, in logarithms."""

    total: float = 0.0
    """Of all its steps together: what a particle that came here without resampling has gained."""
    most: float = 0.0
    """The highest reward so far."""
    added: float = 0.0
    """Sum of rewards so far."""


def extend(trace: Trace, reward: float, kind: Kind, strength: float, *, ends: bool) -> Trace:
    """Return the potentials of a prefix that is one step longer.

    With p the policy's probability of a trajectory and r_t the reward after step t, the targets are: `prob` p * prod r_t, `odds`
    p * prod r_t / (1 - r_t), which the public particle code aims at, `ratio` p * r_T, and all others p * exp(strength * r_T).
    Singhal et al. (2025), A General Framework for Inference-time Scaling and Steering of Diffusion Models, section 4.1, have
    the last four; `max`, `sum` and `reward` are only right with the correction in the last step, which is made here.

    Args:
        trace: of the prefix without the step.
        reward: in [0, 1].
        kind: which potentials.
        strength: how much rewards count, >= 0; `prob`, `odds` and `ratio` have none.
        ends: whether the trajectory ends here.
    """
    clipped = min(1.0 - EDGE, max(EDGE, reward))
    most, added = max(trace.most, reward), trace.added + reward
    match kind:
        case "prob":
            total = trace.total + math.log(clipped)
        case "odds":
            total = trace.total + math.log(clipped / (1.0 - clipped))
        case "ratio":
            total = math.log(clipped)
        case "difference":
            total = strength * reward
        case _ if ends:
            total = strength * reward
        case "max":
            total = trace.total + strength * most
        case "sum":
            total = trace.total + strength * added
        case "reward":
            total = trace.total + strength * reward
    return Trace(total, most, added)


def normalised(logs: list[float]) -> tuple[list[float], float]:
    """Return weights that add up to 1, and the logarithm of what they were on average."""
    top = max(logs)
    weights = [math.exp(log - top) for log in logs]
    total = sum(weights)
    return [weight / total for weight in weights], top + math.log(total / len(logs))
