"""Sharing out a budget between solving and verifying."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand
from branchwise.core.simulated.answers import DifficultyMix
from branchwise.core.simulated.judges import NoisyJudge
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, WorkId
from branchwise.search.solve_verify import Choice, Plan, PooledProblem, SolveOrVerify

LEVELS = ((0.15, 0.85 * 0.3), (0.35, 0.65 * 0.4), (0.7, 0.3 * 0.3))
"""Chance of the right answer, and of the mistake that takes .3, .4 and .3 of all mistakes."""

TREE = Tree(Node(ROOT, None, None))


@cache
def pool(
    tpr: float = 0.75, fpr: float = 0.35, persistent: float = 0.0, problems: int = 30
) -> tuple[PooledProblem, ...]:
    """Problems of three difficulties, 64 solutions each and 16 judgements of each of them."""
    judge = NoisyJudge(tpr=tpr, fpr=fpr)
    made: list[PooledProblem] = []
    for seed in range(problems):
        world = DifficultyMix(LEVELS, tail=200).problem(seed)
        rng = random.Random(f"pool {seed}")
        answers = [world.draw(Expand(WorkId(n), ROOT), TREE, rng).answer or "" for n in range(64)]
        right = [world.right(answer) for answer in answers]
        # A judge that is wrong about an answer whenever it is asked says the same of it every time.
        stays = {answer: rng.random() for answer in answers}
        rows: list[tuple[float, ...]] = []
        for answer, well in zip(answers, right, strict=True):
            once = float(stays[answer] < (tpr if well else fpr))
            own = (judge.score(answer, right=well, rng=rng) for _ in range(16))
            rows.append(tuple(once if rng.random() < persistent else score for score in own))
        made.append(PooledProblem(answers, right, rows))
    return tuple(made)


@cache
def fitted(choice: Choice = "best", tpr: float = 0.75, fpr: float = 0.35, persistent: float = 0.0) -> SolveOrVerify:
    """An allocation for four budgets."""
    return SolveOrVerify.fit(pool(tpr, fpr, persistent), (8, 32, 64, 128), choice=choice, draws=8)


def test_votes_win_small_budgets_and_judgements_large_ones_with_more_solutions_than_judgements() -> None:
    """The crossover of Singhi et al. (2025): nothing is judged at 8, from 32 on it pays; both grow, solutions more."""
    plans = dict(fitted().plans)
    assert plans[8].verifications == 0
    assert plans[8].accuracy == pytest.approx(0.654, abs=0.06)
    assert plans[32].accuracy == pytest.approx(0.731, abs=0.06)
    judging = [plans[budget] for budget in (32, 64, 128)]
    assert all(plan.verifications > 0 for plan in judging)
    assert plans[128].accuracy == pytest.approx(0.918, abs=0.06)
    assert all(plan.solutions >= plan.verifications - 1 for plan in judging)
    assert judging[-1].solutions > judging[-1].verifications
    for small, large in pairwise(judging):
        assert small.solutions <= large.solutions + 1
        assert small.verifications <= large.verifications


def test_judging_that_says_nothing_never_pays() -> None:
    """The ablation: with a yes as likely for a wrong answer, votes win everywhere; so they do where all errors persist."""
    for useless in ({"tpr": 0.5, "fpr": 0.5}, {"persistent": 1.0}):
        assert all(plan.verifications == 0 for _, plan in fitted(**useless).plans)


def test_a_plan_is_a_strategy_and_a_number_of_votes() -> None:
    """For a budget between the fitted ones the one below; beyond them the powers, never more than the budget buys."""
    allocation = fitted()
    plan = allocation(40)
    assert plan == dict(allocation.plans)[32]
    assert plan.strategy.n == plan.solutions
    beyond = allocation(512)
    assert beyond.solutions * (1 + beyond.verifications) <= 512
    assert beyond.solutions >= allocation(128).solutions
    with pytest.raises(UsageError, match="less than the smallest that was fitted, 8"):
        allocation(3)


def test_sums_of_judgements_per_answer_are_the_other_choice() -> None:
    """Weighted votes; they use what votes know and what judgements know."""
    weighted = dict(fitted("weighted").plans)
    assert weighted[8].accuracy >= dict(fitted().plans)[8].accuracy - 0.02
    assert weighted[128].accuracy > 0.7


def test_it_is_kept_as_json_and_read_back() -> None:
    """With all its numbers."""
    allocation = SolveOrVerify.fit(pool(problems=6), (4, 16, 64), draws=3)
    assert SolveOrVerify.from_json(allocation.to_json()) == allocation


def test_a_pool_without_judgements_tells_of_votes_only() -> None:
    """And pools that do not fit are refused."""
    plain = PooledProblem(["a", "a", "b"], [True, True, False])
    assert SolveOrVerify.fit([plain], (1, 3), draws=5).plans[1] == (3.0, Plan(3, 0, 1.0))
    with pytest.raises(UsageError, match="one of each for every answer"):
        PooledProblem(["a"], [True, False])
    with pytest.raises(UsageError, match="the pool is empty"):
        SolveOrVerify.fit([])
    with pytest.raises(UsageError, match="does not buy one"):
        SolveOrVerify.fit([plain], (0.5,))
    assert SolveOrVerify.fit([plain], (8,)).plans[0][1].solutions == 3
