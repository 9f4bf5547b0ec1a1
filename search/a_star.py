"""A* over steps: what a prefix has cost and what it will still cost, both from the same scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId
from .common import one_of
from .frontier import Priority
from .rounds import Rounds


@dataclass
class AStar(Rounds):
    """Expand the node with the lowest cost so far plus cost to come, `width` times, and never again.

    Chatziveroglou (2025), A*-Decoding: Token-Efficient Inference Scaling. The cost to come of a prefix with value v is 1 - v. Of
    the cost so far only the signal that it comes from is published, so its form is an option: the `mean` of 1 - v over the
    prefix's steps, which does not punish length, their `sum`, which does and goes back to shallow nodes, or the `last` one,
    which makes it greedy. Differs: results are taken one by one, so more than one node is expanded where slots are free;
    the frontier has no bound, for nodes are small.

    Args:
        width: children of a node, >= 1.
        cost: `mean`, `sum` or `last`.
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    name: ClassVar[str] = "a-star"
    cost: Literal["mean", "sum", "last"] = "mean"
    _spent: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """Sum of 1 - value over each prefix's steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("cost", self.cost, ("mean", "sum", "last"))

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Add up what the prefix has cost."""
        parent = view[node].parent
        self._spent[node] = 0.0 if parent is None else self._spent[parent] + 1.0 - self.value(node, view)
        super().ready(node, view)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Correct the cost of a node; what was below it already keeps its own."""
        parent = view[node].parent
        if parent is not None and node in self._spent:
            self._spent[node] = self._spent[parent] + 1.0 - self.value(node, view)
        super().revalued(node, view)

    def rank(self, node: NodeId, view: TreeView) -> Priority:
        """The estimated cost of the whole; of equals the deeper, then the older."""
        if node == ROOT:
            return (0.0, 0.0, 0.0)
        to_come, depth = 1.0 - self.value(node, view), view[node].depth
        match self.cost:
            case "mean":
                so_far = self._spent[node] / depth
            case "sum":
                so_far = self._spent[node]
            case "last":
                so_far = to_come
        return (so_far + to_come, -float(depth), float(node))
