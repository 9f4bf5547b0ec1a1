"""What particle methods share: the weight of a trajectory by the potentials of its rewards, and the answer by weight."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId
from .common import one_of, within
from .equivalence import Named, grouped
from .levels import Levels
from .potentials import KINDS, Kind, Trace, extend

Output = Literal["best", "weight", "draw", "vote"]


@dataclass
class Steering(Levels):
    """Base of strategies whose trajectories are samples with weights.

    A value that changes later corrects the weight of the particle that stands on its node; particles that have gone on keep
    what they had gained there.

    Args:
        particles: trajectories of a filter, >= 1.
        potential: `prob`, `odds`, `ratio`, `difference`, `max`, `sum` or `reward`.
        strength: how much rewards count (lambda), >= 0; not used by the first three.
        threshold: resample where the effective sample size is below this share of the particles, in [0, 1]; 1: always,
            0: never.
        output: the answer is the `best` by its verdicts, the one of most `weight`, a `draw` by weight, or that of a `vote` by
            weight over equal answers.
        same: which answers count as equal in a vote: `exact`, `text` or `number`.
        depth: longest trajectory in steps, >= 1.
        groups: independent searches, >= 1; each costs what one costs.
        aggregate: what the reward after a step is by the values of the steps so far.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    particles: int = 8
    potential: Kind = "prob"
    strength: float = 10.0
    threshold: float = 0.5
    output: Output = "best"
    same: Named = field(default="exact", kw_only=True)
    _traces: dict[NodeId, Trace] = field(default_factory=lambda: {ROOT: Trace()}, init=False, repr=False)
    _base: dict[NodeId, float] = field(default_factory=lambda: {ROOT: 0.0}, init=False, repr=False)
    """Log-weight of a particle that sets out from a node."""
    _pool: list[dict[NodeId, tuple[int, float]]] = field(
        default_factory=list[dict[NodeId, tuple[int, float]]], init=False, repr=False
    )
    """The ended particles of each group: how many are at a node, and the log-weight of each."""
    _sizes: list[list[float]] = field(default_factory=list[list[float]], init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("particles", self.particles, 1)
        one_of("potential", self.potential, KINDS)
        within("strength", self.strength, 0.0)
        within("threshold", self.threshold, 0.0, 1.0)
        one_of("output", self.output, ("best", "weight", "draw", "vote"))
        one_of("same", self.same, ("exact", "text", "number"))

    # --- for subclasses ---

    def exponent(self, group: int) -> float:  # noqa: ARG002 - for subclasses
        """Return the power to which rewards count in a group."""
        return 1.0

    def weights(self) -> dict[NodeId, float]:
        """Return the weight of every ended trajectory, adding up to 1: what is known of the target."""
        raise NotImplementedError  # pragma: no cover - abstract

    def effective_sizes(self) -> list[list[float]]:
        """Return the effective sample sizes of each group, one per level that it chose; near 1 one particle carries all weight."""
        return self._sizes

    # --- weights ---

    def begin(self) -> int:
        """All particles set out from the root."""
        self._pool.append({})
        self._sizes.append([])
        return self.particles

    def weigh(self, node: NodeId, group: int, view: TreeView) -> float:
        """Return the log-weight of the particle that arrived at `node`."""
        parent = view[node].parent
        assert parent is not None
        self._traces[node] = self._trace(node, view)
        return self._base[parent] + self.gain(node, parent, group)

    def gain(self, node: NodeId, parent: NodeId, group: int) -> float:
        """Return what the step to `node` added to a log-weight."""
        return self.exponent(group) * (self._traces[node].total - self._traces[parent].total)

    def _trace(self, node: NodeId, view: TreeView) -> Trace:
        here = view[node]
        assert here.parent is not None
        ends = view.status(node) != "live" or here.depth >= self.depth
        return extend(self._traces[here.parent], self.worth(node), self.potential, self.strength, ends=ends)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Correct the weight of the particles on the node."""
        super().revalued(node, view)
        if node == ROOT or node not in self._traces:
            return
        before, after = self._traces[node], self._trace(node, view)
        self._traces[node] = after
        for group, pool in enumerate(self._pool):
            change = self.exponent(group) * (after.total - before.total)
            if node in pool:
                count, log = pool[node]
                pool[node] = (count, log + change)
            elif self._home.get(node) == group and node in self._base:
                self._base[node] += change

    # --- the outcome ---

    def select(self, view: TreeView) -> NodeId | None:
        """Return the ended trajectory that `output` says, the best by its verdicts where none has ended."""
        weights = self.weights()
        if self.output == "best" or not weights:
            return super().select(view)
        nodes = list(weights)
        if self.output == "draw":
            return random.Random(f"{self.seed} output").choices(nodes, list(weights.values()))[0]  # noqa: S311 - no secret
        if self.output == "vote":
            groups = grouped([view[node].answer for node in nodes], self.same)
            if groups:
                most = max(groups, key=lambda group: sum(weights[nodes[place]] for place in group))
                nodes = [nodes[place] for place in most]
        return max(nodes, key=lambda node: (weights[node], -node))


def effective(weights: list[float]) -> float:
    """Return the effective sample size of weights that add up to 1."""
    return 1.0 / sum(weight * weight for weight in weights)


def resample(weights: list[float], count: int, rng: random.Random, how: str) -> list[int]:
    """Draw `count` places, each on average `count` times its weight; `systematic` with the least variance."""
    bounds = list(itertools.accumulate(weights))
    if how == "multinomial":
        points = [rng.random() for _ in range(count)]
    else:
        start = rng.random()
        points = [(start + i) / count for i in range(count)]
    return sorted(min(bisect_right(bounds, point * bounds[-1]), len(weights) - 1) for point in points)
