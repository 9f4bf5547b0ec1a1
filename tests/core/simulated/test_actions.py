"""Simulated worlds of actions, refinements and concepts: their chances are what they say."""

from __future__ import annotations

from statistics import fmean, pstdev

import pytest

from branchwise.core.events import Expand
from branchwise.core.simulated.chains import RefineChain
from branchwise.core.simulated.concepts import ConceptTree, Lookup
from branchwise.core.simulated.tools import ToolWorld, tool_judge
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Framing, Node, NodeId, Recall, Step, WorkId


def test_the_right_action_is_proposed_as_often_as_it_says() -> None:
    """First with probability .6, among the first four with .9; off the right way never."""
    proposals = [ToolWorld(seed=seed).proposals(()) for seed in range(1_000)]
    assert fmean(p[0] == 0 for p in proposals) == pytest.approx(0.6, abs=0.06)
    assert fmean(0 in p for p in proposals) == pytest.approx(0.9, abs=0.04)
    assert all(len(set(p)) == 4 for p in proposals)
    assert not any(0 in ToolWorld(seed=seed).proposals((1,)) for seed in range(100))


def test_values_of_states() -> None:
    """.3 to 1 along the way, .2 off it, with an error of their own; 1 at the goal."""
    exact = ToolWorld(noise=0.0)
    assert [exact.value((0,) * n) for n in (0, 3, 6)] == pytest.approx([0.3, 0.65, 1.0])
    assert exact.value((0, 1)) == pytest.approx(0.2)
    errors = [tool_judge(ToolWorld(seed=seed, noise=0.1), (0,) * 3) - 0.65 for seed in range(500)]
    assert (fmean(errors), pstdev(errors)) == (pytest.approx(0, abs=0.02), pytest.approx(0.1, abs=0.02))


def test_held_actions_change_nothing_until_they_are_released() -> None:
    """A held step stays in its parent's state; released it is done, and counted."""
    world = ToolWorld(irreversible=1.0, top=1.0, among=1.0)
    tree = Tree(world.root())
    held = world.expand(Expand(WorkId(1), ROOT, external="hold"), tree, 0)
    tree._add(held)
    assert held.step is not None
    assert (held.step.held, held.env_ref, world.done_outside(tree)) == (True, "", [])
    done = world.expand(Expand(WorkId(2), held.id, external="release"), tree, 0)
    tree._add(done)
    assert (done.env_ref, world.path(done), world.done_outside(tree)) == ("0", (0,), [done.id])


def test_refined_attempts_build_on_the_shown_one() -> None:
    """Fresh ones are standard normal; refined ones keep nine tenths of the shown one's quality and gain .15."""
    tree = Tree(Node(ROOT, None, None))
    tree._add(Node(NodeId(1), ROOT, Step("answer", ""), answer="2.0"))
    chains = [RefineChain(seed=seed) for seed in range(1_000)]
    fresh = [chain.quality(chain.expand(Expand(WorkId(2), ROOT), tree, 0)) for chain in chains]
    framing = Framing((NodeId(1),))
    refined = [chain.quality(chain.expand(Expand(WorkId(2), ROOT, framing=framing), tree, 0)) for chain in chains]
    assert (fmean(fresh), pstdev(fresh)) == (pytest.approx(0, abs=0.13), pytest.approx(1, abs=0.1))
    assert (fmean(refined), pstdev(refined)) == (pytest.approx(1.95, abs=0.08), pytest.approx(0.6, abs=0.06))


def always(text: str) -> Lookup:
    """A memory that has the same for everything."""
    return lambda _context, _wanted, _kind: [text]


def test_the_right_example_makes_the_right_step_likely() -> None:
    """Without help .35, with the right example .5 for the task and .9 for a step, with a wrong one .15."""

    def share(example: str | None, parent: tuple[int, ...] = ()) -> float:
        taken = 0
        for seed in range(600):
            shown = ConceptTree(seed=seed).lesson(parent) if example == "right" else "something else"
            world = ConceptTree(seed=seed, lookup=None if example is None else always(shown))
            tree = Tree(world.root())
            if parent:
                tree._add(Node(NodeId(1), ROOT, Step("thought", ""), ".".join(map(str, parent)), 1))
            work = Expand(WorkId(2), NodeId(len(parent)), framing=Framing(recall=Recall(1)))
            taken += world.path(world.expand(work, tree, 0))[-1] == 0
        return taken / 600

    assert share(None) == pytest.approx(0.35, abs=0.08)
    assert share("right") == pytest.approx(0.5, abs=0.08)
    assert share("right", (0,)) == pytest.approx(0.9, abs=0.06)
    assert share("wrong") == pytest.approx(0.15, abs=0.06)
