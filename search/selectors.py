"""Choosing among the nodes of a tree."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, get_args

from ..core.errors import UsageError
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, Node, NodeId

Aggregate = Literal["last", "min", "product", "mean"]
"""What a prefix is worth by the values of its steps: that of the last one, the least, their product, their mean."""


@dataclass(frozen=True)
class Best:
    """Choose the node whose verdicts are best (`best_by_verdict`), which is what most strategies do by themselves.

    Args:
        aggregate: what a trajectory is worth by the values of its judged steps.
        margin: the first whole trajectory, which a model makes before it is made to do something else, is chosen unless another is
            accepted or worth so much more, >= 0. For judges whose values differ by less from call to call.

    Raises:
        UsageError: there is no such `aggregate`, or `margin` is out of range.
    """

    name: ClassVar[str] = "best"
    aggregate: Aggregate = "last"
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not self.margin >= 0.0:
            raise UsageError(f"margin={self.margin!r} is out of range; it must be at least 0")
        if self.aggregate not in get_args(Aggregate):
            raise UsageError(
                f"aggregate={self.aggregate!r} is unknown; it must be one of {', '.join(get_args(Aggregate))}"
            )

    def choose(self, view: TreeView) -> Appraisal:
        """Return the best node by its verdicts."""
        whole = any(node.answer is not None for node in view)
        worth = partial(self._worth, view=view, whole=whole)
        best = best_by_verdict(view, worth)
        if best is None or not self.margin or view.passed(best):
            return Appraisal(best)
        first = next((node.id for node in view if node.answer is not None and eligible(view, node)), best)
        better = (worth(best) or 0.0) - (worth(first) or 0.0)
        return Appraisal(first if better < self.margin else best)

    def _worth(self, node: NodeId, view: TreeView, *, whole: bool) -> float | None:
        """A trajectory's value; of several steps together prefixes have none where there are whole ones."""
        if self.aggregate == "last":
            return view.value(node)
        if whole and view[node].answer is None:
            return None
        values = [value for step in view.path(node) if step.id != ROOT and (value := view.value(step.id)) is not None]
        if not values:
            return None
        match self.aggregate:
            case "min":
                return min(values)
            case "product":
                return math.prod(values)
            case _:
                return math.fsum(values) / len(values)


def best_by_verdict(view: TreeView, worth: Callable[[NodeId], float | None] | None = None) -> NodeId | None:
    """Return the node whose verdicts are best: accepted first, then by value, then finished ones, then the shallower.

    Nodes that nobody judged count only where they carry an answer, below every judged one. Those in the middle of a turn do
    not count.

    Args:
        view: the tree.
        worth: a node's value; its mean verdict unless given.

    Returns:
        None where no node was judged and none has an answer.
    """
    best: tuple[tuple[bool, float, bool, int, int], NodeId] | None = None
    for node in view:
        if node.id == ROOT or not eligible(view, node):
            continue
        value = view.value(node.id) if worth is None else worth(node.id)
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


def eligible(view: TreeView, node: Node) -> bool:
    """Whether a node may be chosen: answered or judged, neither closed nor in the middle of a turn."""
    if view.status(node.id) == "pruned":
        return False
    unfinished = node.step is not None and node.step.kind == "partial"
    return node.answer is not None or (bool(view.verdicts(node.id)) and not unfinished)
