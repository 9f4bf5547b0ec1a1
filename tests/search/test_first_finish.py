"""First finish, short-m@k, and what must be known before the shortest may win."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Cancel, Expand, Resumed, Score, WorkStarted
from branchwise.core.simulated.answers import RIGHT, LengthMix, Rng
from branchwise.core.simulated.texts import TextWorld
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import TreeView
from branchwise.core.types import ROOT
from branchwise.search import BestOfN, FirstFinish, SelfConsistency, ShortMajority, Shortness

from .sampled import tally

SHORT_RIGHT = LengthMix()
SHORT_WRONG = LengthMix(lengths_right=(10_000.0, 3000.0), lengths_wrong=(6000.0, 2000.0))
ALIKE = LengthMix(lengths_right=(8000.0, 2500.0), lengths_wrong=(8000.0, 2500.0))
PROBLEMS = 400
SLACK = 4 * math.sqrt(0.13 / PROBLEMS)


def known(world: LengthMix, tasks: int = 40) -> Shortness:
    """Return what ten trajectories of each of some known tasks tell."""
    return Shortness.of([list(world.outcomes(10, seed)) for seed in range(tasks)])


def test_the_first_is_righter_and_cheaper() -> None:
    """Eight streams, right ones N(6000, 2000) long and wrong ones N(10000, 3000): .854 solved at .479 of the tokens."""
    first = tally(lambda: FirstFinish(n=8, depth=1), lambda _: SHORT_RIGHT, PROBLEMS)
    full = tally(lambda: SelfConsistency(n=8, depth=1), lambda _: SHORT_RIGHT, 150)
    assert abs(first.right - 0.854) < SLACK
    assert first.tokens / full.tokens <= 0.5


def test_where_wrong_is_shorter_it_is_harmful_and_refused() -> None:
    """With the two laws of length swapped .148 are solved; the evidence of known tasks refuses it."""
    assert tally(lambda: FirstFinish(n=8, depth=1), lambda _: SHORT_WRONG, 200).right <= 0.2
    with pytest.raises(UsageError, match="first-finish is refused.*wrong one"):
        FirstFinish(evidence=known(SHORT_WRONG))


def test_where_length_says_nothing_it_is_one_trajectory_and_refused() -> None:
    """With lengths of the same law the first is as good as any one; that is refused too."""
    found = tally(lambda: FirstFinish(n=8, depth=1), lambda _: ALIKE, 300).right
    assert abs(found - 0.5) < 4 * math.sqrt(0.25 / 300)
    with pytest.raises(UsageError, match="short-majority is refused"):
        ShortMajority(evidence=known(ALIKE))


def test_evidence_gives_the_confidence() -> None:
    """With evidence in favour the result says how often the first was right on the known tasks."""
    evidence = known(SHORT_RIGHT)
    assert evidence.advantage > 0.8
    search = TimedSearch(FirstFinish(n=5, depth=1, evidence=evidence).fresh(0), SHORT_RIGHT)
    appraisal = search.run()
    assert appraisal.confidence == evidence.first_of(5) > evidence.first_of(1) + 0.1
    assert "40 known tasks" in appraisal.source


@pytest.mark.parametrize("overshoot", [0, 64])
def test_tokens_are_exactly_those_of_the_shortest(overshoot: int) -> None:
    """All streams are charged to the moment at which the first ended, and for what the server sampled after that."""
    for seed in range(20):
        search = TimedSearch(FirstFinish(n=8, depth=1).fresh(0), SHORT_RIGHT, overshoot_tokens=overshoot, seed=seed)
        search.run()
        shortest = search.now_tokens
        assert search.tree.usage.completion_tokens == shortest
        assert search.tree.usage.tokens == 8 * shortest + 7 * overshoot


def test_the_others_are_stopped_once_each() -> None:
    """All but one are told to stop, none twice, and none begins afterwards."""
    search = TimedSearch(FirstFinish(n=8, depth=1).fresh(0), SHORT_RIGHT)
    search.run()
    works = [event.work for event in search.events if isinstance(event, WorkStarted)]
    stops = [work.target for work in works if isinstance(work, Cancel)]
    assert len(stops) == len(set(stops)) == 7
    assert set(stops) == set(search.cancelled)
    assert sum(isinstance(work, Expand) for work in works) == 8


def test_with_fewer_slots_the_rest_never_begins() -> None:
    """What has not begun when the first has finished is not begun at all."""
    search = TimedSearch(FirstFinish(n=8, depth=1).fresh(0), SHORT_RIGHT, slots=3)
    search.run()
    assert len(search.cancelled) == 2
    assert len(search.tree) == 2


def test_what_gives_no_answer_has_not_finished(bench: Any) -> None:
    """An empty answer, or none that could be compared, is waited past; the first real one wins, and only it is judged."""
    b = bench(FirstFinish(n=4, same="number", depth=1).fresh(0))
    b.judge()
    one, two, three, four = b.ask(4)
    b.arrive(one, answer=" ")
    b.arrive(two, answer="I give up")
    assert not any(isinstance(work, Cancel) for work in b.ask(0))
    winner = b.arrive(three, answer="It is 7.")
    due = b.ask(0)
    assert [(type(work), work.node) for work in due if isinstance(work, Score)] == [(Score, winner.id)]
    assert [work.target for work in due if isinstance(work, Cancel)] == [four.id]
    b.arrive(four, answer="8")
    assert b.strategy.select(b.tree) == winner.id
    assert b.ask(4) == []
    assert b.strategy.why_over(b.tree) == "1 of 4 trajectories finished, and the others were stopped"


def test_what_a_kill_kept_from_stopping_is_stopped_after_it(bench: Any) -> None:
    """Told to stop, but killed before it did: the resumed run begins it again, and it is told again."""
    b = bench(FirstFinish(n=2, depth=1).fresh(0))
    b.judge()
    one, two = b.ask(2)
    b.arrive(one, answer="7")
    assert [work.target for work in b.ask(0) if isinstance(work, Cancel)] == [two.id]
    assert not any(isinstance(work, Cancel) for work in b.ask(0))
    b.take(Resumed())
    assert [work.target for work in b.ask(0) if isinstance(work, Cancel)] == [two.id]


def test_failures_do_not_win(bench: Any) -> None:
    """A stream that fails begins anew as long as nobody has finished, and not afterwards."""
    b = bench(FirstFinish(n=2, depth=1).fresh(0))
    b.judge()
    one, two = b.ask(2)
    b.fail(one.id)
    (again,) = b.ask(1)
    assert again.node == ROOT
    b.arrive(two, answer="7")
    b.fail(again.id)
    assert [type(work) for work in b.ask(4)] == [Score]


def test_where_nobody_finishes_the_texts_are_asked() -> None:
    """All cut off: the one whose text agrees with most others is chosen, and the result says that none finished."""
    world = LengthMix(longest=300, least=400)
    search = TimedSearch(FirstFinish(n=6, same="text", depth=1).fresh(0), world)
    appraisal = search.run()
    assert appraisal.node is not None
    assert search.tree[appraisal.node].answer is None
    assert "no trajectory finished" in appraisal.source
    assert appraisal.confidence is not None


def test_three_of_eight_vote() -> None:
    """Short-3@8 is righter than short-1@8 (.889 and more against .854) at .728 of the tokens and .483 of the time of all eight."""
    three = tally(lambda: ShortMajority(n=8, m=3, depth=1), lambda _: SHORT_RIGHT, PROBLEMS)
    one, first = (
        tally(make, lambda _: SHORT_RIGHT, 100)
        for make in (lambda: ShortMajority(n=8, m=1, depth=1), lambda: FirstFinish(n=8, depth=1))
    )
    full = tally(lambda: SelfConsistency(n=8, depth=1), lambda _: SHORT_RIGHT, 150)
    assert one == first
    assert three.right >= max(0.889, one.right)
    assert abs(three.tokens / full.tokens - 0.728) < 0.03
    assert abs(three.seconds / full.seconds - 0.483) < 0.03


def test_the_ledger_of_three_of_eight_is_exact() -> None:
    """Tokens are the sum over all streams of their own length or that of the third, whichever is less."""
    for seed in range(10):
        full = TimedSearch(BestOfN(n=8, depth=1).fresh(0), SHORT_RIGHT, seed=seed)
        full.run()
        lengths = sorted(node.usage.completion_tokens for node in full.tree if node.id != ROOT)
        search = TimedSearch(ShortMajority(n=8, m=3, depth=1).fresh(0), SHORT_RIGHT, seed=seed)
        search.run()
        assert search.tree.usage.tokens == sum(min(length, lengths[2]) for length in lengths)


def test_ties_go_to_the_shortest_and_few_voters_vote(bench: Any) -> None:
    """Three different answers: the shortest trajectory's; fewer than m finishers vote all the same."""
    search = TimedSearch(ShortMajority(n=3, m=3, depth=1).fresh(0), LengthMix(success=0.0))
    appraisal = search.run()
    shortest = min((node for node in search.tree if node.id != ROOT), key=lambda node: node.usage.completion_tokens)
    assert appraisal.node == shortest.id
    b = bench(ShortMajority(n=3, m=3, depth=1).fresh(0))
    b.judge()
    for answer in ("a", "", "b"):
        b.grow(answer=answer)
    assert b.strategy.choice(b.tree).confidence == 0.5


