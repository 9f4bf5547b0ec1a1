"""Monte-Carlo tree search without barriers: UCT and PUCT."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.events import Expand, Prune, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, one_of, within
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
class _Plan:
    """What one `ask` has decided so far, on top of what was told."""

    flying: Counter[NodeId] = field(default_factory=Counter[NodeId])
    issued: Counter[NodeId] = field(default_factory=Counter[NodeId])
    blocked: set[NodeId] = field(default_factory=set[NodeId])
    """Nodes below which nothing can be begun before something comes back."""


@dataclass
class UCT(BaseStrategy):
    """Descend to the child with the highest upper confidence bound, expand where a node may have more children.

    Kocsis & Szepesvari (2006), eq. 1: mean value + exploration * sqrt(ln N / n). Differs: a new node's value is its
    verdict, not a random playout, and where no verifier judges it the trajectory goes on until one does; simulations
    that are still out count as visits of value 0 (virtual loss, Chaslot et al. 2008), so that many run side by side and
    none waits; answers and exhausted branches are never visited again. A simulation costs O(depth * width).

    Args:
        exploration: weight of the bonus for few visits, >= 0.
        width: children of a node, >= 1.
        growth: a node that was visited n times may have `width * n ** growth` children (progressive widening, Couetoux
            et al. 2011), in [0, 1]; 0: never more than `width`.
        depth: longest trajectory in steps, >= 1.
        virtual_loss: visits of value 0 that a simulation counts for while it is out, >= 0.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    name: ClassVar[str] = "uct"
    exploration: float = 0.2
    width: int = 6
    growth: float = 0.0
    depth: int = 16
    virtual_loss: float = 1.0
    prior: float = 0.5
    deduplicate: bool = True
    _visits: dict[NodeId, Visits] = field(default_factory=dict[NodeId, Visits], init=False, repr=False)
    _tips: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Ends of trajectories that have no value yet, in order of arrival: they go on before anything new begins."""
    _seen: SeenStates = field(default_factory=SeenStates, init=False, repr=False)
    _duplicates: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId], init=False, repr=False)
    """Nodes to close, with the node that they equal."""

    def __post_init__(self) -> None:
        within("exploration", self.exploration, 0.0)
        within("width", self.width, 1)
        within("growth", self.growth, 0.0, 1.0)
        within("depth", self.depth, 1)
        within("virtual_loss", self.virtual_loss, 0.0)
        within("prior", self.prior, 0.0, 1.0)

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Close duplicates, go on with trajectories that have no value yet, then begin new simulations."""
        work: list[Work] = [
            Prune(WorkId(first + i), node, f"same state as node {twin}")
            for i, (node, twin) in enumerate(self._duplicates.items())
        ]
        first = WorkId(first + len(work))
        plan = _Plan()
        tips = iter(self._tips)
        for i in range(slots):
            node = next(tips, None)
            if node is None and (node := self._descend(view, plan)) is None:
                break
            plan.issued[node] += 1
            here: NodeId | None = node
            while here is not None:
                plan.flying[here] += 1
                here = view[here].parent
            work.append(Expand(WorkId(first + i), node))
        return work

    def _descend(self, view: TreeView, plan: _Plan) -> NodeId | None:
        """Return the node to expand next; None: nothing to do until something comes back."""
        node = ROOT
        while node in self._visits and not self._widens(node, plan):
            best = self._best_child(node, view, plan)
            if best is not None:
                node = best
                continue
            plan.blocked.add(node)
            parent = view[node].parent
            if parent is None:
                return None
            node = parent
        return node if node in self._visits else None

    def _widens(self, node: NodeId, plan: _Plan) -> bool:
        here = self._visits[node]
        if here.closed:
            return False
        children = here.issued + plan.issued[node]
        if children < self.width * max(1, here.count) ** self.growth:
            return True
        # All children are spent: another one is all that is left, where there may be another one.
        return self.growth > 0.0 and not here.open and here.flying + plan.flying[node] == 0

    def _best_child(self, node: NodeId, view: TreeView, plan: _Plan) -> NodeId | None:
        here = self._visits[node]
        visits = here.count + self.virtual_loss * (here.flying + plan.flying[node])
        shares = self._shares(node, view)
        best: tuple[float, NodeId] | None = None
        for child in here.open:
            below = self._visits[child]
            if below.count == 0 or child in plan.blocked:
                continue
            n = below.count + self.virtual_loss * (below.flying + plan.flying[child])
            bound = below.total / n + self.exploration * self._bonus(visits, n, shares.get(child, 1.0))
            if best is None or bound > best[0]:
                best = (bound, child)
        return None if best is None else best[1]

    def _shares(self, node: NodeId, view: TreeView) -> dict[NodeId, float]:  # noqa: ARG002 - for subclasses
        """Return what the policy thinks of a node's children; UCT does not ask it."""
        return {}

    def _bonus(self, parent_visits: float, visits: float, share: float) -> float:  # noqa: ARG002 - for subclasses
        """Return the bonus for few visits."""
        return math.sqrt(math.log(max(1.0, parent_visits)) / visits)

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
        if view.failures(node) >= MAX_FAILURES * (1 if unvalued else self.width):
            here.closed = True
            if unvalued:
                self._back_up(node, 1, self.prior, view)
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
        self._back_up(node, 1, self._visits[node].own or 0.0, view)
        self._spend(node, view)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Correct the node's part of every mean on its path."""
        here, value = self._visits.get(node), view.value(node)
        if here is not None and here.own is not None and value is not None:
            self._back_up(node, 0, value - here.own, view)
            here.own = value

    def _fly(self, node: NodeId | None, by: int, view: TreeView) -> None:
        while node is not None:
            self._visits[node].flying += by
            node = view[node].parent

    def _back_up(self, node: NodeId | None, visits: int, value: float, view: TreeView) -> None:
        while node is not None:
            here = self._visits[node]
            here.count += visits
            here.total += value
            node = view[node].parent

    def _spend(self, node: NodeId, view: TreeView) -> None:
        """Take a node at and below which nothing can be expanded any more out of its parent's choices, and so on up."""
        while True:
            here = self._visits[node]
            full = here.closed or (self.growth == 0.0 and here.issued >= self.width)
            parent = view[node].parent
            if here.open or here.flying or not full or parent is None:
                return
            self._visits[parent].open.pop(node, None)
            node = parent


