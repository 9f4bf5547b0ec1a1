"""Best-of-majority: frequency first, then reward."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand
from branchwise.core.simulated.answers import RIGHT, AnswerPool, PathGroup
from branchwise.core.simulated.judges import NoisyJudge
from branchwise.core.types import ROOT, WorkId
from branchwise.search import Best, BestOfMajority, BestOfN, MajoritySampling
from branchwise.search.majority import frequency_floor

from .sampled import Answers, Tally, tally

POOL = AnswerPool(
    [
        PathGroup(RIGHT, 0.30),
        PathGroup("distractor", 0.25),
        PathGroup("other", 0.35, 10, even=True, distinct=True),
        PathGroup("rare", 0.10, 1000, even=True, distinct=True),
    ]
)


def hacked(seed: int) -> NoisyJudge:
    """A reward of .6 for the right answer, with persistent errors, and 1.5 more for 2 % of the rare ones."""
    return NoisyJudge(right=0.8, wrong=0.2, persistent=0.15, hacked=0.02, scale=(-0.6, 2.4), seed=seed)


def best(n: int, problems: int, judge: Any = hacked) -> Tally:
    """Best-of-n."""
    return tally(lambda: BestOfN(n=n, depth=1), lambda _: POOL, problems, judge=judge, slots=64)


def majority(n: int, problems: int, judge: Any = hacked) -> Tally:
    """Best-of-majority."""
    return tally(lambda: MajoritySampling(n=n, same="exact", depth=1), lambda _: POOL, problems, judge=judge, slots=64)


def chosen_of(n: int, problems: int, selector: Best | BestOfMajority) -> float:
    """Share of problems in which a selector chooses rightly among `n` judged answers."""
    right = 0
    for seed in range(problems):
        rng, answers, judge = random.Random(seed), Answers(), hacked(seed)
        for _ in range(n):
            answer = POOL.draw(Expand(WorkId(1), ROOT), answers.tree, rng).answer
            answers.add(answer, judge.score(answer or "", right=answer == RIGHT, rng=rng))
        node = selector.choose(answers.tree).node
        right += node is not None and answers.tree[node].answer == RIGHT
    return right / problems


def test_more_samples_ruin_best_of_n_and_not_best_of_majority() -> None:
    """Best-of-n falls from .97 at 16 samples to about .1 at 1,024; best-of-majority stays at .99 and more."""
    few, many = chosen_of(16, 60, Best()), chosen_of(1024, 8, Best())
    assert few > 0.9
    assert many < min(0.4, few - 0.3)
    shares = [chosen_of(n, problems, BestOfMajority("exact")) for n, problems in ((16, 60), (128, 20), (1024, 8))]
    assert all(after >= before - 4 * math.sqrt(0.05 / 20) for before, after in pairwise(shares))
    assert shares[-1] >= 0.99


def test_the_strategies_do_as_their_selectors() -> None:
    """Driven through expansions and judgements, both strategies come to the same."""
    assert majority(64, 15).right > best(64, 15).right
    assert majority(64, 15).right >= 0.99


def test_only_frequent_answers_are_judged() -> None:
    """The verifier is asked about a handful of answers instead of all."""
    assert majority(256, 2).verifier_calls < 8
    assert best(256, 1).verifier_calls == 256


def test_without_a_verifier_that_knows_something_it_is_a_choice_among_the_frequent() -> None:
    """With rewards by chance it does no better than taking one of the frequent answers at random."""
    blind = majority(64, 80, lambda seed: NoisyJudge(right=0.5, wrong=0.5, persistent=0.2, seed=seed)).right
    assert abs(blind - 0.33) < 4 * math.sqrt(0.25 / 80) + 0.1


def test_an_exact_verifier_loses_little_by_the_gate() -> None:
    """With exact rewards it misses the right answer only where that is not frequent enough."""
    exact = lambda _seed: NoisyJudge()  # noqa: E731 - a judge in short
    assert majority(64, 40, exact).right >= best(64, 40, exact).right - 0.02


def test_the_gate() -> None:
    """What is frequent enough is kept, exactly at the floor too; where nothing is, the most frequent one."""
    answers = Answers.of(["a"] * 3 + ["b"] * 2 + ["c"] * 5, [0.1] * 3 + [0.9] * 2 + [0.5] * 5)
    assert BestOfMajority(alpha=0.2).choose(answers.tree).node == 4
    assert BestOfMajority(alpha=0.3).choose(answers.tree).node == 6
    assert BestOfMajority(alpha=0.9).choose(answers.tree).node == 6
    assert BestOfMajority(alpha=0.2).choose(answers.tree).confidence == 0.2
    assert [node for node, _ in BestOfMajority(alpha=0.2).top(answers.tree, 2)] == [4, 6]
    assert BestOfMajority().choose(Answers.of(["", None]).tree).node is None
    assert frequency_floor(0.0, 10) == 0.15
    assert frequency_floor(0.0, 64) == 0.05
    assert frequency_floor(0.3, 64) == 0.3


def test_the_best_or_the_mean_of_those_who_gave_it() -> None:
    """An answer is worth the best verdict on those who gave it, or their mean; the best of them speaks."""
    answers = Answers.of(["a", "a", "b", "b"], [0.9, 0.0, 0.6, 0.7])
    assert BestOfMajority().choose(answers.tree).node == 1
    assert BestOfMajority(reward="mean").choose(answers.tree).node == 4
    assert Best().choose(answers.tree).node == 1


def test_judging_waits_for_the_answers(bench: Any) -> None:
    """Nobody is judged before the last trajectory has ended; then the oldest of each frequent answer are."""
    b = bench(MajoritySampling(n=4, members=2, depth=1).fresh(0))
    b.judge()
    for answer in ("a", "b", "a", "a"):
        (work,) = b.ask()
        b.arrive(work, answer=answer)
    assert sorted(work.node for work in b.ask(0)) == sorted(node.id for node in b.tree if node.answer == "a")[:2]


@pytest.mark.parametrize("wrong", [{"alpha": 1.5}, {"reward": "median"}, {"same": "sense"}, {"members": 0}, {"n": 0}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """An option that does not exist or is out of range is refused."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        MajoritySampling(**wrong)
