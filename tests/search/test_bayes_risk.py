"""Minimum Bayes risk, and hedged sampling."""

from __future__ import annotations

import random
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand
from branchwise.core.simulated.answers import Draw
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import TreeView
from branchwise.core.types import ROOT, Node, Verdict
from branchwise.search import BestOfN, Hedged, MinimumBayesRisk
from branchwise.search.bayes_risk import similarity

from .sampled import Answers

TEXTS = ["the cat sat on the mat", "a cat sat on the mat", "the cat sat on a mat", "dogs bark at night"]


def test_the_answer_that_is_most_like_the_others() -> None:
    """The one in the middle is chosen, the odd one out never; it is no probability, and says so by having none."""
    tree = Answers.of([TEXTS[3], *TEXTS[:3]]).tree
    for how, best in (("sequence", 2), ("words", 3)):
        appraisal = MinimumBayesRisk(how).choose(tree)
        assert appraisal.node == best
        assert appraisal.confidence is None
        assert "mean similarity" in appraisal.source


def test_similarities() -> None:
    """Both lie in [0, 1], are the same both ways, and 1 for equal texts; the order of words counts for one of them."""
    for how in ("sequence", "words"):
        assert similarity(how, TEXTS[0], TEXTS[0]) == 1.0
        assert similarity(how, TEXTS[0], TEXTS[3]) < 0.2
        assert similarity(how, "", "") == 1.0
    assert similarity("words", "a b c", "c b a") == 1.0
    assert similarity("sequence", "a b c", "c b a") < 1.0


def test_a_similarity_of_one_s_own() -> None:
    """A function is asked once for each pair of different texts."""
    asked: list[tuple[str, str]] = []

    def near(a: str, b: str) -> float:
        asked.append((a, b))
        return 1 / (1 + abs(len(a) - len(b)))

    tree = Answers.of(["x", "xx", "xxxxxx", "xx", "xxx"]).tree
    assert MinimumBayesRisk(near).choose(tree).node == 2
    assert len(asked) == len({frozenset(pair) for pair in asked}) <= 4 * 3 // 2 + 1


def test_without_the_signal_the_oldest_is_chosen() -> None:
    """With a similarity that says nothing the choice has nothing to do with the texts."""
    assert MinimumBayesRisk(lambda _a, _b: 0.5).choose(Answers.of([TEXTS[3], *TEXTS[:3]]).tree).node == 1


def test_variants_are_evidence_and_are_not_chosen() -> None:
    """Trajectories that saw the task in another form decide between the others; without them nothing changes."""
    answers = Answers.of([TEXTS[3], TEXTS[0]])
    plain = MinimumBayesRisk("words", own_only=False)
    crossed = MinimumBayesRisk("words")
    assert crossed.choose(answers.tree) == plain.choose(answers.tree)
    for text in (TEXTS[1], TEXTS[2], TEXTS[1]):
        answers.add(text, variant=0)
    assert crossed.choose(answers.tree).node == 2
    assert plain.choose(answers.tree).node in (3, 5)
    for _ in range(6):
        answers.add(TEXTS[3], variant=1)
    assert crossed.choose(answers.tree).node == 1


def test_only_variants() -> None:
    """Where every trajectory saw a variant one of them is chosen after all; where none answered, nobody."""
    answers = Answers()
    answers.add("", variant=0)
    assert MinimumBayesRisk().choose(answers.tree).node is None
    answers.add("x", variant=0)
    assert MinimumBayesRisk().choose(answers.tree).node == 2


class Treacherous:
    """A language that a model knows little: sampling goes badly wrong in half of the cases, greedily it is never that bad."""

    def draw(self, work: Expand, view: TreeView, rng: random.Random) -> Draw:
        """Return an answer whose text is its quality."""
        if work.temperature == 0.0:
            quality = 0.6
        elif rng.random() < 0.5:
            quality = rng.uniform(0.6, 0.9)
        else:
            quality = rng.uniform(0.0, 0.4)
        return Draw(f"{quality:.3f}", f"{quality:.3f}", 100)

    def right(self, answer: str) -> bool:
        """Whether it is no worse than the greedy one."""
        return float(answer) >= 0.6


def taste(node: Node, rng: random.Random) -> tuple[Verdict, ...]:
    """See an answer's quality through much noise."""
    return (Verdict(min(1.0, max(0.0, (float(node.answer or 0) + rng.gauss(0, 0.8) + 3) / 7)), "outcome", "taste"),)


def worse_than_greedy(make: Any) -> float:
    """Share of problems in which what was chosen is worse than the greedy answer."""
    bad = 0
    for seed in range(300):
        search = TimedSearch(make().fresh(seed), Treacherous(), taste, seed=seed)
        search.run()
        bad += not search.right
    return bad / 300


def test_a_hedge_bounds_the_loss() -> None:
    """With the greedy answer in the pool the choice is less often worse than that, at the same noise of the selector."""
    assert worse_than_greedy(lambda: Hedged(n=5, depth=1)) < worse_than_greedy(lambda: BestOfN(n=5, depth=1)) - 0.03


def test_one_is_greedy_and_stays_so(bench: Any) -> None:
    """The first trajectory is greedy in all its steps, also when its beginning failed; the others have the temperature."""
    b = bench(Hedged(n=3, depth=2, temperature=0.9).fresh(0))
    b.judge()
    begun = b.ask(3)
    assert [work.temperature for work in begun] == [0.0, 0.9, 0.9]
    b.fail(begun[0].id)
    (again,) = b.ask(1)
    assert again.temperature == 0.0
    b.arrive(begun[1])
    b.arrive(again)
    for work in b.ask(0):
        b.settle(work)
    assert sorted((work.node, work.temperature) for work in b.ask(3)) == [(begun[1].id, 0.9), (again.id, 0.0)]
    assert Hedged().beginning(1, 1) == Expand(1, ROOT)


def test_without_verdicts_it_is_the_most_alike() -> None:
    """Where nobody judged the choice is that of minimum Bayes risk."""
    tree = Answers.of([TEXTS[3], *TEXTS[:3]]).tree
    assert Hedged().choice(tree) == MinimumBayesRisk().choose(tree)
    assert Hedged().choice(Answers.of(TEXTS, [0.1, 0.2, 0.9, 0.3]).tree).node == 3


@pytest.mark.parametrize("wrong", [{"similarity": "taste"}, {"temperature": -0.1}, {"n": 0}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """An option that does not exist or is out of range is refused."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Hedged(**wrong)
