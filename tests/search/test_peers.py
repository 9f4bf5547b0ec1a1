"""`LearnFromPeers`: what paths tell each other repairs some and corrupts others."""

from __future__ import annotations

import random
from math import sqrt

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Expanded, WorkStarted
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.simulated.writers import PeerPaths
from branchwise.search import LearnFromPeers
from branchwise.search.likeness import levenshtein_ratio
from branchwise.search.peers import ALONE, route
from tests.search.texts import Scrambled, scrambled

PATHS, PROBLEMS = 8, 30


def talk(seed: int, rounds: int, world: PeerPaths, **changes: object) -> TimedSearch:
    """Take one problem through so many exchanges."""
    options: dict[str, object] = {"n": PATHS, "turns": rounds + 1, "turn_tokens": 1, "routing": "random", **changes}
    timed = TimedSearch(LearnFromPeers(**options).fresh(seed), world, seed=seed)
    timed.run()
    return timed


def good(rounds: int, repairs: float, corrupts: float, **changes: object) -> float:
    """Share of paths that end well."""
    world = PeerPaths(repairs, corrupts, length=9, **changes)
    answers = [node.answer for seed in range(PROBLEMS) for node in talk(seed, rounds, world).tree if node.answer]
    assert len(answers) == PATHS * PROBLEMS
    return answers.count("right") / len(answers)


def test_peers_help_and_peers_hurt() -> None:
    """Good paths after 0, 1, 3, 5 exchanges, as in the prototype: .50 .60 .75 .86, and .50 .47 .40 .35 where they persuade wrongly.

    Here a path's peers are others, never itself, which takes both a little further.
    """
    slack = 4 * sqrt(0.25 / PATHS / PROBLEMS)
    helped = [good(rounds, 0.3, 0.1) for rounds in (0, 1, 3, 5)]
    assert helped[0] == 0.5
    assert helped[1] == pytest.approx(0.5 + 0.5 * (6 / 7) * 0.3 - 0.5 * (2 / 7) * 0.1, abs=slack)
    assert helped[2] >= 0.7
    assert helped[3] >= 0.8
    hurt = [good(rounds, 0.1, 0.6) for rounds in (0, 1, 3, 5)]
    assert hurt[0] == 0.5
    assert hurt[1] == pytest.approx(0.5 + 0.5 * (6 / 7) * 0.1 - 0.5 * (2 / 7) * 0.6, abs=slack)
    assert hurt[1] > hurt[2] > hurt[3]
    assert hurt[3] <= 0.4


def test_summaries_that_tell_nothing_change_nothing() -> None:
    """The advantage is what peers say, not the pauses or the forced answers; nor is it there without peers."""
    assert good(3, 0.3, 0.1, telling=False) == 0.5
    world = PeerPaths(0.3, 0.1, length=9)
    answers = [node.answer for seed in range(10) for node in talk(seed, 3, world, peers=0).tree if node.answer]
    assert answers.count("right") == len(answers) / 2


def test_all_wait_for_each_other() -> None:
    """Every path that goes on sums up after the same turn, before any reads; nobody reads itself."""
    run = talk(1, 3, PeerPaths(length=9))
    kinds = ["recap" if work.closing else "other" for work in started(run)]
    assert kinds == (["other"] * PATHS + ["recap"] * PATHS) * 3 + ["other"] * PATHS + ["other"] * PATHS
    open_now: set[int] = set()
    closings: set[bool] = set()
    for event in run.events:
        if isinstance(event, WorkStarted) and isinstance(event.work, Expand):
            closings = closings if open_now else set()
            open_now.add(event.work.id)
            closings.add(bool(event.work.closing))
            assert len(closings) == 1, "two phases at once"
        elif isinstance(event, Expanded):
            open_now.discard(event.work)


def started(run: TimedSearch) -> list[Expand]:
    """All expansions, as they were begun."""
    return [e.work for e in run.events if isinstance(e, WorkStarted) and isinstance(e.work, Expand)]


def test_a_path_is_cut_back_to_its_last_paragraph() -> None:
    """What it wrote of an unfinished one is not part of what it goes on with; of a first one it is."""

    class Paragraphs(PeerPaths):
        """Texts with paragraphs."""

        def rest(self, said: str, work: Expand, view: object, rng: random.Random) -> str:
            """Two paragraphs, of which the second is cut, without end."""
            return " short</summarize>" if work.closing else " one two\n\nthree four five six"

    run = talk(1, 1, Paragraphs(), n=2, turn_tokens=4, turns=2)
    recaps = [work.lead for work in started(run) if work.closing]
    assert all(lead.startswith(" one two\n\n") and "three" not in lead for lead in recaps)


def test_who_is_alone_is_told_so() -> None:
    """A path whose peers have all left goes on without comments."""

    class Leaving(PeerPaths):
        """All but one path answer at once."""

        def rest(self, said: str, work: Expand, view: object, rng: random.Random) -> str:
            """The first goes on."""
            return super().rest(said, work, view, rng) if said or work.id % 4 == 0 else "answer is wrong"

    run = talk(1, 1, Leaving(length=9), n=3, turn_tokens=4)
    told = [work.lead for work in started(run) if "<comment>" in work.lead]
    assert told
    assert all(ALONE in lead for lead in told)


def test_who_reads_whom() -> None:
    """By hand: three summaries, two alike."""
    summaries = {0: "the sum is 12", 1: "the sum is 13", 2: "no idea at all"}
    assert levenshtein_ratio(summaries[0], summaries[1]) == pytest.approx(2 * 12 / 26)
    assert route(summaries, 1, "dispersed", random.Random(1)) == {0: [2], 1: [2], 2: [0]}
    assert route(summaries, 1, "clustered", random.Random(1)) == {0: [1], 1: [0], 2: [1]}
    for routing in ("hybrid", "random", "dispersed", "clustered"):
        for path, seen in route(summaries, 2, routing, random.Random(1)).items():
            assert sorted(seen) == [other for other in summaries if other != path]
    assert route(summaries, 1, "hybrid", random.Random(1))[0] == [2]
    assert route({3: "alone"}, 2, "dispersed", random.Random(1)) == {3: []}


def test_the_ratio_is_that_of_the_longest_common_subsequence() -> None:
    """Against the definition, on short texts of all kinds."""

    def common(one: str, other: str) -> int:
        table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
        for i, a in enumerate(one):
            for j, b in enumerate(other):
                table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
        return table[-1][-1]

    rng = random.Random(1)
    for _ in range(200):
        one, other = ("".join(rng.choices("abc", k=rng.randrange(12))) for _ in range(2))
        lengths = len(one) + len(other)
        assert levenshtein_ratio(one, other) == (2 * common(one, other) / lengths if lengths else 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_and_with_failures(seed: int) -> None:
    """One piece of work in ten fails: there is an answer, and the journal gives the same strategy back."""
    strategy = LearnFromPeers(n=4, turns=3, turn_tokens=2, exchanges=1)
    scrambled(Scrambled(strategy.fresh(seed), PeerPaths(length=9), slots=3, seed=seed, fails=0.1), strategy.fresh(seed))


def test_options_are_checked() -> None:
    """With words that say what is allowed."""
    for wrong in ({"turns": 0}, {"turn_tokens": 0}, {"peers": -1}, {"routing": "all"}, {"exchanges": -1}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            LearnFromPeers(**wrong)
