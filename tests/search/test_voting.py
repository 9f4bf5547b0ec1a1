"""Votes, plain and weighted, and self-consistency; the checks of the harness itself."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand
from branchwise.core.simulated.answers import RIGHT, AnswerPool, DifficultyMix, PathGroup
from branchwise.core.simulated.judges import NoisyJudge
from branchwise.core.types import Framing
from branchwise.search import Best, BestOfN, MajoritySampling, SelfConsistency, Vote

from .sampled import Answers, tally

POOL = AnswerPool([PathGroup(RIGHT, 0.4), PathGroup("popular", 0.25), PathGroup("rare", 0.35, 50, distinct=True)])
BY_CHANCE = NoisyJudge(right=0.5, wrong=0.5, noise=0.2)
"""A judge that knows nothing."""


def test_most_votes_win_and_the_share_is_told() -> None:
    """The answer of most trajectories is chosen, its share reported with where it comes from."""
    answers = Answers.of(["7", "The answer is 8.", " 8 ", "9"])
    appraisal = Vote().choose(answers.tree)
    assert (appraisal.node, appraisal.confidence) == (2, 0.5)
    assert "share of 4 answers" in appraisal.source
    assert "not calibrated" in appraisal.source


def test_empty_answers_never_win() -> None:
    """What is empty, or has no number where numbers are compared, has no vote, however frequent."""
    answers = Answers.of(["", " ", "", "8", None])
    assert Vote().choose(answers.tree).node == 4
    assert Vote().choose(answers.tree).confidence == 1.0
    assert Vote("number").choose(Answers.of(["none", "none", "8"]).tree).node == 3
    nothing = Vote().choose(Answers.of(["", None]).tree)
    assert nothing.node is None
    assert "no trajectory gave an answer" in nothing.source


def test_weights() -> None:
    """Values weigh votes: as they are, or spread to [0, 1], in which case the worst one has none."""
    answers = Answers.of(["a", "a", "b"], [0.4, 0.4, 0.9])
    assert Vote().choose(answers.tree).node == 1
    assert Vote(weight="value").choose(answers.tree).node == 3
    assert Vote(weight="value").choose(answers.tree).confidence == pytest.approx(0.9 / 1.7)
    assert Vote(weight="scaled").choose(answers.tree).confidence == 1.0


def test_the_best_member_speaks() -> None:
    """Of those who gave the winning answer the best judged is chosen, or the shortest, or the oldest."""
    answers = Answers()
    for value, tokens in ((0.2, 30), (0.8, 20), (0.5, 10)):
        answers.add("a", value, tokens=tokens)
    assert [Vote(tie=tie).choose(answers.tree).node for tie in ("value", "shortest", "first")] == [2, 3, 1]


def test_ties_between_answers() -> None:
    """Of equally frequent answers that of the best, the shortest or the oldest trajectory wins."""
    answers = Answers()
    answers.add("a", 0.2, tokens=20)
    answers.add("b", 0.8, tokens=30)
    answers.add("c", 0.5, tokens=10)
    assert [Vote(tie=tie).choose(answers.tree).node for tie in ("value", "shortest", "first")] == [2, 3, 1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.sampled_from(["count", "value", "scaled"]),
)
def test_the_order_of_candidates_does_not_matter(rows: list[Any], rng: random.Random, weight: Any) -> None:
    """Whatever the order of arrival, every answer's share of the vote is the same."""

    def shares(rows: list[Any]) -> dict[str, float]:
        tree = Answers.of([a for a, _ in rows], [v for _, v in rows]).tree
        nodes = [node for node in tree if node.answer]
        return {str(tree[s.nodes[0]].answer): s.share for s in Vote(weight=weight).shares(nodes, tree)}

    assert shares(rows) == pytest.approx(shares(rng.sample(rows, len(rows))))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.sampled_from([0.0, 0.3, 1.0]))
def test_equal_weights_are_no_weights(answers: list[str], value: float) -> None:
    """With equal verdicts a weighted vote is the plain one."""
    tree = Answers.of(answers, [value] * len(answers)).tree
    plain = Vote().choose(tree)
    for weight in ("value", "scaled"):
        weighted = Vote(weight=weight).choose(tree)
        assert (weighted.node, weighted.confidence) == (plain.node, pytest.approx(plain.confidence))


