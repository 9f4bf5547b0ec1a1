"""As many samples as the model itself thinks are worth it, and parallel ones that are given up in the middle."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import ceil
from typing import ClassVar

from ..core.events import Expand
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .calibration import Calibration
from .common import within
from .selectors import best_by_verdict
from .trajectories import Trajectories


def probed(view: TreeView, node: NodeId, probe: str) -> float | None:
    """Return what a verifier says of a node, the mean over all where none has that name; None where nobody judged."""
    mine = [verdict.value for verdict in view.verdicts(node) if verdict.verifier == probe]
    return sum(mine) / len(mine) if mine else view.value(node)


@dataclass
class _Probing(Trajectories):
    """What the strategies of this module share: the probe says which answer is best."""

    probe: str = field(default="better", kw_only=True)
    _ends: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Answers, in the order in which they were judged."""

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Note the answer."""
        if node is not None and view[node].answer is not None and view.status(node) != "pruned":
            self._ends[node] = None

    def best(self, view: TreeView) -> tuple[NodeId, float] | None:
        """Return the answer that a fresh one is least likely to beat, the earliest of equals, and what the probe says of it."""
        values = ((node, probed(view, node, self.probe)) for node in self._ends)
        known = [(node, value) for node, value in values if value is not None]
        return max(known, key=lambda pair: pair[1]) if known else None

    def select(self, view: TreeView) -> NodeId | None:
        """Return the best answer by the probe, by any verdicts where it said nothing."""
        best = self.best(view)
        return best_by_verdict(view) if best is None else best[0]


@dataclass
class AdaptiveSampling(_Probing):
    """Sample until the model does not expect to do better any more, the first answer greedily, later ones ever more boldly.

    Manvi et al. (2024), Adaptive Inference-Time Compute. Needs a verifier that says how likely a fresh answer is no better:
    `verifiers.Better`, calibrated.

    Args:
        most: answers at most, >= 1.
        gamma: sample on while a fresh answer is better with more than this probability, in [0, 1].
        ahead: answers sampled at a time, >= 1; more are faster and waste some.
        coolest: temperature of the first answer.
        hottest: temperature of the last one; in between it rises evenly.
        depth: longest trajectory in steps, >= 1.
        probe: name of the verifier that is read; the mean of all where none is called that.
    """

    name: ClassVar[str] = "adaptive"
    most: int = 16
    gamma: float = 0.1
    ahead: int = 1
    coolest: float = 0.0
    hottest: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within("most", self.most, 1)
        within("gamma", self.gamma, 0.0, 1.0)
        within("ahead", self.ahead, 1)
        within("coolest", self.coolest, 0.0)
        within("hottest", self.hottest, self.coolest)

    def trajectories(self) -> int:
        """The first ones."""
        return min(self.ahead, self.most)

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Begin a trajectory at its temperature."""
        return Expand(work, ROOT, self.temperature(number))

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:
        """Go on at the same temperature."""
        return Expand(work, node, self.temperature(number))

    def temperature(self, number: int) -> float:
        """Return the temperature of a trajectory."""
        return self.coolest + (self.hottest - self.coolest) * number / max(1, self.most - 1)

    def all_over(self, view: TreeView) -> None:
        """Sample on where that is expected to be worth it."""
        best = self.best(view)
        if best is None or 1 - best[1] > self.gamma:
            self.plan(min(self.ahead, self.most - self._planned))


@dataclass
class EarlyPruning(_Probing):
    """Begin several answers side by side, and finish only those that the model thinks well of in the middle.

    Manvi et al. (2024), as `AdaptiveSampling`. All stop at the checkpoint and wait for the slowest; the share of them with the
    highest values goes on. The agent needs plain turns for that (`Agent(form="text")`); without `checkpoint_tokens` the
    checkpoint is the first step.

    Args:
        n: answers that are begun, >= 1.
        keep: share of them that is finished, at least one, in (0, 1].
        checkpoint_tokens: length of their beginnings, >= 1; None takes a whole step.
        depth: longest trajectory in steps, >= 1.
        probe: name of the verifier that is read; the mean of all where none is called that.
    """

    name: ClassVar[str] = "early-pruning"
    n: int = 8
    keep: float = 0.25
    checkpoint_tokens: int | None = 96
    _held: dict[int, NodeId] = field(default_factory=dict[int, NodeId], init=False, repr=False)
    """Trajectories that wait at the checkpoint."""
    _decided: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("n", self.n, 1)
        within("keep", self.keep, 1e-9, 1.0)
        if self.checkpoint_tokens is not None:
            within("checkpoint_tokens", self.checkpoint_tokens, 1)

    @property
    def in_segments(self) -> bool:
        """Whether turns are cut at the checkpoint."""
        return self.checkpoint_tokens is not None

    def trajectories(self) -> int:
        """All at once."""
        return self.n

    def beginning(self, work: WorkId, number: int) -> Expand:  # noqa: ARG002 - the base's signature
        """Sample as far as the checkpoint."""
        return Expand(work, ROOT, segment_tokens=self.checkpoint_tokens)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Hold the trajectory at the checkpoint."""
        super().ready(node, view)
        if not self._decided and node in self._tips:
            del self._tips[node]
            self._held[self._number[node]] = node
        self._decide(view)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """A beginning that is given up may have been the last that was waited for."""
        super().undone(work, node, view)
        self._decide(view)

    def _decide(self, view: TreeView) -> None:
        """Choose who goes on, once all that have begun are at the checkpoint or over."""
        if self._decided or not self._held or self._due or len(self._held) < len(self._alive):
            return
        self._decided = True
        kept = max(1, ceil(self.keep * self.n - 1e-9))
        ranked = sorted(self._held.items(), key=lambda pair: (-(probed(view, pair[1], self.probe) or 0.0), pair[0]))
        self._tips.update(dict.fromkeys(node for _, node in sorted(ranked[:kept])))
        for _, node in sorted(ranked[kept:]):
            self.give_up(node, "others promise more at the checkpoint")
        self._held.clear()


def restart_outcomes(view: TreeView, *, by: str, probe: str = "better") -> Iterator[tuple[float, bool]]:
    """Yield, from the answers of a run, what the probe said of each and whether another one was no better: data to calibrate on.

    Every ordered pair of answers is one outcome: the second stands for the fresh answer. Run some hundred tasks with
    `BestOfN`, the probe, and a verifier that knows better; `Calibration.fit` of all their outcomes makes the probe's values
    probabilities. The answers must not know of each other.

    Args:
        view: the tree of a run.
        by: name of the verifier whose values say which answer is better.
        probe: name of the probe.
    """
    answers: list[tuple[float, float]] = []
    for node in view:
        said = [verdict.value for verdict in view.verdicts(node.id) if verdict.verifier == probe]
        worth = [verdict.value for verdict in view.verdicts(node.id) if verdict.verifier == by]
        if node.answer is not None and said and worth:
            answers.append((said[-1], worth[-1]))
    for (value, worth_here), (_, worth_there) in permutations(answers, 2):
        yield value, worth_here >= worth_there


def by_rank(values: Sequence[float]) -> Calibration:
    """Return what stands for a calibration where no outcomes are known: a value is worth the share of others that are no higher.

    Args:
        values: what the probe said of answers to other tasks of the same kind; the more, the better.
    """
    ranked = sorted(values)
    starts = sorted(set(ranked))
    shares = [(bisect_left(ranked, start) + 0.5 * ranked.count(start)) / len(ranked) for start in starts]
    return Calibration(tuple(starts), tuple(shares), len(ranked))
