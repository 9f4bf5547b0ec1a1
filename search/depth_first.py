"""Tree of thoughts, depth first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId
from .common import within
from .frontier import Priority
from .rounds import Rounds


@dataclass
class TotDFS(Rounds):
    """Propose `width` thoughts, go down into the best one that is worth it, and come back for the others.

    Yao et al. (2023), algorithm 2. Differs: slots that the deepest node leaves free go to its best sibling, and so on up.

    Args:
        width: thoughts from a state, >= 1.
        threshold: states of a lower value are not followed, in [0, 1].
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    name: ClassVar[str] = "tot-dfs"
    together: ClassVar[bool] = True
    width: int = 5
    threshold: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within("threshold", self.threshold, 0.0, 1.0)

    def worthy(self, node: NodeId, view: TreeView) -> bool:
        """Whether the state is followed."""
        return node == ROOT or self.value(node, view) >= self.threshold

    def rank(self, node: NodeId, view: TreeView) -> Priority:
        """The deepest first, of those the best."""
        return (-float(view[node].depth), -self.value(node, view), float(node))
