"""Choosing again and again among a few ways of doing something, by what came of them so far: upper confidence bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

from ..core.errors import UsageError
from .common import within


@dataclass(frozen=True, slots=True)
class Arm:
    """What is known of one way.

    Args:
        pulls: how often it was taken.
        total: sum of what came of it, each in [0, 1].
        failures: how often it was taken right after a round that had failed.
        recoveries: how often it then did better than that round.
    """

    pulls: int = 0
    total: float = 0.0
    failures: int = 0
    recoveries: int = 0

    @property
    def mean(self) -> float:
        """What it brings on average; 0 before it was taken."""
        return self.total / self.pulls if self.pulls else 0.0

    def after(self, reward: float, before: float | None = None) -> Arm:
        """Return the arm after one more round.

        Args:
            reward: what came of it.
            before: what came of the round before, where that one had failed.
        """
        failed = before is not None
        better = before is not None and reward > before
        return Arm(self.pulls + 1, self.total + reward, self.failures + failed, self.recoveries + better)


def tally(names: Sequence[str], rounds: Sequence[tuple[str, float]], good: float = 1.0) -> dict[str, Arm]:
    """Return what rounds tell of each arm.

    Args:
        names: of all arms.
        rounds: the arm and what came of it, oldest first.
        good: a round with less has failed.
    """
    arms = dict.fromkeys(names, Arm())
    before: float | None = None
    for name, reward in rounds:
        arms[name] = arms[name].after(reward, before)
        before = reward if reward < good else None
    return arms


@dataclass(frozen=True)
class UCB:
    """Take the arm with the highest upper confidence bound: what it brought, and what it might bring.

    UCB1 (Auer et al. 2002) with the terms of the selection agent in PlanGEN (2025)::

        mean + exploration * sqrt(2 ln(T + 1) / max(N, 1)) + prior * suits / (N + 1) + diversity / (N + 1)
             + recovery * recoveries / failures

    where the arm was taken N of T times. The paper names the terms and not their weights: these are ours. Without a prior every
    arm is tried once first, as in UCB1; with one an arm need not be tried at all, since a handful of rounds is all that one task
    gets. What is thought of an arm beforehand fades as it is taken (progressive bias, Chaslot et al. 2008), so that a wrong
    opinion is overcome.

    Args:
        exploration: weight of what is not known, >= 0; 1 is UCB1.
        prior: weight of how well an arm is thought to suit, >= 0; 0 leaves it out.
        diversity: weight of having been taken seldom, >= 0.
        recovery: weight of how often the arm did better right after a round that had failed, >= 0.

    Raises:
        UsageError: a weight is negative.
    """

    exploration: float = 1.0
    prior: float = 2.0
    diversity: float = 0.0
    recovery: float = 0.0

    def __post_init__(self) -> None:
        for name in ("exploration", "prior", "diversity", "recovery"):
            within(name, getattr(self, name), 0.0)

    def choose(self, arms: Mapping[str, Arm], suits: Mapping[str, float] | None = None) -> str:
        """Return the arm to take; of equal ones the first.

        Args:
            arms: what is known of each.
            suits: how well each is thought to suit, in [0, 1]; nothing is thought of those left out.

        Raises:
            UsageError: there are no arms.
        """
        bounds = self.bounds(arms, suits)
        if not bounds:
            raise UsageError("there is nothing to choose from; give at least one arm")
        return max(bounds, key=lambda name: bounds[name])

    def bounds(self, arms: Mapping[str, Arm], suits: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the upper confidence bound of each arm; infinite for one that is to be tried first."""
        told: Mapping[str, float] = {} if suits is None or self.prior == 0 else suits
        rounds = sum(arm.pulls for arm in arms.values())
        return {
            name: float("inf") if not told and arm.pulls == 0 else self._bound(arm, rounds, told.get(name, 0.0))
            for name, arm in arms.items()
        }

    def _bound(self, arm: Arm, rounds: int, suits: float) -> float:
        recovers = arm.recoveries / arm.failures if arm.failures else 0.0
        return (
            arm.mean
            + self.exploration * sqrt(2 * log(rounds + 1) / max(1, arm.pulls))
            + (self.prior * suits + self.diversity) / (arm.pulls + 1)
            + self.recovery * recovers
        )
