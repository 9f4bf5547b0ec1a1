"""Choosing among the nodes of a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, Node, NodeId


@dataclass(frozen=True)
class Best:
    """Choose the node whose verdicts are best (`best_by_verdict`), which is what most strategies do by themselves."""

    name: ClassVar[str] = "best"

    def choose(self, view: TreeView) -> Appraisal:
        """Return the best node by its verdicts."""
        return Appraisal(best_by_verdict(view))


def best_by_verdict(view: TreeView) -> NodeId | None:
    """Return the node whose verdicts are best: accepted first, then by value, then finished ones, then the shallower.

    Nodes that nobody judged count only where they carry an answer, below every judged one. Those in the middle of a turn do
    not count.

    Returns:
        None where no node was judged and none has an answer.
    """
    best: tuple[tuple[bool, float, bool, int, int], NodeId] | None = None
    for node in view:
        if node.id == ROOT or view.status(node.id) == "pruned" or not _eligible(view, node):
            continue
        value = view.value(node.id)
        rank = (
            view.passed(node.id),
            -1.0 if value is None else value,
            node.answer is not None,
            -node.depth,
            -node.id,
        )
        if best is None or rank > best[0]:
            best = (rank, node.id)
    return None if best is None else best[1]


def _eligible(view: TreeView, node: Node) -> bool:
    unfinished = node.step is not None and node.step.kind == "partial"
    return node.answer is not None or (bool(view.verdicts(node.id)) and not unfinished)
