"""Particle filtering: trajectories as samples of the policy, weighted by rewards, rather than as candidates for a maximum."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId
from .common import one_of, within
from .levels import Group, Levels
from .potentials import KINDS, Kind, Trace, extend, normalised


@dataclass
class Particles(Levels):
    """Let particles take a step each, weigh them by the potential of their rewards, and resample where few carry the weight.

    Puri et al. (2025), A Probabilistic Inference Approach to Inference-Time Scaling of LLMs using Particle-Based Monte Carlo
    Methods, with the potentials of Feynman-Kac steering (`potentials.extend` names each one's target). It samples
    from its target instead of going after the highest score, so wrong scores mislead it less than a maximum. Differs:
    systematic resampling, and only where the effective sample size has fallen; with `groups` there are several filters
    side by side that never wait for each other, weighted by their evidence (island particle filters, Verge et al. 2015).

    Args:
        particles: trajectories of a filter, >= 1.
        potential: `prob`, `odds`, `ratio`, `difference`, `max`, `sum` or `reward`.
        strength: how much rewards count (lambda), >= 0; not used by the first three.
        threshold: resample where the effective sample size is below this share of the particles, in [0, 1]; 1: always.
        resampling: `systematic` or `multinomial`.
        ended: whether particles that ended `compete` for places with those that go on or are set `aside`.
        output: the answer is the `best` by its verdicts, the one of most `weight`, a `draw` by weight, or that of a `vote` by
            weight over equal answers.
        depth: longest trajectory in steps, >= 1.
        groups: independent filters, >= 1; each costs what one costs.
        aggregate: what the reward after a step is by the values of the steps so far.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "particles"
    particles: int = 8
    potential: Kind = "prob"
    strength: float = 10.0
    threshold: float = 0.5
    resampling: Literal["systematic", "multinomial"] = "systematic"
    ended: Literal["compete", "aside"] = "compete"
    output: Literal["best", "weight", "draw", "vote"] = "best"
    _traces: dict[NodeId, Trace] = field(default_factory=dict[NodeId, Trace], init=False, repr=False)
    _base: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """Log-weight of a particle that sets out from a node."""
    _pool: list[dict[NodeId, tuple[int, float]]] = field(
        default_factory=list[dict[NodeId, tuple[int, float]]], init=False, repr=False
    )
    """The ended particles of each group: how many are at a node, and the log-weight of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("particles", self.particles, 1)
        one_of("potential", self.potential, KINDS)
        within("strength", self.strength, 0.0)
        within("threshold", self.threshold, 0.0, 1.0)
        one_of("resampling", self.resampling, ("systematic", "multinomial"))
        one_of("ended", self.ended, ("compete", "aside"))
        one_of("output", self.output, ("best", "weight", "draw", "vote"))

    # --- levels ---

    def begin(self) -> int:
        """All particles set out from the root."""
        self._traces[ROOT] = Trace()
        self._base[ROOT] = 0.0
        self._pool.append({})
        return self.particles

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:
        """Weigh what arrived and resample."""
        index = next(i for i, search in enumerate(self._searches) if search is group)
        pool, going, logs = self._pool[index], dict[NodeId, int](), dict[NodeId, float]()
        for node in (*group.arrived, *group.ended):
            logs[node] = self._weigh(node, view, ends=node in group.ended)
        if self.ended == "aside":
            pool.update((node, (1, logs.pop(node))) for node in group.ended)
        else:
            going = {node: count for node, (count, _) in pool.items()}
            logs = {node: log for node, (_, log) in pool.items()} | logs
        going.update((node, 1) for node in logs if node not in going)
        live = set(group.arrived)
        if live:
            # Particles that failed for good are missing: resampling brings the number back.
            wanted = self.particles - (len(pool) if self.ended == "aside" else 0)
            rng = random.Random(f"{self.seed} {index} {group.level}")  # noqa: S311 - no secret
            going, logs = self._resampled(going, logs, max(1, wanted), rng)
        if self.ended == "compete":
            pool.clear()
            pool.update((node, (count, logs[node])) for node, count in going.items() if node not in live)
        going = {node: count for node, count in going.items() if node in live}
        self._base.update((node, logs[node]) for node in going)
        return going

    def _weigh(self, node: NodeId, view: TreeView, *, ends: bool) -> float:
        """Return the log-weight of the particle that arrived at `node`."""
        parent = view[node].parent
        assert parent is not None
        before = self._traces[parent]
        self._traces[node] = extend(before, self.worth(node), self.potential, self.strength, ends=ends)
        return self._base[parent] + self._traces[node].total - before.total

    def _resampled(
        self, counts: dict[NodeId, int], logs: dict[NodeId, float], wanted: int, rng: random.Random
    ) -> tuple[dict[NodeId, int], dict[NodeId, float]]:
        """Return how many particles stand at each node, and their log-weights, after resampling where it is due."""
        places = [node for node, count in counts.items() for _ in range(count)]
        weights, level = normalised([logs[node] for node in places])
        if len(places) == wanted and self.threshold < 1.0 and effective(weights) >= self.threshold * len(places):
            return counts, logs
        drawn: dict[NodeId, int] = {}
        for place in resample(weights, wanted, rng, self.resampling):
            drawn[places[place]] = drawn.get(places[place], 0) + 1
        return drawn, dict.fromkeys(drawn, level)

    # --- the outcome ---

    def weights(self) -> dict[NodeId, float]:
        """Return the weight of every ended trajectory, adding up to 1: what the filters know of their target."""
        places = [(node, count, log) for pool in self._pool for node, (count, log) in pool.items()]
        if not places:
            return {}
        shares, _ = normalised([log for _, _, log in places])
        total = sum(share * count for share, (_, count, _) in zip(shares, places, strict=True))
        return {node: share * count / total for share, (node, count, _) in zip(shares, places, strict=True)}

    def select(self, view: TreeView) -> NodeId | None:
        """Return the ended trajectory that `output` says, the best by its verdicts where none has ended."""
        weights = self.weights()
        if self.output == "best" or not weights:
            return super().select(view)
        nodes = list(weights)
        if self.output == "draw":
            return random.Random(f"{self.seed} output").choices(nodes, list(weights.values()))[0]  # noqa: S311 - no secret
        if self.output == "vote":
            votes: dict[str | None, float] = {}
            for node, weight in weights.items():
                votes[view[node].answer] = votes.get(view[node].answer, 0.0) + weight
            most = max(votes, key=lambda answer: votes[answer])
            nodes = [node for node in nodes if view[node].answer == most]
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
