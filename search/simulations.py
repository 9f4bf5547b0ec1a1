"""Simulations of a tree search: descend, expand, take the value back up. Many are out at once and none waits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..core.events import Expand, Prune, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within
from .states import SeenStates


@dataclass(slots=True)
class Visits:
    """What a search knows of a node."""

    count: int = 0
    """Simulations that went through the node and came back with a value."""
    total: float = 0.0
    """Sum of their values."""
    flying: int = 0
    """Simulations that went through the node and are still out."""
    issued: int = 0
    """Children that exist or are on their way."""
    own: float | None = None
    """The node's own part of the total."""
    closed: bool = False
    """It gets no further child."""
    open: dict[NodeId, None] = field(default_factory=dict[NodeId, None])
    """Children at or below which a further expansion is possible, or will be."""


@dataclass
class Plan:
    """What one `ask` has decided so far, on top of what was told."""

    flying: Counter[NodeId] = field(default_factory=Counter[NodeId])
    issued: Counter[NodeId] = field(default_factory=Counter[NodeId])
    blocked: set[NodeId] = field(default_factory=set[NodeId])
    """Nodes below which nothing can be begun before something comes back."""


@dataclass
class Simulations(BaseStrategy):
    """Base of strategies that choose a node to expand by descending from the root.

    A new node's value is its verdict, not a random playout; where no verifier judges it the trajectory goes on until one
    does. Answers and exhausted branches are never visited again.

    Args:
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    depth: int = field(default=16, kw_only=True)
    prior: float = field(default=0.5, kw_only=True)
    deduplicate: bool = field(default=True, kw_only=True)
    _visits: dict[NodeId, Visits] = field(default_factory=dict[NodeId, Visits], init=False, repr=False)
    _tips: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Ends of trajectories that have no value yet, in order of arrival: they go on before anything new begins."""
    _seen: SeenStates = field(default_factory=SeenStates, init=False, repr=False)
    _duplicates: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId], init=False, repr=False)
    """Nodes to close, with the node that they equal."""

    def __post_init__(self) -> None:
        within("depth", self.depth, 1)
        within("prior", self.prior, 0.0, 1.0)

    # --- for subclasses ---

    def descend(self, view: TreeView, plan: Plan, work: WorkId) -> NodeId | None:
        """Return the node that the work item is to expand; None: nothing to do until something comes back."""
        raise NotImplementedError  # pragma: no cover - abstract

    def full(self, node: NodeId) -> bool:
        """Whether the node never gets another child, beside those that are on their way."""
        return self._visits[node].closed

    def tries(self, node: NodeId, view: TreeView) -> int:
        """Return how many work items on the node may fail before it is closed."""
        raise NotImplementedError  # pragma: no cover - abstract

    def spent(self, node: NodeId, parent: NodeId) -> None:
        """At and below a node nothing can be expanded any more; it left its parent's choices."""

    def back_up(self, node: NodeId, value: float, view: TreeView) -> None:
        """Count a simulation that ended at `node` all along its path."""
        self._add(node, 1, value, view)

    def correct(self, node: NodeId, old: float, new: float, view: TreeView) -> None:
        """Replace the node's own value in what its path knows."""
        self._add(node, 0, new - old, view)

    def _add(self, node: NodeId | None, visits: int, value: float, view: TreeView) -> None:
        while node is not None:
            here = self._visits[node]
            here.count += visits
            here.total += value
            node = view[node].parent

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Close duplicates, go on with trajectories that have no value yet, then begin new simulations."""
        work: list[Work] = [
            Prune(WorkId(first + i), node, f"same state as node {twin}")
            for i, (node, twin) in enumerate(self._duplicates.items())
        ]
        first = WorkId(first + len(work))
        plan = Plan()
        tips = iter(self._tips)
        for i in range(slots):
            node = next(tips, None)
            if node is None and (node := self.descend(view, plan, WorkId(first + i))) is None:
                break
            work.append(Expand(WorkId(first + i), node))
            if i + 1 == slots:
                break
            plan.issued[node] += 1
            here: NodeId | None = node
            while here is not None:
                plan.flying[here] += 1
                here = view[here].parent
        return work

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:
        """Count the simulation as out all along its path."""
        if isinstance(work, Prune):
            self._duplicates.pop(work.node, None)
        elif isinstance(work, Expand):
            self._tips.pop(work.node, None)
            self._visits[work.node].issued += 1
            self._fly(work.node, 1, view)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Give the simulation back; a node on which too many failed is closed."""
        here = self._visits[node]
        here.issued -= 1
        self._fly(node, -1, view)
        unvalued = here.count == 0 and node != ROOT
        if view.failures(node) >= (MAX_FAILURES if unvalued else self.tries(node, view)):
            here.closed = True
            if unvalued:
                self.back_up(node, self.prior, view)
            self._spend(node, view)
        elif unvalued:
            self._tips[node] = None

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Take a node in and its value back to the root."""
        parent = view[node].parent
        if parent is not None:
            self._fly(parent, -1, view)
        if self.deduplicate and (twin := self._seen.twin(view[node], view)) is not None and parent is not None:
            if view.status(node) == "live":
                self._duplicates[node] = twin
            self._spend(parent, view)
            return
        leaf = view.status(node) != "live" or view[node].depth >= self.depth
        self._visits[node] = Visits(closed=leaf)
        if parent is not None:
            self._visits[parent].open[node] = None
        value = view.value(node)
        if value is None and not leaf and parent is not None:
            self._tips[node] = None
            return
        self._visits[node].own = self.prior if value is None else value
        self.back_up(node, self._visits[node].own or 0.0, view)
        self._spend(node, view)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Correct the node's part of every mean on its path."""
        here, value = self._visits.get(node), view.value(node)
        if here is not None and here.own is not None and value is not None:
            self.correct(node, here.own, value, view)
            here.own = value

    def _fly(self, node: NodeId | None, by: int, view: TreeView) -> None:
        while node is not None:
            self._visits[node].flying += by
            node = view[node].parent

    def _spend(self, node: NodeId, view: TreeView) -> None:
        """Take a node at and below which nothing can be expanded any more out of its parent's choices, and so on up."""
        while True:
            here = self._visits[node]
            parent = view[node].parent
            if here.open or here.flying or not self.full(node) or parent is None:
                return
            self._visits[parent].open.pop(node, None)
            self.spent(node, parent)
            node = parent
