"""Best-first search over trajectories, without level barriers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Expand, Prune, Work
from ..core.tree import TreeView
from ..core.types import Node, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within
from .frontier import Frontier, Priority


@dataclass
class BestFirst(BaseStrategy):
    """Expand the most promising node anywhere in the tree, `width` children at a time.

    After Koh et al. (2024), Tree Search for Language Model Agents. Differs: expansions are issued one by one and results
    are taken as they come, so a slot never waits for a level; a node may be widened again, at a price, when nothing
    better is left; a node whose environment equals one that was seen before is closed.

    Args:
        width: children per round of a node, >= 1.
        depth: longest trajectory in steps, >= 1.
        patience: what a further round of `width` children costs a node in value (verdicts lie in [0, 1]), >= 0. Small:
            stay with the best node; large: spread.
        prior: value of a node that no verifier judged, in [0, 1]; the root has it too.
        deduplicate: close nodes whose environment was reached before.
        wait: expand a node again only when what came of it before is judged. Saves tokens where judging takes as long as a step, as by
            a model: what is not judged yet may be better than another child, and an agent with `distinct` is shown every child before
            it makes the next. Leaves slots idle.
    """

    name: ClassVar[str] = "best-first"
    width: int = 4
    depth: int = 8
    patience: float = 0.1
    prior: float = 0.5
    deduplicate: bool = True
    wait: bool = False
    _issued: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """Expansions of each node that were started and did not come to nothing."""
    _resting: set[NodeId] = field(default_factory=set[NodeId], init=False, repr=False)
    """Nodes that wait for what came of them to be judged."""
    _frontier: Frontier[NodeId] = field(default_factory=Frontier[NodeId], init=False, repr=False)
    _states: dict[str, NodeId] = field(default_factory=dict[str, NodeId], init=False, repr=False)
    """First node in each environment state."""
    _duplicates: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId], init=False, repr=False)
    """Nodes to close, with the node that they equal."""

    def __post_init__(self) -> None:
        within("width", self.width, 1)
        within("depth", self.depth, 1)
        within("patience", self.patience, 0.0)
        within("prior", self.prior, 0.0, 1.0)

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Close duplicates, then expand the best nodes of the frontier."""
        work: list[Work] = [
            Prune(WorkId(first + i), node, f"same state as node {twin}")
            for i, (node, twin) in enumerate(self._duplicates.items())
        ]
        first = WorkId(first + len(work))

        def again(node: NodeId, times: int) -> Priority | None:
            return None if self.wait else self._priority(node, view, self._issued.get(node, 0) + times)

        for i, node in zip(range(slots), self._frontier.peek(again), strict=False):
            work.append(Expand(WorkId(first + i), node))
        return work

    def _priority(self, node: NodeId, view: TreeView, issued: int) -> Priority:
        """Smaller is better: value less the price of the node's rounds; then the less expanded; then the shallower.

        A node whose step came to nothing begins a round behind: it is its parent with a mistake in its memory.
        """
        value = self.prior if (judged := view.value(node)) is None else judged
        here = view[node]
        if _stumbled(here):
            issued += self.width
        return (self.patience * (issued // self.width) - value, issued, here.depth)

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:
        """Count the expansion and rank its node anew."""
        if isinstance(work, Prune):
            self._duplicates.pop(work.node, None)
        elif isinstance(work, Expand):
            self._count(work.node, 1, view)
            if self.wait and work.node in self._frontier:
                self._frontier.remove(work.node)
                self._resting.add(work.node)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Give the expansion back, or the node up where too many failed."""
        self._count(node, -1, view)
        self._rested(node, view)
        if view.failures(node) >= MAX_FAILURES * self.width:
            self._frontier.remove(node)

    def _count(self, node: NodeId, by: int, view: TreeView) -> None:
        issued = self._issued.get(node, 0) + by
        if by:
            self._issued[node] = issued
        if node in self._frontier:
            self._frontier.put(node, self._priority(node, view, issued))

    def _rested(self, node: NodeId, view: TreeView) -> None:
        """Put a node that waited back into the frontier."""
        if node in self._resting:
            self._resting.remove(node)
            self._frontier.put(node, self._priority(node, view, self._issued.get(node, 0)))

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Rank a waiting node by its new value."""
        self._count(node, 0, view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Put a judged node into the frontier, unless it is finished, too deep or a duplicate."""
        here = view[node]
        if here.parent is not None:
            self._rested(here.parent, view)
        if view.status(node) != "live":
            return
        if self.deduplicate and (twin := self._remember(here)) is not None and self._moved(here, view):
            self._duplicates[node] = twin
        elif here.depth < self.depth:
            self._frontier.put(node, self._priority(node, view, 0))

    def _remember(self, node: Node) -> NodeId | None:
        """Return the first node in the same environment state, None where this is it."""
        if node.env_ref is None:
            return None
        twin = self._states.setdefault(node.env_ref, node.id)
        return None if twin == node.id else twin

    @staticmethod
    def _moved(node: Node, view: TreeView) -> bool:
        """Whether the step changed the environment; one that only looked has learnt something and is no duplicate."""
        return node.parent is not None and view[node.parent].env_ref != node.env_ref


def _stumbled(node: Node) -> bool:
    """Whether the node's step was unusable or every one of its calls failed."""
    step = node.step
    return step is not None and bool(step.observations) and not any(o.ok for o in step.observations)