@pytest.mark.parametrize(("aggregate", "best"), [("last", 2), ("min", 6), ("product", 4), ("mean", 4)])
def test_steps_make_a_trajectory_s_value(aggregate: Any, best: int) -> None:
    """`Best` can go by the values of all steps instead of the last one's."""
    answers = Answers()
    for first, last in ((0.1, 1.0), (0.9, 0.8), (0.85, 0.83)):
        parent = answers.add(None, first)
        answers.add("x", last, parent=parent)
    assert Best(aggregate).choose(answers.tree).node == best


@pytest.mark.parametrize(
    "make",
    [
        lambda: BestOfN(n=4, depth=1),
        lambda: SelfConsistency(n=1, depth=1),
        lambda: SelfConsistency(n=2, depth=1, weight="scaled"),
        lambda: MajoritySampling(n=2, depth=1),
    ],
    ids=["best-of-n", "one vote", "two weighted votes", "best of majority of two"],
)
def test_a_random_reward_is_worth_nothing(make: Any) -> None:
    """With a judge that knows nothing, choosing by it is as good as one trajectory: the check of the whole harness."""
    problems = 400
    found = tally(make, lambda _: POOL, problems, judge=lambda seed: BY_CHANCE).right
    assert abs(found - 0.4) < 4 * math.sqrt(0.24 / problems)


def test_agreement_pays_where_the_right_answer_is_the_most_frequent() -> None:
    """Self-consistency solves more than single trajectories; where a mistake is more popular it solves less."""
    easy, hard = DifficultyMix(((0.4, 0.2),)), DifficultyMix(((0.2, 0.5),))
    assert tally(lambda: SelfConsistency(n=16, depth=1), easy.problem, 100).right > 0.4 + 0.3
    assert tally(lambda: SelfConsistency(n=16, depth=1), hard.problem, 100).right < 0.2 - 0.1


def test_weights_pay_where_the_verifier_knows_something() -> None:
    """Votes weighted by an informative judge solve what plain votes do not; weighted by chance they are worth no more."""
    hard = DifficultyMix(((0.3, 0.4),))
    informed = NoisyJudge(right=0.7, wrong=0.3, noise=0.2)
    plain = tally(lambda: SelfConsistency(n=12, depth=1), hard.problem, 100).right

    def weighted(judge: NoisyJudge) -> float:
        make = lambda: SelfConsistency(n=12, depth=1, weight="value")  # noqa: E731 - the strategy in short
        return tally(make, hard.problem, 100, judge=lambda seed: judge).right

    assert weighted(informed) > plain + 0.3
    assert abs(weighted(BY_CHANCE) - plain) < 4 * math.sqrt(2 * 0.25 / 100)


def test_a_selector_can_stand_beside_any_strategy() -> None:
    """Best-of-n with a vote as its selector is self-consistency."""
    world = DifficultyMix().problem
    voted = tally(lambda: BestOfN(n=8, depth=1), world, 60, selector=Vote())
    assert voted == tally(lambda: SelfConsistency(n=8, depth=1), world, 60)


def test_all_is_tried_again_where_nobody_answers(bench: Any) -> None:
    """A vote without a voter is held again, at most as often as allowed; one voter is enough."""
    b = bench(SelfConsistency(n=2, depth=1, retries=2).fresh(0))
    b.judge()
    for _ in range(2):
        b.grow(answer="")
        b.grow(answer=" ")
    assert len(b.wants(5)) == 2
    b.grow(answer="42")
    b.grow(answer="")
    assert b.wants(5) == []
    assert b.strategy.select(b.tree) == max(node.id for node in b.tree if node.answer == "42")


def test_variants_take_turns() -> None:
    """Trajectory i sees variant i modulo their number; without variants nobody sees any."""
    strategy = SelfConsistency(n=5, variants=3)
    assert [strategy.beginning(1, i).framing for i in range(4)] == [Framing(variant=i) for i in (0, 1, 2, 0)]
    assert SelfConsistency().beginning(1, 0) == Expand(1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Vote(same="textual"),
        lambda: Vote(weight="score"),
        lambda: Vote(tie="longest"),
        lambda: Best(aggregate="median"),
        lambda: SelfConsistency(same="words"),
        lambda: SelfConsistency(weight="score"),
        lambda: SelfConsistency(variants=-1),
        lambda: SelfConsistency(retries=-1),
    ],
)
def test_wrong_use(wrong: Any) -> None:
    """An option that does not exist or is out of range is refused."""
    with pytest.raises(UsageError, match="must be"):
        wrong()
