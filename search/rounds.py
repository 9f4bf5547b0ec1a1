"""Taking the best node off a frontier and expanding it a fixed number of times: A* and depth-first search have this in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Expand, Prune, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within
from .frontier import Frontier, Priority
from .states import SeenStates


@dataclass
class Rounds(BaseStrategy):
    """Base of strategies that expand the best node `width` times and never come back to it.

    A node whose round has begun comes before all others; slots that it leaves free go to the next best.

    Args:
        width: children of a node, >= 1.
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    together: ClassVar[bool] = False
    """Whether children enter the frontier when all of their siblings are judged, rather than one by one."""
    width: int = 4
    depth: int = field(default=16, kw_only=True)
    prior: float = field(default=0.5, kw_only=True)
    deduplicate: bool = field(default=True, kw_only=True)
    _frontier: Frontier[NodeId] = field(default_factory=Frontier[NodeId], init=False, repr=False)
    _left: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """Expansions of each node that are still to be started."""
    _out: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """Children of each node that are on their way or not judged yet."""
    _family: dict[NodeId, list[NodeId]] = field(default_factory=dict[NodeId, list[NodeId]], init=False, repr=False)
    """Judged children that wait for their siblings."""
    _seen: SeenStates = field(default_factory=SeenStates, init=False, repr=False)
    _duplicates: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId], init=False, repr=False)
    """Nodes to close, with the node that they equal."""

    def __post_init__(self) -> None:
        within("width", self.width, 1)
        within("depth", self.depth, 1)
        within("prior", self.prior, 0.0, 1.0)

    # --- for subclasses ---

    def rank(self, node: NodeId, view: TreeView) -> Priority:
        """Return the node's place in the frontier; smaller comes first."""
        raise NotImplementedError  # pragma: no cover - abstract

    def worthy(self, node: NodeId, view: TreeView) -> bool:  # noqa: ARG002 - for subclasses
        """Whether the node may be expanded at all."""
        return True

    def value(self, node: NodeId, view: TreeView) -> float:
        """The node's value, the prior where nobody judged it."""
        return self.prior if (value := view.value(node)) is None else value

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Close duplicates, then go on with rounds that have begun and begin the best of the others."""
        work: list[Work] = [
            Prune(WorkId(first + i), node, f"same state as node {twin}")
            for i, (node, twin) in enumerate(self._duplicates.items())
        ]
        first = WorkId(first + len(work))

        def again(node: NodeId, times: int) -> Priority | None:
            return (0.0, *self.rank(node, view)) if times < self._left[node] else None

        for i, node in zip(range(slots), self._frontier.peek(again), strict=False):
            work.append(Expand(WorkId(first + i), node))
        return work

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:
        """Count the expansion; a node whose round is complete leaves the frontier."""
        if isinstance(work, Prune):
            self._duplicates.pop(work.node, None)
        elif isinstance(work, Expand):
            self._out[work.node] = self._out.get(work.node, 0) + 1
            self._left[work.node] -= 1
            self._place(work.node, view)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Give the expansion back, or the rest of the round up where too many failed."""
        self._out[node] -= 1
        self._left[node] = self._left[node] + 1 if view.failures(node) < MAX_FAILURES * self.width else 0
        self._place(node, view)
        self._release(node, view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Put a judged node into the frontier, at once or with its siblings."""
        here = view[node]
        twin = self._seen.twin(here, view) if self.deduplicate else None
        if here.parent is not None:
            self._out[here.parent] -= 1
        if view.status(node) == "live":
            if twin is not None:
                self._duplicates[node] = twin
            elif here.depth < self.depth and self.worthy(node, view):
                if self.together and here.parent is not None:
                    self._family.setdefault(here.parent, []).append(node)
                else:
                    self._enter(node, view)
        if here.parent is not None:
            self._release(here.parent, view)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Rank a node that waits by its new value."""
        if node != ROOT and node in self._frontier:
            self._place(node, view)

    def _release(self, parent: NodeId, view: TreeView) -> None:
        """Let children that waited for each other into the frontier where the family is complete."""
        if self._left[parent] == 0 and self._out[parent] == 0:
            for child in sorted(self._family.pop(parent, ())):
                self._enter(child, view)

    def _enter(self, node: NodeId, view: TreeView) -> None:
        self._left[node] = self.width
        self._place(node, view)

    def _place(self, node: NodeId, view: TreeView) -> None:
        left = self._left[node]
        if left > 0:
            self._frontier.put(node, (float(left == self.width and not self._out.get(node)), *self.rank(node, view)))
        else:
            self._frontier.remove(node)
