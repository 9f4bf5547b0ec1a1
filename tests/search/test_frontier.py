"""The frontier against a sorted list, and what it costs."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from branchwise.search.frontier import Frontier, Priority

KEYS = st.integers(0, 12)
PRIORITIES = st.tuples(st.integers(0, 6), st.integers(0, 3))


def once(_key: int, _times: int) -> Priority | None:
    """Yield every key once."""
    return None


class FrontierMachine(RuleBasedStateMachine):
    """Any sequence of puts and removals leaves the frontier equal to a sorted list."""

    def __init__(self) -> None:
        super().__init__()
        self.frontier = Frontier[int]()
        self.model: dict[int, Priority] = {}

    @rule(key=KEYS, priority=PRIORITIES)
    def put(self, key: int, priority: Priority) -> None:
        """Add or re-rank."""
        self.frontier.put(key, priority)
        self.model[key] = priority

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        """Take out."""
        self.frontier.remove(key)
        self.model.pop(key, None)

    @rule(cost=st.integers(0, 4), count=st.integers(0, 30))
    def peek_again_and_again(self, cost: int, count: int) -> None:
        """Keys that come again at a price come in the order of a list sorted anew after each."""

        def again(key: int, times: int) -> Priority:
            return (self.model[key][0] + cost * times, self.model[key][1])

        got = list(islice(self.frontier.peek(again), count))
        priorities = dict(self.model)
        times = dict.fromkeys(self.model, 0)
        for key in got:
            assert priorities[key] == min(priorities.values())
            times[key] += 1
            priorities[key] = again(key, times[key])
        assert len(got) == (count if self.model else 0)

    @invariant()
    def same_order(self) -> None:
        """Every key once, best first, and nothing else."""
        got = list(self.frontier.peek(once))
        assert sorted(got) == sorted(self.model)
        assert [self.model[key] for key in got] == sorted(self.model.values())
        assert len(self.frontier) == len(self.model)
        assert all(key in self.frontier for key in self.model)


FrontierMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestFrontier = FrontierMachine.TestCase
TestFrontier.__doc__ = "The frontier behaves as a sorted list does."


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, PRIORITIES), max_size=30))
def test_peeking_changes_nothing(puts: list[tuple[int, Priority]]) -> None:
    """A frontier that was looked at equals one with the same history that was not."""
    seen, unseen = Frontier[int](), Frontier[int]()
    for key, priority in puts:
        seen.put(key, priority)
        unseen.put(key, priority)
        list(islice(seen.peek(lambda _key, times: (float(times),)), 5))
    assert seen == unseen


class Counted(float):
    """A number that counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: float) -> bool:
        Counted.comparisons += 1
        return float.__lt__(self, other)


def comparisons_per_round(size: int) -> float:
    """Comparisons of one search-like round: look at the best 16, make each of them worse, put one new key."""
    rng = random.Random(size)
    frontier = Frontier[int]()
    for key in range(size):
        frontier.put(key, (Counted(rng.random()),))
    Counted.comparisons = 0
    rounds = 400
    for turn in range(rounds):
        for key in list(islice(frontier.peek(once), 16)):
            frontier.put(key, (Counted(rng.random()),))
        frontier.put(size + turn, (Counted(rng.random()),))
    return Counted.comparisons / rounds


def test_a_round_costs_the_logarithm() -> None:
    """Sixteen times the keys, stale entries included, cost a few more comparisons and not sixteen times as many."""
    assert comparisons_per_round(16_000) < 2.5 * comparisons_per_round(1_000)


def test_stale_entries_do_not_pile_up() -> None:
    """Re-ranking the same keys for ever keeps the heap within a constant factor of the keys."""
    frontier = Frontier[int]()
    for turn in range(20_000):
        frontier.put(turn % 50, (float(turn % 997),))
    assert len(frontier._heap) <= 2 * 50 + 65
