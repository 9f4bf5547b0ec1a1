"""`ParallelThinking`: all think until the first has done, then one answer by all."""

from __future__ import annotations

from math import comb, sqrt
from statistics import fmean

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, WorkStarted
from branchwise.core.simulated.texts import Musings
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.types import ROOT
from branchwise.search import ParallelThinking
from tests.search.texts import Scrambled, scrambled

PATHS, SEGMENT, PROBLEMS = 8, 5, 200


def think(seed: int, world: Musings, **changes: object) -> TimedSearch:
    """Take one problem to its end."""
    timed = TimedSearch(
        ParallelThinking(n=PATHS, segment_tokens=SEGMENT, **changes).fresh(seed), world, slots=PATHS, seed=seed
    )
    timed.run()
    return timed


def summary(run: TimedSearch) -> Expand:
    """The expansion that sums up."""
    found = [e.work for e in run.events if isinstance(e, WorkStarted) and isinstance(e.work, Expand) and e.work.framing]
    assert len(found) == 1
    return found[0]


def majority(chance: float) -> float:
    """Probability that most of the paths are right, ties by the toss of a coin."""
    terms = (comb(PATHS, k) * chance**k * (1 - chance) ** (PATHS - k) for k in range(PATHS + 1))
    return sum(term * ((k > PATHS / 2) + 0.5 * (k == PATHS / 2)) for k, term in enumerate(terms))


def test_the_majority_of_what_was_seen_wins() -> None:
    """Accuracy is that of a majority of eight states at the time of the stop; without the thoughts it is a coin's."""
    world, right, expected = Musings(), [], []
    for seed in range(PROBLEMS):
        run = think(seed, world)
        right.append(run.right)
        shown = summary(run).framing.shown
        words = {sum(node.usage.completion_tokens for node in run.tree.path(node)) for node in shown}
        assert len(shown) == PATHS
        assert max(words) - min(words) <= SEGMENT, "all are as long as the first, but for a segment"
        expected.append(majority(world.chance(min(words) - 2)))  # two words say what the text hangs on
    assert fmean(right) == pytest.approx(fmean(expected), abs=4 * sqrt(0.25 / PROBLEMS))
    blind = fmean(think(seed, Musings(sums_up=False)).right for seed in range(PROBLEMS // 2))
    assert fmean(right) > 0.58
    assert blind < fmean(right)
    assert blind == pytest.approx(0.5, abs=4 * sqrt(0.25 / (PROBLEMS // 2)))


def test_it_takes_the_time_of_the_shortest() -> None:
    """The clock stands at the first thought's end and a summary; what was in flight was stopped and is charged."""
    world = Musings()
    run = think(1, world)
    [first] = [node for node in run.tree if node.answer is not None and node.step and node.step.framing is None]
    length = sum(node.usage.completion_tokens for node in run.tree.path(first.id))
    [answer] = [node for node in run.tree if node.step and node.step.framing]
    assert run.now_tokens == length + answer.usage.completion_tokens
    assert run.choice().node == answer.id
    assert run.cancelled


def test_the_order_of_the_thoughts_is_chance() -> None:
    """A model prefers what it reads first; the seed decides, so that a resumed run shows them alike."""
    orders = {summary(think(seed, Musings())).framing.shown for seed in range(5)}
    assert len({tuple(sorted(order)) != order for order in orders}) >= 1
    assert any(list(order) != sorted(order) for order in orders)
    assert summary(think(3, Musings())) == summary(think(3, Musings()))


def test_without_a_summary_the_first_counts() -> None:
    """Where the summary gives no answer, the first complete thought is chosen."""

    class Mute(Musings):
        """Nothing comes of summaries."""

        def answer(self, text: str) -> str | None:
            """No answer but of thoughts."""
            return None if text.startswith("all in all") else super().answer(text)

    run = think(2, Mute())
    chosen = run.choice().node
    assert chosen is not None
    assert run.tree[chosen].answer is not None
    assert run.tree.path(chosen)[1].parent == ROOT


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_and_with_failures(seed: int) -> None:
    """One piece of work in ten fails: there is an answer, and the journal gives the same strategy back."""
    strategy = ParallelThinking(n=5, segment_tokens=4)
    scrambled(Scrambled(strategy.fresh(seed), Musings(), slots=3, seed=seed, fails=0.1), strategy.fresh(seed))


def test_options_are_checked() -> None:
    """With words that say what is allowed."""
    with pytest.raises(UsageError, match="segment_tokens"):
        ParallelThinking(segment_tokens=0)
