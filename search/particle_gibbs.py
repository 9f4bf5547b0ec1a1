"""Particle Gibbs: one particle filter after the other, each around a trajectory that the last one drew."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.tree import TreeView
from ..core.types import ROOT, NodeId
from .common import within
from .levels import Group
from .potentials import normalised
from .steering import Steering, effective, resample


@dataclass(slots=True)
class Chain:
    """One Markov chain over trajectories."""

    reference: list[NodeId] = field(default_factory=list[NodeId])
    """The present trajectory without the root; nothing before the first sweep has ended."""
    step: int = 0
    """Steps that the sweep's particles have taken."""
    log: float = 0.0
    """Log-weight of the reference's truncation to so many steps."""
    sweeps: int = 0
    """Sweeps that have ended."""
    waits: bool = False
    """Whether the sweep has ended and the other chains' have not."""
    found: dict[NodeId, float] = field(default_factory=dict[NodeId, float])
    """Sum over sweeps of each trajectory's weight at the sweep's end."""
    drawn: list[NodeId] = field(default_factory=list[NodeId])
    """End of the trajectory that each sweep drew."""


@dataclass
class ParticleGibbs(Steering):
    """Repeat a particle filter around a reference trajectory, and draw the next reference from its weights.

    Andrieu, Doucet and Holenstein (2010), Particle Markov chain Monte Carlo methods, as Puri et al. (2025) use it for steps of
    a language model: the reference is never resampled away, and particles may set out from any truncation of it. Single
    draws of a filter with few particles are biased; those of the chain are not, the longer it runs, however few there are.
    Resampling is multinomial, as conditioning on the reference needs. With `cooling` below 1 the chains are tempered: in
    chain i rewards count to the power cooling**i, so that it moves more freely, and after each sweep neighbours offer each
    other their references (the exchange rule of replica exchange, Geyer 1991); only chain 0 samples from the target. Whether
    tempering pays depends on the problem; sweeps of all chains then wait for each other.

    Args:
        particles: trajectories of a sweep, the reference among them, >= 2.
        potential: `prob`, `odds`, `ratio`, `difference`, `max`, `sum` or `reward`.
        strength: how much rewards count (lambda), >= 0; not used by the first three.
        threshold: resample where the effective sample size is below this share of the particles, in [0, 1]; 1: always,
            0: never.
        output: the answer is the `best` by its verdicts, the one of most `weight` over all sweeps, a `draw` (the last reference),
            or that of a `vote` by weight over equal answers.
        same: which answers count as equal in a vote: `exact`, `text` or `number`.
        sweeps: filters, one after the other, >= 1; one is a particle filter.
        cooling: by how much less rewards count in each further chain, in (0, 1]; 1: all chains are alike.
        depth: longest trajectory in steps, >= 1.
        groups: chains, >= 1; each costs what one costs.
        aggregate: what the reward after a step is by the values of the steps so far.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "particle-gibbs"
    sweeps: int = 8
    cooling: float = field(default=1.0, kw_only=True)
    _chains: list[Chain] = field(default_factory=list[Chain], init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("particles", self.particles, 2)
        within("sweeps", self.sweeps, 1)
        within("cooling", self.cooling, 1e-6, 1.0)

    def exponent(self, group: int) -> float:
        """Chain 0 samples from the target, the others from flatter ones."""
        return self.cooling**group

    def begin(self) -> int:
        """The first sweep has no reference."""
        self._chains.append(Chain())
        return super().begin()

    def tries(self, index: int, node: NodeId) -> int:
        """The root is expanded anew by every sweep."""
        return super().tries(index, node) * (self.sweeps if node == ROOT else 1)

    # --- a sweep ---

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:
        """Take the particles that arrived a step further; at the end of a sweep begin the next one."""
        index = next(i for i, search in enumerate(self._searches) if search is group)
        chain, pool = self._chains[index], self._pool[index]
        ended = {node: self.weigh(node, index, view) for node in group.ended}
        going = {node: (1, self.weigh(node, index, view)) for node in group.arrived}
        pool.update((node, (1, log)) for node, log in ended.items())
        while True:
            self._follow(chain, index)
            going = self._resampled(index, going)
            if going:
                self._base.update((node, log) for node, (_, log) in going.items())
                return {node: count for node, (count, _) in going.items()}
            if chain.step >= len(chain.reference):
                return self._end(index, view)

    def _follow(self, chain: Chain, index: int) -> None:
        """Let the reference take its next step, where it has one."""
        chain.step += 1
        if chain.step <= len(chain.reference):
            node = chain.reference[chain.step - 1]
            parent = ROOT if chain.step == 1 else chain.reference[chain.step - 2]
            chain.log += self.gain(node, parent, index)

    def _resampled(self, index: int, going: dict[NodeId, tuple[int, float]]) -> dict[NodeId, tuple[int, float]]:
        """Return how many particles go on from each node, with their log-weights, after resampling where it is due.

        The reference keeps its place; the places of the others are drawn from all, its own truncation included.
        """
        chain, pool = self._chains[index], self._pool[index]
        here = chain.reference[min(chain.step, len(chain.reference)) - 1] if chain.reference else None
        unfinished = set(going)
        if here is not None and chain.step < len(chain.reference):
            unfinished.add(here)
        if not unfinished:
            return {}
        free = [(node, log) for node, (count, log) in (pool | going).items() for _ in range(count)]
        places = [*free, (here, chain.log)] if here is not None else free
        shares, mean = normalised([log for _, log in places])
        size, wanted = effective(shares), self.particles - (here is not None)
        self._sizes[index].append(size)
        if self.threshold == 0.0 or (
            len(free) == wanted and self.threshold < 1.0 and size >= self.threshold * len(places)
        ):
            return going
        rng = random.Random(f"{self.seed} {index} {chain.sweeps} {chain.step}")  # noqa: S311 - no secret
        pool.clear()
        going = {}
        for place in resample(shares, wanted, rng, "multinomial"):
            node, _ = places[place]
            assert node is not None
            there = going if node in unfinished else pool
            there[node] = (there.get(node, (0, 0.0))[0] + 1, mean)
        chain.log = mean
        return going

    def _end(self, index: int, view: TreeView) -> dict[NodeId, int]:
        """Draw the next reference, and return where the particles of the next sweep set out from."""
        chain, pool = self._chains[index], self._pool[index]
        places = [(node, log) for node, (count, log) in pool.items() for _ in range(count)]
        if chain.reference:
            places.append((chain.reference[-1], chain.log))
        pool.clear()
        if not places:
            return {}
        shares, _ = normalised([log for _, log in places])
        for (node, _), share in zip(places, shares, strict=True):
            chain.found[node] = chain.found.get(node, 0.0) + share
        rng = random.Random(f"{self.seed} {index} {chain.sweeps} drawn")  # noqa: S311 - no secret
        end = places[resample(shares, 1, rng, "multinomial")[0]][0]
        chain.drawn.append(end)
        self._refer(chain, end, view)
        chain.sweeps += 1
        if chain.sweeps >= self.sweeps and self.cooling == 1.0:
            return {}
        return self._next(index, view)

    def _refer(self, chain: Chain, end: NodeId, view: TreeView) -> None:
        chain.reference = [node.id for node in view.path(end)[1:]]
        chain.step, chain.log = 0, 0.0

    def _next(self, index: int, view: TreeView) -> dict[NodeId, int]:
        """Begin a chain's next sweep; tempered chains all at once, when the last one is there."""
        chain = self._chains[index]
        if self.cooling < 1.0:
            chain.waits = True
            if not all(other.waits for other in self._chains) or len(self._chains) < self.groups:
                return {}
            self._exchange(chain.sweeps, view)
            for other in self._chains:
                other.waits = False
            if chain.sweeps >= self.sweeps:
                return {}
            for number in range(self.groups):
                if number != index:
                    self.plan(number, {ROOT: self.particles - 1})
        return {ROOT: self.particles - 1}

    def _exchange(self, sweep: int, view: TreeView) -> None:
        """Let neighbours swap references with the probability that leaves the product of their targets as it is."""
        rng = random.Random(f"{self.seed} exchange {sweep}")  # noqa: S311 - no secret
        for lower in range(sweep % 2, len(self._chains) - 1, 2):
            one, other = self._chains[lower], self._chains[lower + 1]
            rewards = [self._traces[chain.reference[-1]].total for chain in (one, other)]
            if rng.random() < swap_chance(self.exponent(lower), self.exponent(lower + 1), *rewards):
                ends = one.reference[-1], other.reference[-1]
                self._refer(one, ends[1], view)
                self._refer(other, ends[0], view)

    # --- the outcome ---

    @property
    def draws(self) -> list[list[NodeId]]:
        """The ends of the trajectories that each chain drew, one for each sweep, oldest first."""
        return [chain.drawn for chain in self._chains]

    def weights(self) -> dict[NodeId, float]:
        """Return the weight of every trajectory, adding up to 1: the mean over sweeps of what each one's particles weighed."""
        found: dict[NodeId, float] = {}
        for chain in self._chains if self.cooling == 1.0 else self._chains[:1]:
            for node, weight in chain.found.items():
                found[node] = found.get(node, 0.0) + weight
        total = sum(found.values())
        return {node: weight / total for node, weight in found.items()}

    def select(self, view: TreeView) -> NodeId | None:
        """Return the trajectory that `output` says, the best by its verdicts where none has ended."""
        if self.output == "draw" and self._chains and self._chains[0].reference:
            return self._chains[0].reference[-1]
        return super().select(view)


def swap_chance(one: float, other: float, reward_one: float, reward_other: float) -> float:
    """Return the probability with which two chains swap their trajectories: it keeps the product of their targets as it is.

    Args:
        one: the power to which rewards count in the first chain.
        other: the same in the second chain.
        reward_one: logarithm of all potentials together of the first chain's trajectory.
        reward_other: the same of the second chain's.
    """
    return math.exp(min(0.0, (one - other) * (reward_other - reward_one)))
