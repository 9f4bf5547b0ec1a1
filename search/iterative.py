"""Attempts one after the other, each shown the best and the worst before it: iterative agent decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import fmean
from typing import ClassVar

from ..core.events import Expand, Score, Work
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, NodeId, WorkId
from .common import MAX_FAILURES, within
from .noise import EXACT_VARIANCE, Judge, Readings
from .trajectories import Trajectories

BOTH = (
    "The first of these attempts is the best so far, the second the worst. Find out what makes the difference and, by what was "
    "said of them, what is still wrong with the best one; then do better than it."
)

BEST = "This is the best attempt so far. Find out by what was said of it what is still wrong with it, and do better."

PRIOR_SPREAD = 0.01
"""Variance of fresh attempts' true values that is taken for granted before they are seen; weighs as much as two attempts."""


@dataclass
class IterativeDecoding(Trajectories):
    """Make a few fresh attempts, then show the best and the worst with what was said of them and ask for a better one, again and again.

    Iterative agent decoding (2025): what counts as best only ever gets better, and the quality of the verifier decides. So this
    version measures it: the fresh attempts are judged `looks` times more, which is charged, and while the verdicts tell less
    about an attempt than `reliability` asks, or nothing at all (all scores equal and no words beside them), attempts are
    fresh ones, as in best-of-n. Verifiers that execute are believed and not asked again.

    Args:
        attempts: trajectories in all, >= 1.
        batch: trajectories of a round after the first, side by side, >= 1.
        first: trajectories of the first round, which are shown nothing, >= 1.
        looks: how often these are judged again, >= 0; 0: believe every verifier.
        reliability: least share of the scores' variance between fresh attempts that must be theirs and not the verifier's
            noise, in [0, 1].
        worst: show the worst attempt beside the best one.
        patience: begin from scratch after so many rounds without a better attempt, >= 1; None: never.
        target: the search is over with an attempt of this value, in [0, 1]; None: with one that is accepted.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "iterative-decoding"
    attempts: int = 8
    batch: int = 1
    first: int = 2
    looks: int = 2
    reliability: float = 0.5
    worst: bool = True
    patience: int | None = None
    target: float | None = None
    _ends: dict[int, NodeId] = field(default_factory=dict[int, NodeId], init=False, repr=False)
    """Where each attempt ended."""
    _refined: dict[int, None] = field(default_factory=dict[int, None], init=False, repr=False)
    """Attempts that were shown others."""
    _since: int = field(default=0, init=False, repr=False)
    """The first attempt since it was last begun from scratch."""
    _best: float = field(default=-1.0, init=False, repr=False)
    """The best value since then."""
    _stale: int = field(default=0, init=False, repr=False)
    """Rounds since that was reached."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("attempts", self.attempts, 1)
        within("batch", self.batch, 1)
        within("first", self.first, 1)
        within("looks", self.looks, 0)
        within("reliability", self.reliability, 0.0, 1.0)
        within("patience", 1 if self.patience is None else self.patience, 1)
        within("target", 1.0 if self.target is None else self.target, 0.0, 1.0)

    @property
    def speculative(self) -> bool:
        """One attempt is never thrown away."""
        return self.attempts > 1

    def trajectories(self) -> int:
        """The fresh ones."""
        return min(self.first, self.attempts)

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Look again at the fresh attempts once they are over, then go on with attempts and begin those of the round."""
        refines = bool(self._due) and self._due[0] >= self._since + self.first
        if refines and not self._alive and (looks := self._looks_due(view)) is not None:
            return [Score(WorkId(first + i), node, names) for i, (node, names) in enumerate(islice(looks, slots))]
        works = super().expansions(view, slots, first)
        framing = self.framing(view) if refines else None
        return [
            Expand(work.id, ROOT, framing=framing) if isinstance(work, Expand) and work.node == ROOT else work
            for work in works
        ]

    def _looks_due(self, view: TreeView) -> list[tuple[NodeId, tuple[str, ...]]] | None:
        """Return the second looks to begin; None where no more are to come."""
        begun: dict[NodeId, int] = {}
        for work in view.in_flight.values():
            if isinstance(work, Score) and work.verifiers:
                begun[work.node] = begun.get(work.node, 0) + 1
        due: list[tuple[NodeId, tuple[str, ...]]] = []
        waits = False
        for node in self._pool()[: self.first]:
            judges = [v.verifier for v in view.verdicts(node) if v.integrity is None and v.ranking is None]
            if not judges or view.failures(node) >= MAX_FAILURES:
                continue
            waits = waits or node in begun
            looked = min(judges.count(name) for name in judges) - 1 + begun.get(node, 0)
            due += [(node, tuple(dict.fromkeys(judges)))] * (self.looks - looked)
        return due if due or waits else None

    def framing(self, view: TreeView) -> Framing | None:
        """Return what the next attempt is shown; None where it had better be a fresh one."""
        pool = self._pool()
        if not self._tells(pool, view):
            return None
        best, worst = (choice(pool, key=lambda node: (self._value(node, view), -node)) for choice in (max, min))
        if not self.worst or worst == best:
            return Framing((best,), BEST)
        return Framing((best, worst), BOTH)

    def _pool(self) -> list[NodeId]:
        """The attempts since it was last begun from scratch, in the order of their numbers."""
        return [self._ends[number] for number in sorted(self._ends) if number >= self._since]

    @staticmethod
    def _value(node: NodeId, view: TreeView) -> float:
        return -1.0 if (value := view.value(node)) is None else value

    # --- whether verdicts tell anything ---

    def _tells(self, pool: Sequence[NodeId], view: TreeView) -> bool:
        judged = [node for node in pool if view.value(node) is not None]
        if not judged:
            return False
        values = [self._value(node, view) for node in judged]
        words = any(verdict.feedback for node in judged for verdict in view.verdicts(node))
        if len(judged) > 1 and max(values) == min(values) and not words:
            return False
        return self.measured_reliability(view) >= self.reliability

    def measured_reliability(self, view: TreeView) -> float:
        """Return which share of the variance of fresh attempts' scores is theirs, as far as was measured, in (0, 1]."""
        judges: dict[str, Judge] = {}
        scores: list[float] = []
        for number, node in sorted(self._ends.items()):
            readings: dict[str, Readings] = {}
            for verdict in view.verdicts(node):
                if verdict.ranking is None:
                    heard = readings.setdefault(verdict.verifier, Readings())
                    judges.setdefault(verdict.verifier, Judge()).take(verdict, heard)
            if readings and number not in self._refined:
                scores.append(fmean(heard.mean for heard in readings.values()))
        noise = sum(judge.variance if judge.repetitions else EXACT_VARIANCE for judge in judges.values())
        noise /= max(1, len(judges)) ** 2
        spread = 2 * PRIOR_SPREAD
        if len(scores) > 1:
            middle, others = fmean(scores), len(scores) - 1
            spread += max(0.0, sum((score - middle) ** 2 for score in scores) - others * noise)
            spread /= 2 + others
        else:
            spread /= 2
        return spread / (spread + noise)

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:
        """Remember which attempts were shown others."""
        if isinstance(work, Expand) and work.node == ROOT and work.framing is not None:
            self._refined[self._due[0]] = None
        super().started(work, view)

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Keep where the attempt ended."""
        if node is not None:
            self._ends[number] = node

    def all_over(self, view: TreeView) -> None:
        """Begin the next round, unless the target is reached or nothing came of anything."""
        left = self.attempts - self._planned
        values = [self._value(node, view) for node in self._pool()]
        if left < 1 or not values or (self.target is not None and max(values) >= self.target):
            return
        self._stale = 0 if max(values) > self._best else self._stale + 1
        self._best = max(self._best, *values)
        if self.patience is not None and self._stale >= self.patience:
            self._since, self._best, self._stale = self._planned, -1.0, 0
            self.plan(min(left, self.first))
        else:
            self.plan(min(left, self.batch))
