"""What a noisy verifier's verdicts say about the true values of a tree's nodes.

Values are modelled as a Gaussian tree: a fresh node's is N(fresh, fresh_spread^2), a child's is N(gain + heritage * parent,
step_spread^2), and the mean of n verdicts of one verifier about a node is the true value plus N(0, persistent^2 +
noise^2 / n). Belief propagation (Pearl 1988) gives every node's posterior from all verdicts in two passes of O(n), and the
likelihood of the verdicts. All parameters come from the search itself: the noise from repeated verdicts, the spreads and
the persistent error by the greatest likelihood on a grid, the means in closed form.

The posterior is what corrects the winner's curse. The best of many noisy scores is too high because it was *chosen*; a
posterior that uses all verdicts does not depend on why a node was looked at (Dawid 1994, Selection paradoxes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..core.types import NodeId, Verdict
from .noise import Judge, Readings

STEP_SPREADS = (0.03, 0.06, 0.12, 0.24)
PERSISTENT = (0.0, 0.04, 0.08, 0.16)
"""Standard deviations that are tried; the steps are as fine as some hundred verdicts can tell apart."""

NO_PARENT = -1


@dataclass(frozen=True, slots=True)
class Landscape:
    """How true values are spread over a tree; see the module's text."""

    fresh: float = 0.5
    fresh_spread: float = 0.2
    gain: float = 0.1
    heritage: float = 0.85
    """A child is nearer to the average than its parent; fixed, for noisy verdicts cannot tell it from `gain`."""
    step_spread: float = 0.06
    persistent: float = 0.04
    """Standard deviation of the error that a verifier makes about a node in every call."""

    def plausibility(self) -> float:
        """Return the logarithm of the prior density: weakly for steps near .07 and against errors that persist."""
        return -0.5 * (math.log(self.step_spread / 0.07) / 0.5) ** 2 - self.persistent / 0.08


