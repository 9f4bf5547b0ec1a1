"""Tree sampling by soft values: trajectories as often as the policy and an exponential of their reward say."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, one_of, within
from .potentials import normalised
from .simulations import Plan, Simulations


@dataclass
class SoftTree(Simulations):
    """Descend by chance, in proportion to exp(soft value), and back up the soft mean of a node's children.

    Jain et al. (2025), Diffusion Tree Sampling, from denoising steps to steps of a trajectory: a trajectory's soft value is
    strength * reward, that of a prefix log mean exp of its children's, so that descents sample from the policy tilted by
    exp(strength * reward), the more exactly the longer it runs. The mean is over sampled children and biased where they are
    few. With `goal="best"` it goes after the highest soft value instead (their search variant). Differs: exploring
    descents leave out branches in which nothing more can be expanded, which changes no value; simulations that are
    out are not waited for.

    Args:
        strength: how much rewards count (lambda), >= 0.
        width: children of a node that was visited once, > 0.
        growth: a node that was visited n times may have `width * n ** growth` children, in [0, 1].
        goal: what descents are for: to `sample`, or to find the `best` trajectory.
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before; equal children are part of the sample, so it is off.
    """

    name: ClassVar[str] = "soft-tree"
    strength: float = 3.0
    width: float = 1.5
    growth: float = 0.5
    goal: Literal["sample", "best"] = "sample"
    deduplicate: bool = field(default=False, kw_only=True)
    _soft: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """Soft value of every node that has one."""
    _valued: dict[NodeId, dict[NodeId, None]] = field(
        default_factory=dict[NodeId, dict[NodeId, None]], init=False, repr=False
    )
    """The children of a node that have one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("strength", self.strength, 0.0)
        within("width", self.width, 0.01)
        within("growth", self.growth, 0.0, 1.0)
        one_of("goal", self.goal, ("sample", "best"))

    # --- what to do next ---

    def descend(self, view: TreeView, plan: Plan, work: WorkId) -> NodeId | None:
        """Go down until a node may have another child."""
        rng = random.Random(f"{self.seed} {work}")  # noqa: S311 - no secret
        node = ROOT
        while node in self._visits:
            here = self._visits[node]
            below = [child for child in here.open if child in self._soft and child not in plan.blocked]
            if self._widens(node, plan, alone=not below):
                return node
            if below:
                node = self._pick(below, rng)
                continue
            plan.blocked.add(node)
            parent = view[node].parent
            if parent is None:
                return None
            node = parent
        return None

    def _widens(self, node: NodeId, plan: Plan, *, alone: bool) -> bool:
        """Whether the node gets another child; `alone`: there is no other way on from it."""
        here = self._visits[node]
        children = here.issued + plan.issued.get(node, 0)
        allowed = max(1.0, self.width * max(1, here.count) ** self.growth)
        return not here.closed and (children < allowed or (alone and self.growth > 0.0))

    def _pick(self, children: list[NodeId], rng: random.Random) -> NodeId:
        if len(children) == 1:
            return children[0]
        if self.goal == "best":
            return max(children, key=lambda child: self._soft[child])
        return rng.choices(children, normalised([self._soft[child] for child in children])[0])[0]

    def full(self, node: NodeId) -> bool:
        """Whether the node has all the children that it may ever have."""
        here = self._visits[node]
        return here.closed or (self.growth == 0.0 and here.issued >= max(1.0, self.width))

    def tries(self, node: NodeId, view: TreeView) -> int:
        """The more children came to be, the more may fail."""
        return MAX_FAILURES * (4 + len(view.children(node)))

    # --- what happened ---

    def back_up(self, node: NodeId, value: float, view: TreeView) -> None:
        """Let the path know the trajectory's soft value."""
        super().back_up(node, value, view)
        self._soften(node, self.strength * value, view)

    def correct(self, node: NodeId, old: float, new: float, view: TreeView) -> None:
        """Replace a value; what has valued children goes by those."""
        super().correct(node, old, new, view)
        if not self._valued.get(node):
            self._soften(node, self.strength * new, view)

    def _soften(self, node: NodeId, soft: float, view: TreeView) -> None:
        self._soft[node] = soft
        while (parent := view[node].parent) is not None:
            siblings = self._valued.setdefault(parent, {})
            siblings[node] = None
            # The logarithm of what the exponentials are on average.
            one = len(siblings) == 1
            mean = self._soft[node] if one else normalised([self._soft[child] for child in siblings])[1]
            if self._soft.get(parent) == mean:
                return  # nothing changes further up
            self._soft[parent] = mean
            node = parent

    # --- the outcome ---

    def weights(self, view: TreeView) -> dict[NodeId, float]:
        """Return the probability with which a descent now ends in each finished trajectory, adding up to 1."""
        reached, ends = {ROOT: 1.0}, dict[NodeId, float]()
        for node in view:
            chance = reached.get(node.id, 0.0)
            children = list(self._valued.get(node.id, ()))
            if children:
                shares, _ = normalised([self._soft[child] for child in children])
                reached.update((child, chance * share) for child, share in zip(children, shares, strict=True))
            elif chance > 0.0 and self._visits[node.id].closed:
                ends[node.id] = chance
        total = sum(ends.values())
        return {node: chance / total for node, chance in ends.items()}
