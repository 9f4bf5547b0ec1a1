"""Beam search for safety: one call for all siblings, and fewer unsafe answers than independent trajectories at equal calls."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Expanded, Judged, Score
from branchwise.core.simulated.steps import Path as Choices
from branchwise.core.simulated.steps import Simulation, StepTree, noise_judge, true_judge, uniform
from branchwise.core.types import ROOT, Node, NodeId, Step, Verdict
from branchwise.search import BestOfN, Comparing, SafeBeam

from .worlds import chance_level, golden, grow, solved_share

PROBLEMS = 100


@dataclass(frozen=True)
class Hazards(StepTree):
    """A tree in which some steps are unsafe; whoever takes one stays unsafe."""

    branching: int = 4
    depth: int = 4
    share: float = 0.4

    def unsafe(self, path: Choices) -> bool:
        """Whether a step on the way was unsafe."""
        return any(uniform(self.seed, "unsafe", path[: n + 1]) < self.share for n in range(len(path)))

    def solved(self, path: Choices) -> bool:
        """No answer ends the search."""
        return False


@dataclass
class Guarded(Simulation):
    """A simulation whose judge ranks siblings by their safety, with errors, and counts its calls."""

    error: float = 0.15
    calls: int = 0
    blind: bool = False

    def finish(self, number: Any, outcome: Any = "well") -> Any:
        """End a work item; a comparison ranks the nodes that it names, and nothing else judges."""
        work = self.tree.in_flight[number]
        if not isinstance(work, Score) or outcome != "well":
            return super().finish(number, outcome)
        verdicts: tuple[Verdict, ...] = ()
        if work.among:
            self.calls += 1
            ranking = {node: self.safety(node) for node in work.among}
            verdicts = (Verdict(max(ranking.values()), "preference", "listwise", ranking=ranking),)
        event = Judged(work.id, work.node, verdicts)
        self._take(event)
        return event

    def safety(self, node: NodeId) -> float:
        """What the judge says of a step, .8 for safe and .2 for unsafe ones."""
        world = self.world
        assert isinstance(world, Hazards)
        rng = random.Random(f"{world.seed} {node}")
        if self.blind:
            return rng.random()
        value = 0.2 if world.unsafe(world.path(self.tree[node])) else 0.8
        return min(1.0, max(0.0, rng.gauss(value, self.error)))


def run(seed: int, *, blind: bool = False, **options: Any) -> Guarded:
    """A search to its end."""
    strategy = SafeBeam(2, 4, depth=4, **options).fresh(seed)
    simulation = Guarded(strategy, Hazards(seed=seed), 4, seed=seed, blind=blind)
    simulation.run(10**6, random.Random(seed))
    return simulation


@cache
def attacked(*, blind: bool = False) -> float:
    """Share of problems in which the answer is unsafe."""
    unsafe = 0
    for seed in range(PROBLEMS):
        simulation = run(seed, blind=blind, threshold=0.3)
        node = simulation.strategy.select(simulation.tree)
        unsafe += node is not None and simulation.world.unsafe(simulation.world.path(simulation.tree[NodeId(node)]))  # type: ignore[attr-defined]  # a Hazards
    return unsafe / PROBLEMS


def best_of(n: int) -> float:
    """The same for the answer that the judge thinks safest of `n` independent ones."""
    unsafe = 0
    for seed in range(PROBLEMS):
        world = Hazards(seed=seed)
        simulation = Guarded(BestOfN(n, depth=4).fresh(seed), world, 4, seed=seed)
        simulation.run(10**6)
        ends = [node for node in simulation.tree if node.answer is not None]
        best = max(ends, key=lambda node: simulation.safety(node.id))
        unsafe += world.unsafe(world.path(best))
    return unsafe / PROBLEMS


def test_one_call_for_all_siblings() -> None:
    """As many calls of the judge as prefixes that were expanded, not as many as children."""
    simulation = run(3)
    expanded = {node.parent for node in simulation.tree if node.parent is not None}
    assert simulation.calls == len(expanded)
    assert len(simulation.tree) - 1 >= 3 * simulation.calls


def test_fewer_unsafe_answers_than_independent_trajectories() -> None:
    """At most as many as best-of-n with as many calls of the same judge (seven), and the ablation, a judge that guesses, is worse."""
    assert max(run(seed, threshold=0.3).calls for seed in range(20)) <= 7
    assert attacked() <= best_of(7)
    assert attacked() <= 0.5 * attacked(blind=True)


def test_refuses_where_nothing_is_safe() -> None:
    """In a world without a safe step no answer is given, and little is spent on it."""
    strategy = SafeBeam(2, 4, depth=4).fresh(1)
    simulation = Guarded(strategy, Hazards(share=1.0, seed=1), 4, seed=1, error=0.05)
    simulation.run(1_000)
    assert strategy.select(simulation.tree) is None
    assert len(simulation.tree) == 1 + 8


def test_safety_is_that_of_the_least_safe_step() -> None:
    """However safe later steps look, a prefix is worth no more than its worst one."""
    simulation = run(5, threshold=0.0)
    strategy = simulation.strategy
    assert isinstance(strategy, SafeBeam)
    for node in simulation.tree:
        if node.parent is not None and node.parent != ROOT:
            assert strategy.worth(node.id) <= strategy.worth(node.parent)


def add(b: Any, text: str, *, kind: Any = "thought") -> NodeId:
    """End the next expansion with a step of some text."""
    work = next(work for work in b.tree.in_flight.values() if isinstance(work, Expand))
    b.take(Expanded(work.id, Node(NodeId(work.id), work.node, Step(kind, text), text, 1)))
    b.judge()
    return NodeId(work.id)


def test_what_the_judge_does_not_know_is_unsafe(bench: Any) -> None:
    """Unusable, empty and overlong steps are not even shown to it, and what it leaves out is never followed."""
    b = bench(SafeBeam(4, 1, longest_chars=10).fresh(0))
    b.judge()
    b.ask(9)
    fine, left_out = add(b, "fine"), add(b, "left out")
    add(b, "much too long for it")
    add(b, "odd", kind="invalid")
    (score,) = b.ask(9)
    assert score.among == (fine, left_out)
    b.take(Judged(score.id, ROOT, (Verdict(0.9, "preference", "listwise", ranking={fine: 0.9}),)))
    assert b.wants(9) == [fine]


def test_without_such_a_verifier_the_verdicts_decide() -> None:
    """Where nobody ranks siblings each one's own verdict counts: values help, noise (the ablation) does not."""
    chance = chance_level()
    strategy = SafeBeam(2, 3, depth=4, threshold=0.0, groups=2, aggregate="last")
    assert solved_share(strategy, true_judge, problems=60) > chance + 0.15
    assert solved_share(strategy, noise_judge, problems=60) < chance + 0.15


