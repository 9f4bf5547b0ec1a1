"""`DeepPrune`: one trajectory of each kind is finished, and votes with the size of its kind."""

from __future__ import annotations

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Prune, WorkStarted
from branchwise.core.simulated.texts import Traces
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.types import Verdict
from branchwise.search import DeepPrune, SelfConsistency, alike_outcomes
from tests.search.texts import Scrambled, scrambled

PROBLEMS = 40
PREFIX, LENGTH, TRACES = 10, 100, 64


def prune(**changes: object) -> DeepPrune:
    """64 trajectories that pause at a tenth of their length."""
    options: dict[str, object] = {"n": TRACES, "prefix_tokens": PREFIX, "most": 16, "comparisons": 3, "agreement": 0.0}
    return DeepPrune(**{**options, **changes})


def search(strategy: object, seed: int, world: Traces) -> TimedSearch:
    """Take one problem to its end."""
    timed = TimedSearch(strategy.fresh(seed), world, compare=world.alike, slots=TRACES, seed=seed)
    timed.run()
    return timed


def shares(tpr: float, fpr: float, problems: int = PROBLEMS, **changes: object) -> tuple[float, float, int]:
    """Share of problems solved, of the tokens of all trajectories, and fewest different answers among those finished."""
    world, right, tokens, least = Traces(length=LENGTH, tpr=tpr, fpr=fpr), 0, 0, TRACES
    for seed in range(problems):
        ended = search(prune(**changes), seed, world)
        right += ended.right
        tokens += ended.tree.usage.completion_tokens
        least = min(least, len({node.answer for node in ended.tree if node.answer}))
    return right / problems, tokens / problems / LENGTH / TRACES, least


def test_a_fifth_of_the_tokens_nearly_as_good() -> None:
    """A judge with .85/.15: .21 of the tokens (the prototype: .205), .79 solved or more; a coin toss loses much of that."""
    right, tokens, least = shares(0.85, 0.15)
    assert right >= 0.79
    assert tokens <= 0.25
    assert least >= 2
    blind, _, _ = shares(0.5, 0.5)
    assert blind <= right - 0.1
    perfect, cheap, _ = shares(1.0, 0.0, PROBLEMS // 2, comparisons=1)
    full = sum(search(SelfConsistency(n=TRACES), seed, Traces(length=LENGTH)).right for seed in range(PROBLEMS // 2))
    assert perfect == full / (PROBLEMS // 2), "clusters that are right vote as all trajectories do"
    assert cheap <= (PREFIX + 5 / TRACES * (LENGTH - PREFIX)) / LENGTH + 0.002


def test_a_judge_that_finds_all_alike_does_not_silence_the_others() -> None:
    """Two clusters are kept at least, and some of those that joined go on at random."""
    everything = search(prune(n=16), 3, Traces(length=LENGTH, tpr=1.0, fpr=1.0))
    assert sum(node.answer is not None for node in everything.tree) == 2
    some = search(prune(n=16, alive=0.5), 3, Traces(length=LENGTH, tpr=1.0, fpr=1.0))
    assert 4 <= sum(node.answer is not None for node in some.tree) <= 13


def test_more_are_finished_where_the_vote_is_not_clear() -> None:
    """Too little agreement lets members of the largest cluster go on, `extra` at most; the vote's weight stays that of all."""
    world = Traces(length=LENGTH, tpr=1.0, fpr=0.0, shares=(0.2,) * 5)
    few = search(prune(n=20, agreement=0.0), 1, world)
    more = search(prune(n=20, agreement=1.0, extra=3), 1, world)
    ended = [sum(node.answer is not None for node in run.tree) for run in (few, more)]
    assert ended[1] == ended[0] + 3
    for run in (few, more):
        assert isinstance(run.strategy, DeepPrune)
        assert sum(run.strategy.votes().values()) == pytest.approx(20)


def test_what_is_given_up_says_for_whom() -> None:
    """Beginnings that are not finished are closed, with the one that stands for them."""
    ended = search(prune(n=8), 1, Traces(length=LENGTH, tpr=1.0, fpr=0.0))
    given_up = [e.work for e in ended.events if isinstance(e, WorkStarted) and isinstance(e.work, Prune)]
    assert given_up
    for work in given_up:
        other = int(work.reason.rsplit(" ", 1)[1])
        texts = [ended.tree[node].step.text.split()[1] for node in (work.node, other)]
        assert texts[0] == texts[1]
    finished = sum(node.answer is not None for node in ended.tree)
    assert finished + len(given_up) == 8


def test_short_ones_need_no_judge() -> None:
    """What ends before the pause votes for itself; nothing is compared."""
    ended = search(prune(n=8, prefix_tokens=200), 1, Traces(length=LENGTH))
    assert ended.verifier_calls == 0
    assert ended.strategy.votes() == dict.fromkeys(ended.strategy.votes(), 1.0)
    assert len(ended.strategy.votes()) == 8


def test_outcomes_to_calibrate_the_judge_on() -> None:
    """Where all are finished, every pair that was compared is an outcome."""
    world = Traces(length=LENGTH, tpr=0.9, fpr=0.2)

    def told(one: object, other: object, rng: object) -> Verdict:
        """The judge's verdict with the pair in it, as `verifiers.Alike` has it."""
        verdict = world.alike(one, other, rng)
        pair = {one[-1].id: verdict.value, other[-1].id: verdict.value}
        return Verdict(verdict.value, "likelihood", "alike", ranking=pair)

    outcomes: list[tuple[float, bool]] = []
    for seed in range(6):
        timed = TimedSearch(prune(n=24, alive=1.0).fresh(seed), world, compare=told, slots=24, seed=seed)
        timed.run()
        outcomes += alike_outcomes(timed.tree)
    assert len(outcomes) > 300
    for same, chance in ((True, 0.9), (False, 0.2)):
        said = [value for value, alike in outcomes if alike is same]
        assert sum(said) / len(said) == pytest.approx(chance, abs=4 * (0.25 / len(said)) ** 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_in_any_order_and_with_failures(seed: int) -> None:
    """One piece of work in ten fails: the end is reached, and the journal gives the same strategy back."""
    world = Traces(length=30)
    strategy = DeepPrune(n=12, prefix_tokens=PREFIX, comparisons=2)
    run = Scrambled(strategy.fresh(seed), world, compare=world.alike, slots=5, seed=seed, fails=0.1)
    scrambled(run, strategy.fresh(seed))
    assert sum(run.strategy.votes().values()) >= 11, "one alone in its cluster may fail three times"


def test_options_are_checked() -> None:
    """With words that say what is allowed."""
    for wrong in ({"n": 1}, {"most": 1}, {"threshold": 2.0}, {"comparisons": 0}, {"alive": -1.0}, {"prefix_tokens": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            DeepPrune(**wrong)
