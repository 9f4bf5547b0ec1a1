"""Whether short trajectories are the right ones: what must be known before the first to finish may win."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ..core.errors import UsageError
from ..core.tree import TreeView
from .equivalence import Same, equal
from .voting import answered, length_tokens

SURE = 1.645
"""Standard errors by which right trajectories must be shorter: one-sided, at 95 %."""

LEAST_PAIRS = 20
"""So many right and so many wrong trajectories at least, over all tasks."""


@dataclass(frozen=True)
class Shortness:
    """How rightness goes with length, on tasks whose answers are known.

    Compared within each task (Mann & Whitney 1947, stratified): that hard tasks make long trajectories, and wrong ones, says
    nothing about which trajectory of a task is right.

    Args:
        orders: for every task its trajectories from the shortest to the longest, "1" for a right and "0" for a wrong one.
    """

    orders: tuple[str, ...]

    @classmethod
    def of(cls, outcomes: Iterable[Iterable[tuple[float, bool]]]) -> Self:
        """Return what known tasks tell.

        Args:
            outcomes: for every task, length and rightness of its trajectories; about ten trajectories of thirty tasks will do.

        Raises:
            UsageError: fewer than 20 right or 20 wrong trajectories.
        """
        tasks = [sorted(task) for task in outcomes]
        right = sum(well for task in tasks for _, well in task)
        wrong = sum(map(len, tasks)) - right
        if min(right, wrong) < LEAST_PAIRS:
            raise UsageError(
                f"{right} right and {wrong} wrong trajectories tell too little about their lengths; give at least "
                f"{LEAST_PAIRS} of each, from tasks that are solved sometimes"
            )
        # `sorted` puts the wrong ones of equal length first, which errs on the side of caution.
        return cls(tuple("".join("01"[well] for _, well in task) for task in tasks))

    @classmethod
    def of_runs(cls, runs: Iterable[tuple[TreeView, str]], same: Same = "text") -> Self:
        """Return what finished runs of many trajectories tell, for example of `SelfConsistency`: each tree with the right answer.

        Raises:
            UsageError: fewer than 20 right or 20 wrong trajectories.
        """
        return cls.of(
            [(length_tokens(node, view), equal(node.answer, right, same)) for node in answered(view)]
            for view, right in runs
        )

    @property
    def advantage(self) -> float:
        """Probability that of a right and a wrong trajectory of the same task the right one is shorter."""
        wins = sum(_wins(order) for order in self.orders)
        return wins / max(1, sum(order.count("1") * order.count("0") for order in self.orders))

    @property
    def z(self) -> float:
        """By how many standard errors right trajectories are shorter; negative where they are longer."""
        sizes = [(order.count("1"), order.count("0")) for order in self.orders]
        excess = sum(_wins(order) - a * b / 2 for order, (a, b) in zip(self.orders, sizes, strict=True))
        variance = sum(a * b * (a + b + 1) / 12 for a, b in sizes)
        return excess / math.sqrt(variance) if variance > 0 else 0.0

    def first_of(self, n: int) -> float:
        """Return how often the shortest of `n` trajectories would have been right, exactly, over all draws without replacement.

        Tasks with fewer than `n` trajectories are taken as a whole.
        """
        chances = [_first(order, min(n, len(order))) for order in self.orders if order]
        return math.fsum(chances) / len(chances)

    def require(self, method: str) -> None:
        """Check that shorter is righter.

        Raises:
            UsageError: it is not, as far as this tells; the message has the figures.
        """
        if self.z < SURE:
            raise UsageError(
                f"{method} is refused: on {len(self.orders)} known tasks a right trajectory was shorter than a wrong one of the same "
                f"task in {self.advantage:.0%} of pairs ({self.z:+.1f} standard errors, {SURE} needed), and the shortest of 8 was "
                f"right in {self.first_of(8):.0%} against {self.first_of(1):.0%} for a single one; use SelfConsistency instead"
            )


def _wins(order: Sequence[str]) -> int:
    """How many pairs have the right trajectory before the wrong one."""
    right = wins = 0
    for outcome in order:
        if outcome == "1":
            right += 1
        else:
            wins += right
    return wins


def _first(order: str, n: int) -> float:
    """How often the first of `n` drawn from an ordered row is right."""
    size = len(order)
    chances = (math.comb(size - 1 - place, n - 1) for place, outcome in enumerate(order) if outcome == "1")
    return sum(chances) / math.comb(size, n)
