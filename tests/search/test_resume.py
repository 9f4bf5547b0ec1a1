"""Every strategy, alone and within every controller, killed anywhere and rebuilt from its journal, goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.core.events import Event, decode, encode
from branchwise.core.protocols import Strategy
from branchwise.core.simulated.steps import Outcome, Simulation, StepTree, uniform
from branchwise.core.tree import Tree
from branchwise.core.types import NodeId, Verdict
from branchwise.search import BaseStrategy, NoiseAware, named

from .test_contract import OUTCOMES, STRATEGIES, WORLDS, ends, fingerprint

AROUND = st.sampled_from([None, *named.CONTROLLERS.values()])

SCHEDULES = st.lists(st.tuples(st.integers(0, 30), OUTCOMES), min_size=1, max_size=50)


@dataclass
class Noisy(Simulation):
    """A simulation whose judge says something else of a node every time that it is asked."""

    def verdict(self, node: NodeId) -> Verdict:
        """Return the next verdict on a node."""
        seen = super().verdict(node)
        error = uniform(self.world.seed, "error", node, len(self.tree.verdicts(node))) - 0.5
        return Verdict(min(1.0, max(0.0, seen.value + 0.4 * error)), "value", "judge", seen.passed)


def made(make: Callable[[], Strategy], around: type[NoiseAware] | None) -> Strategy:
    """A fresh strategy, within a controller where that can be around it."""
    inner = make()
    if around is None or not isinstance(inner, BaseStrategy):
        return inner.fresh(1)
    try:
        return around(inner).fresh(1)
    except UsageError:  # it says that it goes with others only
        return inner.fresh(1)


def resumed(strategy: Strategy, journal: list[Event], world: StepTree, slots: int) -> Simulation:
    """A new process: a fresh strategy that is told what the journal holds, work in flight as it was."""
    simulation = Noisy(strategy, world, slots)
    simulation.tree = Tree(world.root())
    for event in decode(encode(journal)):
        simulation._take(event)
    return simulation


@pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES.keys())
@settings(max_examples=10, deadline=None)
@given(world=WORLDS, schedule=SCHEDULES, slots=st.integers(1, 6), around=AROUND, kill=st.floats(0, 1))
def test_a_killed_search_goes_on_as_if_nothing_had_been(
    *,
    make: Callable[[], Strategy],
    world: StepTree,
    schedule: list[tuple[int, Outcome]],
    slots: int,
    around: type[NoiseAware] | None,
    kill: float,
) -> None:
    """From a kill on, whatever ends next and however, it does what it would have done, and chooses what it would have chosen."""
    spared = Noisy(made(make, around), world, slots)
    counts = [0, *ends(spared, schedule)]
    step = round(kill * (len(counts) - 1))
    killed = resumed(made(make, around), spared.events[: counts[step]], world, slots)
    list(ends(killed, schedule[step:]))
    assert killed.events == spared.events
    assert fingerprint(killed.strategy) == fingerprint(spared.strategy)
    assert killed.strategy.ask(killed.tree, slots) == spared.strategy.ask(spared.tree, slots)
    assert killed.strategy.select(killed.tree) == spared.strategy.select(spared.tree)


def test_every_name_is_tested() -> None:
    """Every strategy and controller that has a name is among those that are killed."""
    tested = {type(make()) for make in STRATEGIES.values()}
    assert set(named.STRATEGIES.values()) <= tested
    assert named.CONTROLLERS