@dataclass(frozen=True)
class Thinker(TextWorld):
    """Thoughts that are longer where they go wrong, each with an answer of the same length behind it."""

    answer_words: int = 40

    def rest(self, said: str, work: Expand, view: TreeView, rng: Rng) -> str:
        """Think to the end, then answer."""
        if said.endswith("<think>\n"):
            right = rng.random() < 0.5
            length = rng.randrange(40, 80) if right else rng.randrange(60, 120)
            return f"{RIGHT if right else f'wrong{length}'}{' hm' * (length - 1)}</think>{self._end(right, length)}"
        mind = said.removeprefix("<think>\n").split()[0]
        return self._end(mind == RIGHT, 0 if mind == RIGHT else int(mind.removeprefix("wrong")))

    def _end(self, right: bool, length: int) -> str:
        return " so" * (self.answer_words - 3) + f" answer is {RIGHT if right else f'wrong{length}'}"


def test_the_first_to_end_their_thinking_answer_and_no_others() -> None:
    """Tokens are those of all thoughts up to the third's end, and of three answers; the others never get to theirs."""
    found, world = 0, Thinker()
    for seed in range(60):
        all_of_them = TimedSearch(ShortMajority(n=8, m=8, thinking="think", depth=4).fresh(0), world, seed=seed)
        all_of_them.run()
        thoughts = sorted(node.usage.completion_tokens for node in all_of_them.tree if node.depth == 1)
        search = TimedSearch(ShortMajority(n=8, m=3, thinking="think", depth=4).fresh(0), world, seed=seed)
        appraisal = search.run()
        assert search.tree.usage.tokens == sum(min(n, thoughts[2]) for n in thoughts) + 3 * world.answer_words
        assert sum(node.answer is not None for node in search.tree) == 3
        assert appraisal.node is not None
        found += search.tree[appraisal.node].answer == RIGHT
    assert found / 60 > 0.75, "half of the thoughts are right, and the right ones are shorter"