def test_a_judge_that_fails_is_done_without(bench: Any) -> None:
    """Asked three times in vain, the family goes by its own verdicts."""
    b = bench(SafeBeam(1, 1, judge="absent").fresh(0))
    b.judge(0.5)
    work = next(work for work in b.ask(1) if isinstance(work, Expand))
    b.take(Expanded(work.id, Node(NodeId(work.id), ROOT, Step("thought", "x"), "x", 1)))
    b.judge(0.8)
    for _ in range(3):
        (score,) = b.ask(1)
        assert score.verifiers == ("absent",)
        b.fail(score.id)
    assert b.wants(1) == [work.id]


def test_golden_tree() -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden("safe_beam", SafeBeam(2, 3, depth=4, threshold=0.2, aggregate="last"))


def test_large_trees() -> None:
    """One in ten failing loses nothing, also deep down."""
    grown = grow(SafeBeam(2, 2, threshold=0.0, depth=10**6), 4_000, fails=0.1)
    assert (grown.nodes, grown.lost) == (4_001, 0)
    assert grown.depth > 900


@pytest.mark.parametrize("wrong", [{"threshold": 2.0}, {"longest_chars": 0}, {"beams": 0}, {"width": 0}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and what is allowed."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SafeBeam(**wrong)


def test_no_comparison_around_it() -> None:
    """It asks verifiers that compare by itself; a controller that would take the answers from it is refused."""
    with pytest.raises(UsageError, match="compare by itself"):
        Comparing(SafeBeam())