@dataclass
class Belief:
    """Posterior means and spreads of the nodes' true values. A fold over `grow` and `observe`."""

    landscape: Landscape = field(default_factory=Landscape)
    judges: dict[str, Judge] = field(default_factory=dict[str, Judge])
    mean: list[float] = field(default_factory=list[float])
    variance: list[float] = field(default_factory=list[float])
    _index: dict[NodeId, int] = field(default_factory=dict[NodeId, int])
    _parent: list[int] = field(default_factory=list[int])
    _readings: list[dict[str, Readings]] = field(default_factory=list[dict[str, Readings]])
    _offsets: dict[str, Readings] = field(default_factory=dict[str, Readings])
    """How much each verifier's values lie above the mean of all, over the nodes that several judged."""
    _fitted: int = 0
    """Verdicts when the landscape was fitted last."""
    _passed: int = 0
    """Verdicts when all posteriors were computed last."""
    verdicts: int = 0

    def __contains__(self, node: object) -> bool:
        return node in self._index

    # --- taking in ---

    def grow(self, node: NodeId, parent: NodeId | None) -> None:
        """Add a node; one whose parent is not known here is a fresh one."""
        above = NO_PARENT if parent is None else self._index.get(parent, NO_PARENT)
        self._index[node] = len(self._parent)
        self._parent.append(above)
        self._readings.append({})
        mean, variance = self._expected(above, self.landscape)
        self.mean.append(mean)
        self.variance.append(variance)

    def _expected(self, above: int, land: Landscape) -> tuple[float, float]:
        if above == NO_PARENT:
            return land.fresh, land.fresh_spread**2
        return (
            land.gain + land.heritage * self.mean[above],
            land.heritage**2 * self.variance[above] + land.step_spread**2,
        )

    def observe(self, node: NodeId, verdicts: Sequence[Verdict]) -> list[NodeId]:
        """Take the verdicts of one judgement in; return the nodes whose posteriors moved.

        The node's own posterior follows at once. Those of all others are computed anew with every verdict as long as there are
        few, which is worth it where noise is large and neighbours are most of what is known of a node; then after every
        0.4 % more verdicts, so that n verdicts cost O(n), not O(n^2).
        """
        here = self._index[node]
        readings = self._readings[here]
        before = self._information(readings)
        for verdict in verdicts:
            if verdict.calls == 0 and verdict.verifier in readings:
                continue  # a copy of what was said before
            judge = self.judges.setdefault(verdict.verifier, Judge())
            judge.take(verdict, readings.setdefault(verdict.verifier, Readings()))
            self.verdicts += 1
        if len(verdicts) > 1:
            middle = sum(verdict.value for verdict in verdicts) / len(verdicts)
            for verdict in verdicts:
                self._offsets.setdefault(verdict.verifier, Readings()).add(verdict.value - middle)
        if self.verdicts - self._passed > self.verdicts // 250:
            return self._renew()
        after = self._information(readings)
        precision = 1 / self.variance[here] + after[0] - before[0]
        if precision > 0:
            self.mean[here] = (self.mean[here] / self.variance[here] + after[1] - before[1]) / precision
            self.variance[here] = 1 / precision
        return [node]

    def _renew(self) -> list[NodeId]:
        self._passed = self.verdicts
        if self.verdicts >= 4 and self.verdicts > 1.15 * self._fitted:
            self._fitted = self.verdicts
            self._fit()
        old = self.mean[:], self.variance[:]
        self._propagate(self.landscape)
        moved = zip(self._index, old[0], old[1], self.mean, self.variance, strict=True)
        return [node for node, m, v, mean, variance in moved if abs(m - mean) > 1e-4 or abs(v - variance) > 1e-6]

    # --- reading ---

    def judged(self, node: NodeId) -> bool:
        """Whether any verdict on the node was taken in."""
        return node in self._index and bool(self._readings[self._index[node]])

    def posterior(self, node: NodeId) -> tuple[float, float]:
        """Return mean and standard deviation of the node's true value."""
        here = self._index[node]
        return self.mean[here], math.sqrt(self.variance[here])

    def repetition(self, node: NodeId) -> tuple[str, float] | None:
        """Return the verifier that tells most when asked again about `node`, and by what its posterior spread shrinks then.

        Repetitions reduce a call's noise, never the persistent error: where that is what is left, they tell nothing, and
        another verifier, or none, is worth asking.

        Returns:
            None where no verifier's repetition tells anything.
        """
        here = self._index[node]
        best: tuple[str, float] | None = None
        floor = self.landscape.persistent**2
        for name, readings in self._readings[here].items():
            judge = self.judges[name]
            if not judge.repeatable:
                continue
            now = 1 / (floor + judge.variance / readings.count)
            gain = 1 / (floor + judge.variance / (readings.count + 1)) - now
            factor = 1 / math.sqrt(1 + gain * self.variance[here])
            if best is None or factor < best[1]:
                best = (name, factor)
        return best

    @property
    def noise(self) -> float:
        """Standard deviation of a call of the least noisy verifier that may be asked again; 0 where none may."""
        return math.sqrt(min((j.variance for j in self.judges.values() if j.repeatable), default=0.0))

    # --- the two passes ---

    def _information(
        self, readings: Mapping[str, Readings], land: Landscape | None = None
    ) -> tuple[float, float, float]:
        """Return precision, precision times mean and logarithm of the factor of a node's own verdicts."""
        floor = (land or self.landscape).persistent ** 2
        precision = weighted = scale = 0.0
        for name, r in readings.items():
            judge = self.judges[name]
            variance = judge.variance / r.count + (0.0 if judge.exact else floor)
            value = judge.mean(r) - (self._offsets[name].mean if name in self._offsets else 0.0)
            precision += 1 / variance
            weighted += value / variance
            scale -= 0.5 * (math.log(variance) + value * value / variance)
        return precision, weighted, scale

    def _gather(self, land: Landscape) -> tuple[list[float], list[float], float]:
        """Pass what the verdicts say from the leaves up; return each subtree's precision, the same times mean, likelihood."""
        own = [self._information(readings, land) for readings in self._readings]
        precision = [p for p, _, _ in own]
        weighted = [w for _, w, _ in own]
        likelihood = sum(scale for _, _, scale in own)
        for here in range(len(self._parent) - 1, -1, -1):
            if not precision[here]:
                continue
            above = self._parent[here]
            fresh = above == NO_PARENT
            spread = land.fresh_spread if fresh else land.step_spread
            mean = weighted[here] / precision[here]
            variance = 1 / precision[here] + spread**2
            off = mean - (land.fresh if fresh else land.gain)
            likelihood += 0.5 * (
                weighted[here] * mean - math.log(precision[here]) - math.log(variance) - off * off / variance
            )
            if not fresh:
                precision[above] += land.heritage**2 / variance
                weighted[above] += land.heritage * off / variance
        return precision, weighted, likelihood

    def _propagate(self, land: Landscape) -> None:
        """Compute every node's posterior."""
        precision, weighted, _ = self._gather(land)
        for here, above in enumerate(self._parent):
            mean, variance = land.fresh, land.fresh_spread**2
            if above != NO_PARENT:
                # The parent's posterior without what this very subtree told it.
                told = land.heritage**2
                off = 0.0
                if precision[here]:
                    spread = 1 / precision[here] + land.step_spread**2
                    told /= spread
                    off = land.heritage * (weighted[here] / precision[here] - land.gain) / spread
                else:
                    told = 0.0
                rest = 1 / self.variance[above] - told
                center = (self.mean[above] / self.variance[above] - off) / rest
                mean = land.gain + land.heritage * center
                variance = land.heritage**2 / rest + land.step_spread**2
            self.variance[here] = 1 / (1 / variance + precision[here])
            self.mean[here] = self.variance[here] * (mean / variance + weighted[here])

    # --- fitting ---

    def _fit(self) -> None:
        """Find the spreads by likelihood times a weak prior, then the means by one step of expectation maximisation."""
        candidates = [
            replace(self.landscape, step_spread=step, persistent=error) for step in STEP_SPREADS for error in PERSISTENT
        ]
        self.landscape = max(candidates, key=lambda land: self._gather(land)[2] + land.plausibility())
        self._propagate(self.landscape)
        land = self.landscape
        fresh = [i for i, above in enumerate(self._parent) if above == NO_PARENT]
        center = (0.5 + sum(self.mean[i] for i in fresh)) / (1 + len(fresh))
        squares = sum((self.mean[i] - center) ** 2 + self.variance[i] for i in fresh)
        steps = [self.mean[i] - land.heritage * self.mean[a] for i, a in enumerate(self._parent) if a != NO_PARENT]
        self.landscape = replace(
            land,
            fresh=center,
            fresh_spread=math.sqrt((2 * 0.2**2 + squares) / (2 + len(fresh))),
            gain=(4 * (1 - land.heritage) * center + sum(steps)) / (4 + len(steps)),
        )