def test_thoughts_apart_want_plain_turns() -> None:
    """The agent is told so before anything starts."""
    assert ShortMajority(thinking="think").in_segments
    assert not ShortMajority().in_segments


def test_chances_of_the_shortest_are_exact() -> None:
    """`first_of` is the exact share over all draws; ties in length count for the wrong ones; tasks are told apart."""
    evidence = Shortness(("1100",))
    assert evidence.first_of(1) == 0.5
    assert evidence.first_of(2) == pytest.approx(5 / 6)
    assert evidence.first_of(4) == evidence.first_of(9) == 1.0
    assert evidence.advantage == 1.0
    tied = Shortness.of([[(5.0, True), (5.0, False)] for _ in range(30)])
    assert tied.advantage == 0.0
    hard_is_long = Shortness.of([[(1.0, True)] * 9 + [(1.5, False)]] * 10 + [[(9.0, False)] * 9 + [(9.5, True)]] * 10)
    assert hard_is_long.advantage == 0.5
    assert abs(hard_is_long.z) < 1e-9


def test_runs_on_known_tasks_are_evidence() -> None:
    """Finished runs with the right answers say the same as lengths and rightness counted by hand."""
    trees = []
    for seed in range(12):
        search = TimedSearch(SelfConsistency(n=8, depth=1).fresh(0), SHORT_RIGHT, seed=seed)
        search.run()
        trees.append(search.tree)
    by_hand = [
        [(node.usage.completion_tokens, node.answer == "right") for node in tree if node.answer] for tree in trees
    ]
    assert Shortness.of_runs((tree, "The answer is: right.") for tree in trees) == Shortness.of(by_hand)


def test_too_little_is_known() -> None:
    """Twenty right and twenty wrong trajectories are the least."""
    with pytest.raises(UsageError, match="10 right and 0 wrong"):
        Shortness.of([[(1.0, True)] * 10])


@pytest.mark.parametrize("wrong", [{"m": 0}, {"m": 9, "n": 8}, {"n": 0}, {"same": "sense"}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """An option that does not exist or is out of range is refused."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ShortMajority(**wrong)
