"""How to share out a budget between solving and verifying: how many solutions, how many judgements of each."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self

from ..core.errors import UsageError
from ..core.types import JSON
from .best_of_n import BestOfN
from .equivalence import Same, grouped

Rng = random.Random
Choice = Literal["best", "weighted"]


@dataclass(frozen=True, slots=True)
class PooledProblem:
    """What is known of a problem: solutions to it, which of them are right, and judgements of each.

    Raises:
        UsageError: not one of each for every solution.
    """

    answers: Sequence[str]
    right: Sequence[bool]
    judgements: Sequence[Sequence[float]] = ()
    """For every solution the values of several judgements, in [0, 1]; without any, only votes can be weighed up."""

    def __post_init__(self) -> None:
        if len(self.right) != len(self.answers) or len(self.judgements) not in {0, len(self.answers)}:
            raise UsageError(
                f"a pooled problem has {len(self.answers)} answers, {len(self.right)} truths and {len(self.judgements)} rows of "
                "judgements; give one of each for every answer"
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a budget."""

    solutions: int
    verifications: int
    """Of each solution; 0 takes the answer that most solutions gave."""
    accuracy: float
    """Share of the calibration problems that it solved."""

    @property
    def strategy(self) -> BestOfN:
        """The strategy that makes the solutions; `verifiers.Vote(judge, k=plan.verifications)` judges them."""
        return BestOfN(n=self.solutions)


