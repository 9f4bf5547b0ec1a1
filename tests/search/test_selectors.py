"""Choosing among the nodes of a tree."""

from __future__ import annotations

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expanded, Judged, Pruned
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Verdict, WorkId
from branchwise.search import Best, best_by_verdict


class Grove:
    """A tree with nodes as the test wants them."""

    def __init__(self) -> None:
        self.tree = Tree(Node(ROOT, None, None))

    def node(
        self, value: float | None = None, *, passed: bool | None = None, depth: int = 1, answer: str | None = None
    ) -> NodeId:
        """Add a child of the root."""
        number = NodeId(len(self.tree))
        self.tree.apply(Expanded(WorkId(number), Node(number, ROOT, None, depth=depth, answer=answer)))
        if value is not None:
            self.tree.apply(Judged(WorkId(100 + number), number, (Verdict(value, "value", "v", passed),)))
        return number


def test_accepted_beats_any_value() -> None:
    """A node that the verifiers accept is chosen before one that only scores higher."""
    grove = Grove()
    grove.node(0.99)
    accepted = grove.node(0.5, passed=True)
    grove.node(0.98, passed=False)
    assert best_by_verdict(grove.tree) == accepted


def test_then_value_then_finished_then_shallow_then_first() -> None:
    """The order of the tie-breaks."""
    grove = Grove()
    grove.node(0.4)
    grove.node(0.6, depth=3)
    first = grove.node(0.6, depth=2)
    grove.node(0.6, depth=2)
    assert best_by_verdict(grove.tree) == first
    answered = grove.node(0.6, depth=9, answer="42")
    assert best_by_verdict(grove.tree) == answered


def test_unjudged_answers_come_last() -> None:
    """An answer that nobody judged is better than nothing and worse than anything judged."""
    grove = Grove()
    grove.node()
    assert best_by_verdict(grove.tree) is None
    answer = grove.node(answer="42")
    assert best_by_verdict(grove.tree) == answer
    judged = grove.node(0.0)
    assert best_by_verdict(grove.tree) == judged


def test_the_first_whole_one_stays_unless_another_is_clearly_better() -> None:
    """By the margin, or accepted; prefixes count as others, and without a whole one the best is chosen."""
    grove = Grove()
    prefix = grove.node(0.42)
    assert Best(margin=0.1).choose(grove.tree).node == prefix
    first = grove.node(0.4, answer="")
    close = grove.node(0.49, answer="")
    assert Best().choose(grove.tree).node == close
    assert Best(margin=0.1).choose(grove.tree).node == first
    better = grove.node(0.51, answer="")
    assert Best(margin=0.1).choose(grove.tree).node == better
    assert Best(margin=0.5).choose(grove.tree).node == first
    accepted = grove.node(0.3, passed=True, answer="")
    assert Best(margin=0.5).choose(grove.tree).node == accepted
    with pytest.raises(UsageError, match="margin"):
        Best(margin=-0.1)


def test_neither_the_root_nor_what_was_pruned() -> None:
    """The start is no answer; a pruned node has a twin that is chosen instead."""
    grove = Grove()
    grove.tree.apply(Judged(WorkId(99), ROOT, (Verdict(0.9, "value", "v"),)))
    pruned = grove.node(0.8)
    grove.tree.apply(Pruned(pruned, "twin"))
    assert best_by_verdict(grove.tree) is None