@dataclass
class PUCT(UCT):
    """As `UCT`, with a bonus that follows the policy's own opinion of a step.

    Rosin (2011) in the form of Silver et al. (2017): mean value + exploration * share * sqrt(N) / (1 + n).

    Args:
        exploration: weight of the bonus, >= 0.
        policy: a child's share: `uniform`, or `likelihood`: exp(mean log-probability of the step's tokens), normalised over
            the node's children; where no log-probabilities were asked for the shares are equal.
        width: children of a node, >= 1.
        growth: exponent of progressive widening, in [0, 1].
        depth: longest trajectory in steps, >= 1.
        virtual_loss: visits of value 0 that a simulation counts for while it is out, >= 0.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    name: ClassVar[str] = "puct"
    exploration: float = 0.5
    policy: Literal["uniform", "likelihood"] = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("policy", self.policy, ("uniform", "likelihood"))

    def _shares(self, node: NodeId, view: TreeView) -> dict[NodeId, float]:
        children = self._visits[node].open
        weights = [self._weight(child, view) if self.policy == "likelihood" else 1.0 for child in children]
        total = sum(weights)
        return {child: weight / total for child, weight in zip(children, weights, strict=True)}

    @staticmethod
    def _weight(child: NodeId, view: TreeView) -> float:
        here = view[child]
        if here.step is None or here.step.logprob is None:
            return 1.0
        return math.exp(min(0.0, here.step.logprob / max(1, here.usage.completion_tokens)))

    def _bonus(self, parent_visits: float, visits: float, share: float) -> float:
        return share * math.sqrt(parent_visits) / (1.0 + visits)