@dataclass(frozen=True)
class SolveOrVerify:
    """Chooses between more solutions and more judgements of each, by what a pool of problems with known answers shows.

    Singhi et al. (2025), When to solve, when to verify: S solutions with V judgements each cost S (1 + ratio V) solutions. Most
    budgets are best spent on solutions and a vote; where judging pays, solutions grow faster than judgements. The curves are
    taken from the pool by drawing S of its solutions and V of their judgements again and again, with no new calls; between
    and beyond the grid of budgets, log S and log V are lines in log budget.

    Args:
        ratio: tokens of a judgement per tokens of a solution.
        plans: the best plan for each budget, in solutions' worth, rising.
        powers: slope and offset of log S, and of log V, in log budget, over the budgets at which judging pays; None where it
            pays at fewer than two of them.
    """

    ratio: float
    plans: tuple[tuple[float, Plan], ...]
    powers: tuple[float, float, float, float] | None = None

    @classmethod
    def fit(
        cls,
        pool: Sequence[PooledProblem],
        budgets: Iterable[float] = (4, 8, 16, 32, 64, 128),
        *,
        ratio: float = 1.0,
        choice: Choice = "best",
        same: Same = "exact",
        draws: int = 25,
        seed: int = 0,
    ) -> Self:
        """Return the allocation that the pool shows.

        Args:
            pool: problems like those to come; the more solutions and judgements each has, the larger budgets it can tell of.
            budgets: budgets to plan for, in solutions' worth. Where one buys more solutions than the pool has, the plan is for
                as many as that.
            ratio: tokens of a judgement per tokens of a solution.
            choice: `best` takes the answer with the best mean judgement, `weighted` the one with the largest sum.
            same: when answers are the same.
            draws: how often each setting is drawn.
            seed: of the drawing.

        Raises:
            UsageError: the pool is empty, or a budget does not buy one solution.
        """
        if not pool:
            raise UsageError("the pool is empty; give problems with solutions that are known to be right or wrong")
        most = min(len(problem.answers) for problem in pool)
        deepest = min(min((len(row) for row in problem.judgements), default=0) for problem in pool)
        plans: list[tuple[float, Plan]] = []
        trial = _Trial(pool, choice, same, draws, seed)
        for budget in sorted(budgets):
            options = [(min(most, int(budget / (1 + ratio * v))), v) for v in _grid(deepest)]
            options = [(s, v) for s, v in options if s > 1 or (s == 1 and v == 0)]
            if not options:
                raise UsageError(f"a budget of {budget!r} solutions' worth does not buy one; the smallest is 1")
            tried = [Plan(s, v, trial.accuracy(s, v)) for s, v in options]
            # Where two are as good the one with fewer judgements is the simpler.
            plans.append((float(budget), max(tried, key=lambda plan: (plan.accuracy, -plan.verifications))))
        return cls(ratio, tuple(plans), _powers(plans))

    def __call__(self, budget: float) -> Plan:
        """Return the plan for a budget, in solutions' worth: that of the nearest fitted one below, or beyond them by the powers.

        Raises:
            UsageError: the budget is smaller than the smallest that was fitted.
        """
        below = [plan for known, plan in self.plans if known <= budget]
        if not below:
            raise UsageError(f"budget={budget!r} is less than the smallest that was fitted, {self.plans[0][0]:g}")
        plan = below[-1]
        if budget <= self.plans[-1][0] or self.powers is None or plan.verifications == 0:
            return plan
        a, b, c, d = self.powers
        verifications = max(1, round(math.exp(c * math.log(budget) + d)))
        solutions = max(1, round(math.exp(a * math.log(budget) + b)))
        return Plan(min(solutions, int(budget / (1 + self.ratio * verifications))), verifications, plan.accuracy)

    def to_json(self) -> dict[str, JSON]:
        """Return all of it as JSON, to be kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> Self:
        """Return what `to_json` wrote."""
        plans = tuple((float(budget), Plan(**plan)) for budget, plan in data["plans"])
        return cls(data["ratio"], plans, None if data["powers"] is None else tuple(data["powers"]))


@dataclass(frozen=True)
class _Trial:
    """Draws subsets of a pool."""

    pool: Sequence[PooledProblem]
    choice: Choice
    same: Same
    draws: int
    seed: int

    def accuracy(self, solutions: int, verifications: int) -> float:
        """Return how often a plan is right over the pool."""
        total = 0.0
        for number, problem in enumerate(self.pool):
            groups = _group_of(problem.answers, self.same)
            for draw in range(self.draws):
                rng = Rng(f"{self.seed} {number} {draw}")
                total += self._right(
                    problem, groups, rng.sample(range(len(problem.answers)), solutions), verifications, rng
                )
        return total / (len(self.pool) * self.draws)

    def _right(
        self, problem: PooledProblem, groups: Sequence[int], drawn: Sequence[int], verifications: int, rng: Rng
    ) -> float:
        """Return the chance that the chosen answer is right, those that tie being equally likely."""
        scores: dict[int, float] = {}
        for solution in drawn:
            if groups[solution] < 0:
                continue
            key, score = groups[solution], 1.0
            if verifications:
                score = sum(rng.sample(problem.judgements[solution], verifications)) / verifications
                key = solution if self.choice == "best" else key
            scores[key] = scores.get(key, 0.0) + score
        if not scores:
            return 0.0
        top = max(scores.values())
        best = [key for key, score in scores.items() if score > top - 1e-12]
        if verifications and self.choice == "best":
            return sum(problem.right[solution] for solution in best) / len(best)
        speakers = {group: next(s for s in drawn if groups[s] == group) for group in best}
        return sum(problem.right[solution] for solution in speakers.values()) / len(best)


def _group_of(answers: Sequence[str], same: Same) -> list[int]:
    """Return the number of each answer's group of equal ones; -1 for what is no answer."""
    groups = [-1] * len(answers)
    for number, places in enumerate(grouped(list(answers), same)):
        for place in places:
            groups[place] = number
    return groups


def _grid(deepest: int) -> list[int]:
    """Return numbers of judgements to try: none, and powers of two."""
    return [0, *(2**power for power in range(12) if 2**power <= deepest)]


def _powers(plans: Sequence[tuple[float, Plan]]) -> tuple[float, float, float, float] | None:
    points = [(math.log(budget), plan) for budget, plan in plans if plan.verifications]
    if len(points) < 2:
        return None
    xs = [x for x, _ in points]
    a, b = _line(xs, [math.log(plan.solutions) for _, plan in points])
    c, d = _line(xs, [math.log(plan.verifications) for _, plan in points])
    return a, b, c, d


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Return slope and offset of the least-squares line."""
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((u - x) * (v - y) for u, v in zip(xs, ys, strict=True)) / sum((u - x) ** 2 for u in xs)
    return slope, y - slope * x
