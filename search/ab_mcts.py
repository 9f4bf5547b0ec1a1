"""Adaptive branching Monte-Carlo tree search: wider or deeper, decided by Thompson sampling."""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, one_of, within
from .simulations import Plan, Simulations

LIKELY = 48
"""Children of a node that are drawn from for what is known of them, where there are more."""

OTHERS = 16
"""Further children that are drawn from by chance."""


@dataclass(slots=True)
class Scores:
    """What was observed of one choice: enough for its posterior, in constant space."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, count: int, total: float, squares: float) -> None:
        """Take observations in, or correct them."""
        self.count += count
        self.total += total
        self.squares += squares


@dataclass(slots=True)
class Arms:
    """The choices at a node: a new child, or one of those that are there."""

    new: Scores = field(default_factory=Scores)
    """First scores of children."""
    old: Scores = field(default_factory=Scores)
    """All later scores below children."""
    here: Scores = field(default_factory=Scores)
    """Scores of the node itself and of everything below it: what its parent goes by."""
    first: NodeId | None = None
    """The node whose score was the first of those: the node itself, or the end of the trajectory that judged it."""


@dataclass
class ABMCTS(Simulations):
    """At every node draw from the posteriors of "a new child" and "go on below a child", and follow the better draw.

    Inoue et al. (2025), Wider or Deeper? Scaling LLM Inference-Time Compute with Adaptive Branching Tree Search, variant A
    (node aggregation), with the posteriors and priors of their public code: where a new child has scored well the
    tree grows wider, where refining has it grows deeper, and no width has to be chosen. Differs: draws are seeded by the
    number of the work item, so many simulations run side by side and a killed run goes on as it was; there is no virtual
    loss, for draws differ; posteriors are kept as sums; at a node with more than 64 children the draws are of the 48 whose
    posterior reaches highest and of 16 others, which makes a simulation O(depth) however wide the tree is; answers are never refined, and where no verifier judges a step its trajectory goes on.

    Args:
        posterior: `gaussian` (normal with unknown variance) or `beta` (scores as shares of successes).
        mean: expected score before any was seen, in [0, 1]; None: 0 for `gaussian`, 1/2 for `beta` as in the public code.
        confidence: how many observations that expectation counts for, > 0.
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    name: ClassVar[str] = "ab-mcts"
    posterior: Literal["gaussian", "beta"] = "gaussian"
    mean: float | None = None
    confidence: float = 1.0
    _arms: dict[NodeId, Arms] = field(default_factory=dict[NodeId, Arms], init=False, repr=False)
    _ranked: dict[NodeId, list[tuple[float, NodeId]]] = field(
        default_factory=dict[NodeId, list[tuple[float, NodeId]]], init=False, repr=False
    )
    """The children of each node that can be gone on below, by how high their posterior reaches, the highest first."""
    _reach: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """How high each of them stands there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("posterior", self.posterior, ("gaussian", "beta"))
        within("mean", 0.0 if self.mean is None else self.mean, 0.0, 1.0)
        within("confidence", self.confidence, 1e-6)

    # --- what to do next ---

    def descend(self, view: TreeView, plan: Plan, work: WorkId) -> NodeId | None:  # noqa: ARG002 - the base's signature
        """Go down by draws until one says that a new child is better."""
        if ROOT not in self._visits:
            return None
        rng = random.Random(f"{self.seed} {work}")  # noqa: S311 - no secret
        node = ROOT
        while True:
            below = self._choices(node, rng)
            here, closed = self._arms[node], self._visits[node].closed
            if not below:
                break
            if not closed and self.draw(here.new, rng) >= self.draw(here.old, rng):
                return node
            node = max(below, key=lambda child: self.draw(self._arms[child].here, rng))
        return None if closed else node

    def _choices(self, node: NodeId, rng: random.Random) -> list[NodeId]:
        """Return the children to draw from: all of them while they are few."""
        ranked = self._ranked.get(node, [])
        if len(ranked) <= LIKELY + OTHERS:
            return [child for child in self._visits[node].open if child in self._reach]
        places = [*range(LIKELY), *rng.sample(range(LIKELY, len(ranked)), OTHERS)]
        return [ranked[place][1] for place in places]

    def draw(self, scores: Scores, rng: random.Random) -> float:
        """Draw an expected score from the posterior."""
        if self.posterior == "beta":
            return rng.betavariate(*self.beta(scores))
        mean, kappa, nu, tau_square = self.gaussian(scores)
        variance = nu * tau_square / 2.0 / max(rng.gammavariate(nu / 2.0, 1.0), 1e-300)
        return rng.gauss(mean, math.sqrt(variance / kappa))

    def beta(self, scores: Scores) -> tuple[float, float]:
        """Return a and b of the beta posterior; Jeffreys' prior where nothing else was said."""
        mean = 0.5 if self.mean is None else self.mean
        # A prior of 0 or 1 for sure would never learn.
        a, b = max(mean, 1e-6) * self.confidence, max(1.0 - mean, 1e-6) * self.confidence
        return a + scores.total, b + scores.count - scores.total

    def gaussian(self, scores: Scores) -> tuple[float, float, float, float]:
        """Return m, kappa, nu and tau^2 of the normal-inverse-chi-squared posterior (Murphy 2023, section 3.4.3.3)."""
        prior, kappa, nu, tau_square = self.mean or 0.0, self.confidence, 1.0, 0.1
        n = scores.count
        if n == 0:
            return prior, kappa, nu, tau_square
        average = scores.total / n
        spread = max(0.0, scores.squares - n * average * average)
        drift = n * kappa * (prior - average) ** 2 / (kappa + n)
        mean = (kappa * prior + scores.total) / (kappa + n)
        return mean, kappa + n, nu + n, (nu * tau_square + spread + drift) / (nu + n)

    def reach(self, scores: Scores) -> float:
        """Return how high the posterior reaches: three standard deviations above its mean."""
        if self.posterior == "beta":
            a, b = self.beta(scores)
            return a / (a + b) + 3.0 * math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1.0)))
        mean, kappa, _, tau_square = self.gaussian(scores)
        return mean + 3.0 * math.sqrt(tau_square / kappa)

    def tries(self, node: NodeId, view: TreeView) -> int:
        """The more children came to be, the more may fail: a node has no width of its own."""
        return MAX_FAILURES * (4 + len(view.children(node)))

    # --- what happened ---

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Take a node in."""
        self._arms[node] = Arms()
        super().ready(node, view)

    def back_up(self, node: NodeId, value: float, view: TreeView) -> None:
        """Let every choice on the path learn the score."""
        super().back_up(node, value, view)
        self._learn(node, 1, value, value * value, view)

    def correct(self, node: NodeId, old: float, new: float, view: TreeView) -> None:
        """Replace a score that was learnt."""
        super().correct(node, old, new, view)
        self._learn(node, 0, new - old, new * new - old * old, view)

    def _learn(self, node: NodeId, count: int, total: float, squares: float, view: TreeView) -> None:
        current = node
        while (parent := view[current].parent) is not None:
            here, above = self._arms[current], self._arms[parent]
            if here.here.count == 0:
                here.first = node
            here.here.add(count, total, squares)
            (above.new if here.first == node else above.old).add(count, total, squares)
            self._rank(current, parent)
            current = parent

    def _rank(self, node: NodeId, parent: NodeId) -> None:
        """Put a child where it belongs among its siblings."""
        if node in self._visits[parent].open:
            self._unrank(node, parent)
            self._reach[node] = self.reach(self._arms[node].here)
            insort(self._ranked.setdefault(parent, []), (-self._reach[node], node))

    def _unrank(self, node: NodeId, parent: NodeId) -> None:
        if (reach := self._reach.pop(node, None)) is not None:
            ranked = self._ranked[parent]
            del ranked[bisect_left(ranked, (-reach, node))]

    def spent(self, node: NodeId, parent: NodeId) -> None:
        """Draw from it no more."""
        self._unrank(node, parent)
