"""Choosing a step by where it leads: short rollouts from every candidate before one is taken."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, pvariance
from typing import ClassVar

from ..core.events import Expand, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within
from .levels import shares


@dataclass
class Lookahead(BaseStrategy):
    """Propose a few candidates for a step, roll each out a few steps further, and take the one that leads best.

    After MAXS (Zhang et al. 2026), Meta-Adaptive Exploration with LLM Agents: a candidate's worth is a weighted sum of how far
    its rollouts get above the present value, how little the values along them vary, and how little their changes do, each
    put through a softmax over the candidates. Once the candidates' rollouts end alike there is nothing left to decide and
    the trajectory goes on without them. Differs: the likelihood of a step is in the sampling of candidates already;
    the best is taken unless a `temperature` is given; rollouts of the chosen candidate are its next candidates. All
    rollouts of a step run side by side.

    Args:
        width: candidates for a step, >= 1.
        rollouts: of each candidate, >= 1; with one there is no spread to see between them.
        steps: how far a rollout goes, >= 1.
        advantage: weight of how far rollouts get, >= 0.
        consistency: weight of how little values vary along them, >= 0.
        trend: weight of how little the changes of values vary along them, >= 0.
        temperature: draw the step in proportion to exp(worth / temperature), >= 0; 0: take the best.
        epsilon: rollouts that end within it of each other end alike, >= 0.
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "lookahead"
    width: int = 4
    rollouts: int = 2
    steps: int = 2
    advantage: float = 1.0
    consistency: float = 0.3
    trend: float = 0.2
    temperature: float = 0.0
    epsilon: float = 0.0
    depth: int = field(default=16, kw_only=True)
    prior: float = field(default=0.5, kw_only=True)
    _here: NodeId | None = field(default=None, init=False, repr=False)
    """The prefix that is gone on from; None before the beginning and after the end."""
    _left: int = field(default=0, init=False, repr=False)
    """Candidates that are still to be proposed."""
    _tips: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """Nodes that rollouts go on from, and how many from each."""
    _out: dict[WorkId, NodeId] = field(default_factory=dict[WorkId, NodeId], init=False, repr=False)
    """Steps in the making or not judged yet, with the node that they come from."""
    _candidate: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId], init=False, repr=False)
    """The candidate that each node of this step's rollouts belongs to."""
    _ends: dict[NodeId, list[NodeId]] = field(default_factory=dict[NodeId, list[NodeId]], init=False, repr=False)
    """Where each candidate's rollouts ended."""
    _converged: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("width", "rollouts", "steps", "depth"):
            within(name, getattr(self, name), 1)
        for name in ("advantage", "consistency", "trend", "temperature", "epsilon"):
            within(name, getattr(self, name), 0.0)
        within("prior", self.prior, 0.0, 1.0)

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:  # noqa: ARG002 - the base's signature
        """Propose candidates, then roll out."""
        nodes: list[NodeId] = [] if self._here is None else [self._here] * self._left
        for node, times in self._tips.items():
            if len(nodes) >= slots:
                break
            nodes += [node] * times
        return [Expand(WorkId(first + i), node) for i, node in enumerate(nodes[:slots])]

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Count the step as out."""
        if not isinstance(work, Expand):
            return
        self._out[work.id] = work.node
        if work.node == self._here:
            self._left -= 1
        else:
            self._tips[work.node] -= 1
            if self._tips[work.node] == 0:
                del self._tips[work.node]

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """Try again, until too many failed: then the rollout ends where it is."""
        del self._out[work]
        if node == self._here:
            self._left += view.failures(node) < MAX_FAILURES * self.width
        elif view.failures(node) < MAX_FAILURES * self.rollouts:
            self._tips[node] = self._tips.get(node, 0) + 1
        else:
            self._ends[self._candidate[node]].append(node)
        self._decide(view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Take a candidate or a rollout's next step in."""
        if node == ROOT:
            self._here, self._left = ROOT, self.width
            return
        origin = self._out.pop(WorkId(node))
        if origin == self._here:
            self._propose(node, self.rollouts, view)
        else:
            self._roll(node, self._candidate[origin], 1, view)
        self._decide(view)

    def value(self, node: NodeId, view: TreeView) -> float:
        """The node's value, the prior where nobody judged it."""
        return self.prior if (value := view.value(node)) is None else value

    def _propose(self, node: NodeId, rollouts: int, view: TreeView) -> None:
        self._ends.setdefault(node, [])
        self._roll(node, node, rollouts, view)

    def _roll(self, node: NodeId, candidate: NodeId, times: int, view: TreeView) -> None:
        """Go on from a node of a candidate's rollouts, or end there."""
        self._candidate[node] = candidate
        ahead = view[node].depth - view[candidate].depth
        if self._converged or ahead >= self.steps or self._is_end(node, view):
            self._ends[candidate].append(node)
        elif times > 0:
            self._tips[node] = times

    def _is_end(self, node: NodeId, view: TreeView) -> bool:
        return view.status(node) != "live" or view[node].depth >= self.depth

    # --- the decision ---

    def _decide(self, view: TreeView) -> None:
        """Take a step, and further ones that are known already, where everything that was wanted is there."""
        while self._here is not None and self._left == 0 and not self._tips and not self._out:
            if not self._ends:
                self._here = None
                return
            worths = self.worths(view)
            chosen = list(self._ends)[self._pick(worths)]
            chains = [self._chain(end, chosen, view) for end in dict.fromkeys(self._ends[chosen])]
            self._candidate.clear()
            self._ends.clear()
            self._here = None if self._is_end(chosen, view) else chosen
            self._begin([chain for chain in chains if chain], view)

    def _begin(self, chains: list[list[NodeId]], view: TreeView) -> None:
        """Begin the next step with what rollouts of the chosen candidate showed of it already."""
        if self._here is None:
            return
        for chain in chains:
            self._propose(chain[0], self.rollouts - (len(chain) > 1), view)
            for node in chain[1:]:
                self._candidate[node] = chain[0]
            if len(chain) > 1:
                self._roll(chain[-1], chain[0], 1, view)
        self._left = max(0, (1 if self._converged else self.width) - len(self._ends))

    def _pick(self, worths: Sequence[float]) -> int:
        weights = shares(worths, self.temperature)
        rng = random.Random(f"{self.seed} {self._here}")  # noqa: S311 - no secret
        return rng.choices(range(len(weights)), weights)[0]

    def worths(self, view: TreeView) -> list[float]:
        """Return what each candidate is worth, in the order of their arrival; notices when they end alike."""
        assert self._here is not None
        now, gains, wobbles, bends = self.value(self._here, view), list[float](), list[float](), list[float]()
        ends: list[float] = []
        for candidate, tips in self._ends.items():
            paths = [
                [self.value(node, view) for node in (candidate, *self._chain(tip, candidate, view))]
                for tip in tips or [candidate]
            ]
            ends += [path[-1] for path in paths]
            changes = [[b - a for a, b in zip([now, *path], path, strict=False)] for path in paths]
            gains.append(fmean(path[-1] - now for path in paths))
            wobbles.append(-fmean(pvariance(path) for path in paths))
            bends.append(-fmean(pvariance(change) for change in changes))
        if len(self._ends) > 1 and max(ends) - min(ends) <= self.epsilon:
            self._converged = True
        parts = zip(shares(gains, 1.0), shares(wobbles, 1.0), shares(bends, 1.0), strict=True)
        return [self.advantage * a + self.consistency * v + self.trend * s for a, v, s in parts]

    @staticmethod
    def _chain(end: NodeId, start: NodeId, view: TreeView) -> list[NodeId]:
        """Return the nodes below `start` on the way to `end`."""
        chain: list[NodeId] = []
        here = end
        while here != start and (parent := view[here].parent) is not None:
            chain.append(here)
            here = parent
        chain.reverse()
        return chain
