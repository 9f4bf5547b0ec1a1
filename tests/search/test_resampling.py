"""Resampling until a verifier accepts: its limits, and the controller that keeps to them."""

from __future__ import annotations

import math
import random

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.simulated.answers import RIGHT, AnswerPool, PathGroup, Rng
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.types import Node, Verdict
from branchwise.search import BestOfN, Resampling, ResamplingLimit
from branchwise.search.resampling import resampling_ceiling, verifier_rates

PUBLISHED = ((0.58, 0.87), (0.42, 0.13))
"""The two kinds of problems of the paper's model."""


def test_published_numbers() -> None:
    """Ceilings and numbers of attempts as the paper has them."""
    assert round(resampling_ceiling(0.1, 1.0, 0.25), 3) == 0.308
    assert round(resampling_ceiling(0.3, 1.0, 0.05), 3) == 0.896
    limits = [ResamplingLimit(1.0, 0.25, wrong, PUBLISHED) for wrong in (-0.7, -1.0, -2.0)]
    assert [limit.attempts for limit in limits] == [3, 2, 1]
    assert limits[0].value > limits[1].value > limits[2].value > 0


def test_answering_can_be_worth_nothing() -> None:
    """Hard problems, a lax verifier, dear mistakes: not even one attempt. A useless verifier is refused."""
    limit = ResamplingLimit(0.9, 0.5, -3.0, ((1.0, 0.2),))
    assert (limit.attempts, limit.value) == (0, 0)
    assert ResamplingLimit(0.9, 0.0, -3.0).attempts < 1000, "never without limit"
    for wrong in ({"fpr": 0.9}, {"fpr": 0.95}, {"tpr": 0.0, "fpr": 0.0}, {"kinds": ()}, {"kinds": ((1.0, 1.2),)}):
        with pytest.raises(UsageError):
            ResamplingLimit(**{"tpr": 0.9, "fpr": 0.1, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(("p", "fpr"), [(0.1, 0.25), (0.3, 0.05)])
def test_the_ceiling_is_where_sampling_ends(p: float, fpr: float) -> None:
    """Sampled until something is accepted, the share of right answers is the ceiling, within 1 %; so is `precision`."""
    rng = random.Random(4)
    right = 0
    for _ in range(60_000):
        while True:
            good = rng.random() < p
            if good or rng.random() < fpr:
                right += good
                break
    assert right / 60_000 == pytest.approx(resampling_ceiling(p, 1.0, fpr), abs=0.01)
    assert ResamplingLimit(1.0, fpr, 0.0, ((1.0, p),)).precision(7) == pytest.approx(resampling_ceiling(p, 1.0, fpr))


def test_rates_are_measured() -> None:
    """From known answers, never quite 0 or 1."""
    outcomes = [(True, True)] * 8 + [(False, True)] * 2 + [(False, False)] * 20
    assert verifier_rates(outcomes) == (pytest.approx(9 / 12), pytest.approx(1 / 22))
    assert verifier_rates([]) == (0.5, 0.5)


def run(strategy: Resampling, success: float, seed: int, *, blind: bool = False) -> TimedSearch:
    """A problem with this chance, and a verifier with the rates that the strategy believes in; blind: one that guesses."""
    world = AnswerPool([PathGroup(RIGHT, success), PathGroup("wrong", 1 - success)])

    def judge(node: Node, rng: Rng) -> tuple[Verdict, ...]:
        rate = 0.5 if blind else strategy.tpr if node.answer == RIGHT else strategy.fpr
        yes = rng.random() < rate
        return (Verdict(float(yes), "outcome", "checker", yes),)

    search = TimedSearch(strategy.fresh(seed), world, judge, slots=1, seed=seed)
    search.run()
    return search


def worth(wrong: float, *, limited: bool = True, blind: bool = False, problems: int = 300) -> float:
    """Mean value of what comes out, over problems of the paper's two kinds."""
    total = 0.0
    for seed in range(problems):
        # Unlimited: nothing is lost by a wrong answer, as far as the controller knows.
        strategy = Resampling(BestOfN(n=40), tpr=0.99, fpr=0.25, wrong=wrong if limited else 0.0, kinds=PUBLISHED)
        search = run(strategy, 0.87 if seed % 100 < 58 else 0.13, seed, blind=blind)
        accepted = [node for node in search.tree if search.tree.passed(node.id)]
        if accepted and search.strategy.accepts(accepted[0].id, search.tree):
            total += 1 if accepted[0].answer == RIGHT else wrong
    return total / problems


def test_knowing_when_to_stop_is_worth_something() -> None:
    """With dear mistakes the limit wins against resampling on. The ablation: by a verifier that guesses, no answer is better."""
    limit = ResamplingLimit(0.99, 0.25, -2.0, PUBLISHED)
    found = worth(-2.0)
    assert found == pytest.approx(limit.value, abs=4 * 1.2 / math.sqrt(300))
    assert found > worth(-2.0, limited=False) + 0.1
    assert worth(-2.0, blind=True) < 0


def test_it_abstains_and_says_why() -> None:
    """No attempt where none is worth it; no answer where none was accepted; a probability where one was."""
    hopeless = Resampling(BestOfN(n=8), tpr=0.9, fpr=0.5, wrong=-3.0, kinds=((1.0, 0.2),))
    search = run(hopeless, 0.2, 1)
    assert len(search.tree) == 1
    assert search.choice().node is None
    assert "no attempt is worth it" in search.choice().source
    strict = Resampling(BestOfN(n=8), tpr=0.9, fpr=0.1, wrong=-2.0, kinds=((0.5, 0.5), (0.5, 0.02)))
    rejected = next(s for s in (run(strict, 0.02, seed) for seed in range(50)) if not _accepted(s))
    assert rejected.choice().node is None
    assert f"at most {strict.limit.attempts} attempts" in rejected.choice().source
    assert len(rejected.tree) - 1 == strict.limit.attempts
    accepted = next(s for s in (run(strict, 0.5, seed) for seed in range(50)) if _accepted(s))
    node = _accepted(accepted)[0]
    chosen = accepted.strategy.appraise(accepted.tree, node)  # type: ignore[attr-defined]
    attempt = len(accepted.tree) - 1
    assert (chosen.node, chosen.confidence) == (node, pytest.approx(strict.limit.precision(attempt)))


def _accepted(search: TimedSearch) -> list[int]:
    return [node.id for node in search.tree if search.tree.passed(node.id)]
