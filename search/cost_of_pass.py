"""What a right answer costs by a method, what the cheapest way to one costs, and what a method is worth beside the others."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from ..core.errors import UsageError
from .estimation import Interval, resampled

Outcome = tuple[float, bool]
"""What an attempt cost, and whether its answer was right."""

Table = Mapping[str, Mapping[str, Sequence[Outcome]]]
"""Outcomes by method and problem."""

EXPERT = "expert"
"""Name of the one who is paid to solve a problem where no method does."""


def cost_of_pass(outcomes: Sequence[Outcome]) -> float:
    """Return the expected cost of a right answer: mean cost / share of right answers; infinite where none was right.

    Erol et al. (2025), Cost-of-Pass. Any unit of cost will do: US dollars, tokens, seconds.

    Raises:
        UsageError: there are no outcomes.
    """
    if not outcomes:
        raise UsageError("cost_of_pass of no outcomes; give (cost, right) of at least one attempt")
    right = sum(right for _, right in outcomes)
    return sum(cost for cost, _ in outcomes) / right if right else math.inf


def cost_of_pass_interval(outcomes: Sequence[Outcome], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return `cost_of_pass` with its bootstrap interval, whose upper end is infinite where success was rare."""
    return resampled(cost_of_pass, outcomes, confidence=confidence, seed=seed)


def frontier(table: Table, *, expert: float = math.inf) -> dict[str, tuple[float, str]]:
    """Return for every problem the least cost of a right answer, and by which method; the first of equals.

    Args:
        table: outcomes by method and problem.
        expert: what a human expert costs per problem, who is always right.

    Raises:
        UsageError: a method lacks a problem that another one has.
    """
    problems = {problem for rows in table.values() for problem in rows}
    best: dict[str, tuple[float, str]] = {}
    for problem in sorted(problems):
        options = [(expert, EXPERT)]
        for method, rows in table.items():
            if problem not in rows:
                raise UsageError(
                    f"method {method!r} has no outcomes of problem {problem!r}; compare on the same problems"
                )
            options.append((cost_of_pass(rows[problem]), method))
        best[problem] = min(options, key=lambda option: option[0])
    return best


def frontier_cost(table: Table, *, expert: float = math.inf, without: Collection[str] = ()) -> float:
    """Return the mean over problems of the least cost of a right answer, as if the methods `without` did not exist.

    The difference that leaving methods out makes is what they are worth. Infinite where a problem is solved by nobody and no
    expert is there.
    """
    left = {method: rows for method, rows in table.items() if method not in without}
    problems = sorted({problem for rows in table.values() for problem in rows})
    best = frontier(left, expert=expert)
    return sum(best.get(problem, (expert, EXPERT))[0] for problem in problems) / len(problems)
