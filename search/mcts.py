"""Monte-Carlo tree search without barriers: UCT and PUCT."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, one_of, within
from .simulations import Plan, Simulations


@dataclass
class UCT(Simulations):
    """Descend to the child with the highest upper confidence bound, expand where a node may have more children.

    Kocsis & Szepesvari (2006), eq. 1: mean value + exploration * sqrt(ln N / n). Differs: a new node's value is its
    verdict, not a random playout; simulations that are still out count as visits of value 0 (virtual loss, Chaslot et al.
    2008), so that many run side by side and none waits; answers and exhausted branches are never visited again. A
    simulation costs O(depth * width).

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
    virtual_loss: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within("exploration", self.exploration, 0.0)
        within("width", self.width, 1)
        within("growth", self.growth, 0.0, 1.0)
        within("virtual_loss", self.virtual_loss, 0.0)

    def descend(self, view: TreeView, plan: Plan, work: WorkId) -> NodeId | None:  # noqa: ARG002 - the base's signature
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

    def _widens(self, node: NodeId, plan: Plan) -> bool:
        here = self._visits[node]
        if here.closed:
            return False
        children = here.issued + plan.issued.get(node, 0)
        if children < (self.width * max(1, here.count) ** self.growth if self.growth > 0.0 else self.width):
            return True
        # All children are spent: another one is all that is left, where there may be another one.
        return self.growth > 0.0 and not here.open and here.flying + plan.flying[node] == 0

    def _best_child(self, node: NodeId, view: TreeView, plan: Plan) -> NodeId | None:
        here = self._visits[node]
        if len(here.open) == 1:
            (only,) = here.open
            return None if self._visits[only].count == 0 or only in plan.blocked else only
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

    def full(self, node: NodeId) -> bool:
        """Whether the node has all the children that it may ever have."""
        here = self._visits[node]
        return here.closed or (self.growth == 0.0 and here.issued >= self.width)

    def tries(self, node: NodeId, view: TreeView) -> int:  # noqa: ARG002 - the base's signature
        """As many as a few rounds of children."""
        return MAX_FAILURES * self.width


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
