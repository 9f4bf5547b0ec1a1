"""Self-refine: criticism and rewriting."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Judged, Prune, Score
from branchwise.core.simulated.answers import Draw
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import TreeView
from branchwise.core.types import Verdict
from branchwise.search import SelfRefine
from branchwise.search.self_refine import IMPROVE, REWRITE


@dataclass(frozen=True)
class Mending:
    """Answers with four faults, each there by half a chance; a rewrite mends what its criticism names.

    Args:
        insight: chance that a criticism names a fault that is there.
    """

    insight: float = 0.8

    def draw(self, work: Expand, view: TreeView, rng: random.Random) -> Draw:
        """Return an attempt, a criticism or a rewrite, as the framing wants it."""
        framing = work.framing
        if framing is None:
            return self._say("".join(f for f in "abcd" if rng.random() < 0.5))
        shown = [view[node].answer or "" for node in framing.shown]
        if framing.note == REWRITE:
            return self._say("".join(f for f in shown[0] if f not in shown[1]))
        found = "".join(f for f in shown[-1] if f in "abcd" and rng.random() < self.insight)
        return self._say("FINISHED" if shown[-1] == "none" else f"fix {found}")

    @staticmethod
    def _say(text: str) -> Draw:
        return Draw(text, text or "none", 100)

    def right(self, answer: str) -> bool:
        """Whether no fault is left."""
        return answer == "none"


def solved(strategy: SelfRefine, world: Mending, problems: int = 120) -> float:
    """Share of problems whose chosen answer has no fault."""
    right = 0
    for seed in range(problems):
        search = TimedSearch(strategy.fresh(seed), world, seed=seed)
        search.run()
        right += search.right
    return right / problems


def test_criticism_mends() -> None:
    """Refined answers are right more often, the more rounds the more; with criticism that sees nothing they are not."""
    once, often = (solved(SelfRefine(rounds=rounds, depth=1), Mending()) for rounds in (0, 3))
    assert once < 0.2
    assert often > 0.85
    assert solved(SelfRefine(rounds=3, depth=1), Mending(insight=0.0)) == once


class Chain:
    """Answers a self-refinement by hand."""

    def __init__(self, bench: Any, strategy: SelfRefine) -> None:
        self.b = bench(strategy.fresh(0))
        self.b.judge()

    def turn(self, answer: str | None, value: float | None = None) -> Expand:
        """Take the one expansion that is due and answer it; return it."""
        works = [work for work in self.b.ask(3) if isinstance(work, Expand)]
        (work,) = works
        self.b.arrive(work, answer=answer)
        for score in [w for w in self.b.ask(0) if isinstance(w, Score)]:
            verdicts = () if value is None else (Verdict(value, "value", "test"),)
            self.b.take(Judged(score.id, score.node, verdicts))
        return work


def test_attempt_criticism_attempt(bench: Any) -> None:
    """A criticism sees the attempt, the next attempt sees both; the criticism is closed and never judged."""
    chain = Chain(bench, SelfRefine(rounds=1, depth=1))
    first = chain.turn("one", 0.4)
    assert first.framing is None
    criticism = chain.turn("too short", 0.9)
    assert criticism.framing.shown == (first.id,)
    second = chain.turn("two", 0.6)
    assert second.framing.shown == (first.id, criticism.id)
    assert second.framing.note == REWRITE
    assert chain.b.ask(3) == []
    assert chain.b.tree.status(criticism.id) == "pruned"
    assert chain.b.tree.value(criticism.id) is None
    assert chain.b.strategy.select(chain.b.tree) == second.id


def test_a_criticism_that_finds_nothing_ends_it(bench: Any) -> None:
    """The word that ends the refinement is understood with a full stop, in any case."""
    chain = Chain(bench, SelfRefine(rounds=5, depth=1))
    first = chain.turn("one")
    chain.turn("**Finished.**")
    assert all(isinstance(work, Prune) for work in chain.b.ask(3))
    assert chain.b.strategy.why_over(chain.b.tree) == "a criticism found nothing to mend after 0 refinements"
    assert chain.b.strategy.select(chain.b.tree) == first.id


def test_the_best_or_the_last(bench: Any) -> None:
    """Refinement may make it worse: the best by verdicts is kept, or, as one likes, the last."""
    for keep_best, chosen in ((True, 0), (False, 1)):
        chain = Chain(bench, SelfRefine(rounds=1, keep_best=keep_best, depth=1))
        attempts = [chain.turn("one", 0.8)]
        chain.turn("worse")
        attempts.append(chain.turn("two", 0.3))
        assert chain.b.strategy.select(chain.b.tree) == attempts[chosen].id


def test_in_one_go(bench: Any) -> None:
    """Without a call for the criticism every attempt sees the one before it, with what the verifiers said."""
    chain = Chain(bench, SelfRefine(rounds=2, criticise=False, depth=1))
    works = [chain.turn(f"attempt {i}", 0.5) for i in range(3)]
    assert [None if work.framing is None else work.framing.shown for work in works] == [
        None,
        (works[0].id,),
        (works[1].id,),
    ]
    assert works[2].framing.note == IMPROVE
    assert chain.b.ask(3) == []


def test_without_a_criticism_it_goes_on_without_one(bench: Any) -> None:
    """A criticism that fails for good is left out; an attempt that fails for good ends the refinement only if it is the first."""
    chain = Chain(bench, SelfRefine(rounds=1, depth=1))
    first = chain.turn("one")
    for _ in range(3 * 2):
        (work,) = (w for w in chain.b.ask(3) if isinstance(w, Expand))
        chain.b.fail(work.id)
    last = chain.turn("two")
    assert last.framing.shown == (first.id,)


def test_nothing_is_chosen_where_nothing_is(bench: Any) -> None:
    """Without any attempt there is nothing to choose; without an answer what was judged."""
    chain = Chain(bench, SelfRefine(rounds=1, depth=1))
    assert chain.b.strategy.select(chain.b.tree) is None
    chain.turn(None, 0.3)
    assert isinstance(chain.b.strategy.select(chain.b.tree), int)
    assert not SelfRefine(rounds=0).speculative
    assert SelfRefine().speculative


def test_wrong_use() -> None:
    """A number of rounds below 0 is refused."""
    with pytest.raises(UsageError, match="rounds"):
        SelfRefine(rounds=-1)


def test_only_attempts_are_answers(bench: Any) -> None:
    """What a selector sees beside the strategy are the attempts, not the criticisms."""
    chain = Chain(bench, SelfRefine(rounds=1, depth=1))
    chain.turn("one")
    chain.turn("mend it")
    chain.turn("two")
    left = [node.answer for node in chain.b.tree if chain.b.tree.status(node.id) == "done"]
    assert left == ["one", "two"]
