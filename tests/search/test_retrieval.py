"""Tree search that looks things up, on tasks of known concepts with a real memory: what each level of it is worth, and that it does no harm."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Expanded, Prune, Pruned
from branchwise.core.protocols import Entry
from branchwise.core.simulated.concepts import ConceptTree, Lookup
from branchwise.core.simulated.steps import Simulation
from branchwise.core.types import ROOT, Node, NodeId, Recall, Step
from branchwise.memory import Store
from branchwise.search import UCT, RetrievalUCT

from .worlds import golden, grow

PROBLEMS = 60
OPTIONS: dict[str, Any] = {"width": 3, "depth": 4, "ceiling": 1.0}


def entries(world: ConceptTree, *, fitting: bool) -> list[Entry]:
    """Examples for every state on the task's right way, or as many for states of other tasks."""
    if not fitting:
        kinds = ("task", "step")
        return [Entry(f"state needs other{n} here", f"by other{n}", kind) for n in range(6) for kind in kinds]
    ways = [(0,) * length for length in range(world.depth)]
    return [Entry(world.cue(way), world.lesson(way), "step" if way else "task") for way in ways]


def looking_up(store: Store) -> Lookup:
    """What a run does with a memory, without the model."""

    @cache
    def lookup(context: str, wanted: Recall, kind: Any) -> list[str]:
        found = store.find(context, wanted.k, kind)
        return [one.entry.text for one in found if wanted.floor <= one.likeness <= wanted.ceiling]

    return lookup


@cache
def solved(which: str, *, fitting: bool = True) -> float:
    """Share of tasks solved with sixteen simulations."""
    strategy = {
        "plain": UCT(width=3, depth=4),
        "coarse": RetrievalUCT(steps=0, **OPTIONS),
        "full": RetrievalUCT(**OPTIONS),
        "with a floor": RetrievalUCT(floor=0.6, **OPTIONS),
        "without a floor": RetrievalUCT(floor=0.0, **OPTIONS),
    }[which]
    count = 0
    for seed in range(PROBLEMS):
        world = ConceptTree(seed=seed)
        with Store() as store:
            store.add(*entries(world, fitting=fitting))
            simulation = Simulation(strategy.fresh(seed), replace(world, lookup=looking_up(store)), 2, seed=seed)
            simulation.run(16)
            count += simulation.solved
    return count / PROBLEMS


def test_each_level_of_retrieval_helps() -> None:
    """At equal simulations both levels solve more than the tasks' level alone, and that more than none. Measured: .30, .20, .12."""
    assert solved("coarse") >= solved("plain") + 0.03
    assert solved("full") >= solved("coarse") + 0.03
    assert solved("full") >= solved("plain") + 0.1


def test_a_floor_prevents_harm() -> None:
    """With a memory of nothing but what does not fit, a floor leaves everything as it was; without one it does harm."""
    assert abs(solved("with a floor", fitting=False) - solved("plain")) <= 0.01
    assert solved("without a floor", fitting=False) <= solved("plain") - 0.04


def test_what_steps_are_shown(bench: Any) -> None:
    """First steps look up tasks, later ones steps; within the bounds that were given."""
    b = bench(RetrievalUCT(width=2, tasks=3, steps=1, floor=0.1, ceiling=0.9).fresh(0))
    b.judge(0.5)
    framings = []
    for _ in range(3):
        (work,) = (work for work in b.strategy.ask(b.tree, 1) if isinstance(work, Expand))
        framings.append(
            (work.node == ROOT, work.framing.recall.k, work.framing.recall.floor, work.framing.recall.ceiling)
        )
        b.grow(0.9)
    assert framings[:2] == [(True, 3, 0.1, 0.9)] * 2
    assert framings[2] == (False, 1, 0.1, 0.9)


def test_the_outline_comes_first(bench: Any) -> None:
    """One call for it, closed at once and never judged; first steps are shown it. Where it fails it is done without."""
    b = bench(RetrievalUCT(width=2, outline=True).fresh(0))
    b.judge(0.5)
    (work,) = b.ask(4)
    assert "Do not solve" in work.framing.note
    assert b.ask(4) == []
    node = Node(NodeId(work.id), ROOT, Step("answer", ""), None, 1, answer="an ordering")
    b.take(Expanded(work.id, node))
    closing, *works = b.strategy.ask(b.tree, 4)
    assert (type(closing), closing.node) == (Prune, node.id)
    assert {work.framing.shown for work in works} == {(node.id,)}
    b.ask(4)
    assert b.tree.status(node.id) == "pruned"
    assert Pruned(node.id, "").node not in b.strategy._visits
    b = bench(RetrievalUCT(width=2, outline=True).fresh(0))
    b.judge(0.5)
    for _ in range(3):
        (work,) = b.ask(4)
        b.fail(work.id)
    assert [work.framing.shown for work in b.strategy.ask(b.tree, 1)] == [()]


def test_golden_tree() -> None:
    """The tree of a seeded search is that of UCT: what is looked up is not its matter."""
    golden("uct", RetrievalUCT(width=3, depth=4))


def test_large_trees() -> None:
    """One in ten failing loses nothing, the outline included."""
    grown = grow(RetrievalUCT(outline=True, depth=50), 1_000, fails=0.1)
    assert (grown.nodes, grown.lost) == (1_001, 0)


@pytest.mark.parametrize("wrong", [{"tasks": -1}, {"steps": -1}, {"floor": 2.0}, {"ceiling": 0.1, "floor": 0.2}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and what is allowed."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        RetrievalUCT(**wrong)
