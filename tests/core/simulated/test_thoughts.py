"""The simulated texts are what they say they are."""

from __future__ import annotations

import math

import pytest

from branchwise.core.events import Expand, Expanded
from branchwise.core.simulated.thoughts import ThoughtStream
from branchwise.core.tree import Tree
from branchwise.core.turns import text_of
from branchwise.core.types import ROOT, NodeId, WorkId


def texts(world: ThoughtStream, *segments: int | None) -> Tree:
    """One trajectory in these segments."""
    tree = Tree(world.root())
    node = ROOT
    for number, tokens in enumerate(segments, 1):
        new = world.expand(Expand(WorkId(number), node, segment_tokens=tokens), tree, 0)
        tree.apply(Expanded(WorkId(number), new))
        node = new.id
    return tree


def test_segments_add_up_to_the_text() -> None:
    """However it is cut, the text, its length and its answer are the same."""
    world = ThoughtStream(tokens=100, seed=3)
    whole, cut = texts(world, None), texts(world, 40, 20, None)
    assert [node.step.kind for node in cut if node.step] == ["partial", "partial", "answer"]
    assert text_of(cut.path(NodeId(3))) == text_of(whole.path(NodeId(1)))
    assert sum(node.usage.completion_tokens for node in cut) == 100
    assert cut[NodeId(3)].answer == whole[NodeId(1)].answer


def test_the_answer_evolves_as_stated() -> None:
    """Shares of right answers after some chunks, and at the end, are those of the chain."""
    worlds = [ThoughtStream(seed=seed) for seed in range(2000)]
    for chunks in (0, 5, 20):
        share = sum(world.states(1)[chunks] for world in worlds) / 2000
        assert share == pytest.approx(worlds[0].chance(chunks), abs=4 * 0.5 / math.sqrt(2000))
    assert worlds[0].chance() == worlds[0].chance(20)


@pytest.mark.parametrize("insight", [0.0, 0.5, 1.0])
def test_the_probe_correlates_as_stated(insight: float) -> None:
    """In the middle by `insight`, at the end it knows."""
    pairs: list[tuple[float, float]] = []
    for seed in range(1500):
        world = ThoughtStream(seed=seed, insight=insight)
        tree = texts(world, 100, None)
        end = float(tree[NodeId(2)].answer == "right")
        assert world.foreseen(tree.path(NodeId(2))) == end
        pairs.append((world.foreseen(tree.path(NodeId(1))), end))
    q = ThoughtStream().chance()
    found = sum((a - q) * (b - q) for a, b in pairs) / 1500 / (q * (1 - q))
    assert found == pytest.approx(insight, abs=4 / math.sqrt(1500))
