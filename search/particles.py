"""Particle filtering: trajectories as samples of the policy, weighted by rewards, rather than as candidates for a maximum."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.tree import TreeView
from ..core.types import NodeId
from .common import one_of, within
from .levels import Group
from .potentials import normalised
from .steering import Steering, effective, resample


@dataclass
class Particles(Steering):
    """Let particles take a step each, weigh them by the potential of their rewards, and resample where few carry the weight.

    Puri et al. (2025), A Probabilistic Inference Approach to Inference-Time Scaling of LLMs using Particle-Based Monte Carlo
    Methods, with the potentials and the schedule of Feynman-Kac steering (Singhal et al. 2025; `potentials.extend` names
    each one's target). It samples from its target instead of going after the highest score, so wrong scores mislead it
    less than a maximum. Differs: systematic resampling, and only where the effective sample size has fallen; with `groups`
    there are several filters side by side that never wait for each other, weighted by their evidence (island particle
    filters, Verge et al. 2015). Never resampled (`threshold=0`) it is importance sampling, and with `output="best"` best-of-n.

    Args:
        particles: trajectories of a filter, >= 1.
        potential: `prob`, `odds`, `ratio`, `difference`, `max`, `sum` or `reward`.
        strength: how much rewards count (lambda), >= 0; not used by the first three.
        threshold: resample where the effective sample size is below this share of the particles, in [0, 1]; 1: always,
            0: never.
        output: the answer is the `best` by its verdicts, the one of most `weight`, a `draw` by weight, or that of a `vote` by
            weight over equal answers.
        same: which answers count as equal in a vote: `exact`, `text` or `number`.
        resampling: `systematic` or `multinomial`.
        ended: whether particles that ended `compete` for places with those that go on or are set `aside`.
        first: first step after which particles may be resampled, >= 1.
        last: last such step; None: every one up to the end.
        every: resample after every so many steps only, >= 1.
        depth: longest trajectory in steps, >= 1.
        groups: independent filters, >= 1; each costs what one costs.
        aggregate: what the reward after a step is by the values of the steps so far.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "particles"
    resampling: Literal["systematic", "multinomial"] = "systematic"
    ended: Literal["compete", "aside"] = "compete"
    first: int = field(default=1, kw_only=True)
    last: int | None = field(default=None, kw_only=True)
    every: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("resampling", self.resampling, ("systematic", "multinomial"))
        one_of("ended", self.ended, ("compete", "aside"))
        within("first", self.first, 1)
        within("last", self.first if self.last is None else self.last, self.first)
        within("every", self.every, 1)

    # --- levels ---

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:
        """Weigh what arrived and resample."""
        index = next(i for i, search in enumerate(self._searches) if search is group)
        pool, going = self._pool[index], dict[NodeId, int]()
        logs = {node: self.weigh(node, index, view) for node in (*group.arrived, *group.ended)}
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
            going, logs = self._resampled(going, logs, max(1, wanted), index)
        if self.ended == "compete":
            pool.clear()
            pool.update((node, (count, logs[node])) for node, count in going.items() if node not in live)
        going = {node: count for node, count in going.items() if node in live}
        self._base.update((node, logs[node]) for node in going)
        return going

    def _due(self, step: int) -> bool:
        """Whether the schedule allows particles to be resampled after a step."""
        return self.first <= step and (self.last is None or step <= self.last) and (step - self.first) % self.every == 0

    def _resampled(
        self, counts: dict[NodeId, int], logs: dict[NodeId, float], wanted: int, index: int
    ) -> tuple[dict[NodeId, int], dict[NodeId, float]]:
        """Return how many particles stand at each node, and their log-weights, after resampling where it is due."""
        level = self._searches[index].level
        places = [node for node, count in counts.items() for _ in range(count)]
        weights, mean = normalised([logs[node] for node in places])
        size = effective(weights)
        self._sizes[index].append(size)
        kept = not self._due(level + 1) or (self.threshold < 1.0 and size >= self.threshold * len(places))
        if kept and (len(places) == wanted or self.threshold == 0.0):
            return counts, logs
        rng = random.Random(f"{self.seed} {index} {level}")  # noqa: S311 - no secret
        drawn: dict[NodeId, int] = {}
        for place in resample(weights, wanted, rng, self.resampling):
            drawn[places[place]] = drawn.get(places[place], 0) + 1
        return drawn, dict.fromkeys(drawn, mean)

    # --- the outcome ---

    def weights(self) -> dict[NodeId, float]:
        """Return the weight of every ended trajectory, adding up to 1: what the filters know of their target."""
        places = [(node, count, log) for pool in self._pool for node, (count, log) in pool.items()]
        if not places:
            return {}
        shares, _ = normalised([log for _, _, log in places])
        total = sum(share * count for share, (_, count, _) in zip(shares, places, strict=True))
        return {node: share * count / total for share, (node, count, _) in zip(shares, places, strict=True)}
