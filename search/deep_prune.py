"""Parallel trajectories of which those that promise the same answer are not all finished."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import fsum
from typing import ClassVar

from ..core.events import Event, Expand, Failed, Judged, Score, Work, WorkStarted
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, within
from .equivalence import Same, equal, grouped
from .sampled import Sampled

Pair = tuple[NodeId, NodeId]
"""A beginning, and one before it that it is compared with."""


@dataclass
class DeepPrune(Sampled):
    """Begin `n` trajectories, put those together that seem to lead to the same answer, finish one of each, and vote by their sizes.

    Tu et al. (2025), DeepPrune: parallel scaling without inter-trace redundancy. All pause at the same length; pausing is a segment,
    going on is its continuation, so nothing has to be cancelled. A verifier (`verifiers.Alike`) says of two beginnings how probable it
    is that both come to the same answer. Beginnings are taken in the order in which they arrive: one joins the cluster that it is the
    most like if their mean likeness is above `threshold`, else it opens a cluster, whose first member goes on at once. If the vote
    then shows too little agreement, further members of the largest cluster are finished.

    The paper trains its judge; one that was not trained is about as good as tossing a weighted coin (calibrate it: `alike_outcomes`), and
    what it puts together wrongly is lost. Against that, two clusters are kept at least, `alive` keeps some at random, and each
    finished trajectory votes with the size of its cluster, which the paper does not do. Differs: answers that are there before the pause
    vote for themselves.

    Args:
        n: trajectories that are begun, >= 2.
        same: when answers are the same (`search.equivalence`).
        threshold: likeness from which a beginning joins a cluster, in [0, 1].
        most: clusters at most, >= 2; from there on a beginning joins the one that it is the most like.
        comparisons: members of each cluster with which a beginning is compared, drawn at random, >= 1. All comparisons of one beginning
            are made at once; together they are about `n * most * comparisons`.
        alive: share of those that joined which are finished all the same, in [0, 1].
        agreement: share of the vote below which more are finished, in [0, 1].
        extra: so many more at most, one after the other, >= 0.
        prefix_tokens: length of the beginnings, >= 1, for turns in plain text (`Agent(form="text")`); None takes the first step.
        judge: name of the verifier that compares.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "deep-prune"
    threshold: float = 0.5
    most: int = 8
    comparisons: int = 3
    alive: float = 0.0
    agreement: float = 0.4
    extra: int = 2
    prefix_tokens: int | None = 256
    judge: str = "alike"
    _paused: dict[int, NodeId] = field(default_factory=dict[int, NodeId], init=False, repr=False)
    """Where each trajectory paused; those that ended before are not in it."""
    _queue: list[NodeId] = field(default_factory=list[NodeId], init=False, repr=False)
    """Beginnings that are in no cluster yet, in order of arrival; the first is being compared."""
    _clusters: list[list[NodeId]] = field(default_factory=list[list[NodeId]], init=False, repr=False)
    _likeness: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """How much those that joined a cluster are like it."""
    _pairs: dict[Pair, bool] = field(default_factory=dict[Pair, bool], init=False, repr=False)
    """Comparisons of the first in the queue that are to be made; True while one is."""
    _said: dict[Pair, float | None] = field(default_factory=dict[Pair, float | None], init=False, repr=False)
    """What came of those that were made; None where the judge could not say."""
    _failed: dict[Pair, int] = field(default_factory=dict[Pair, int], init=False, repr=False)
    _undone: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """How often going on behind the pause came to nothing."""
    _running: dict[int, None] = field(default_factory=dict[int, None], init=False, repr=False)
    """Trajectories that go on after the pause and are not over."""
    _ended: dict[int, NodeId] = field(default_factory=dict[int, NodeId], init=False, repr=False)
    """Where each finished trajectory ended."""
    _clustered: bool = field(default=False, init=False, repr=False)
    """Whether all are in clusters."""
    _more: int = field(default=0, init=False, repr=False)
    """Further ones that were finished for want of agreement."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("n", self.n, 2)
        within("threshold", self.threshold, 0.0, 1.0)
        within("most", self.most, 2)
        within("comparisons", self.comparisons, 1)
        within("alive", self.alive, 0.0, 1.0)
        within("agreement", self.agreement, 0.0, 1.0)
        within("extra", self.extra, 0)
        if self.prefix_tokens is not None:
            within("prefix_tokens", self.prefix_tokens, 1)

    @property
    def in_segments(self) -> bool:
        """Whether turns are cut at the pause."""
        return self.prefix_tokens is not None

    # --- what to do next ---

    def beginning(self, work: WorkId, number: int) -> Expand:  # noqa: ARG002 - the base's signature
        """Sample as far as the pause."""
        return Expand(work, ROOT, segment_tokens=self.prefix_tokens)

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return the comparisons that are due beside everything else."""
        works = list(super().ask(view, slots))
        due = [pair for pair, asked in self._pairs.items() if not asked]
        first = view.next_work + len(works)
        return works + [
            Score(WorkId(first + i), node, (self.judge,), (other, node)) for i, (node, other) in enumerate(due)
        ]

    # --- what happened ---

    def _tell(self, event: Event, view: TreeView) -> None:
        super()._tell(event, view)
        match event:
            case WorkStarted(Score(_, node, (self.judge,), (other, _))):
                self._pairs[node, other] = True
            case _:
                self._advance(view)

    def answered(self, work: Score, event: Event, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Take in what the judge said of a pair."""
        pair = (work.node, work.among[0])
        self._failed[pair] = self._failed.get(pair, 0) + isinstance(event, Failed)
        if not isinstance(event, Judged) and self._failed[pair] < MAX_FAILURES:
            self._pairs[pair] = False
            return
        del self._pairs[pair]
        verdicts = event.verdicts if isinstance(event, Judged) else ()
        said = [verdict.value for verdict in verdicts if verdict.verifier == self.judge]
        self._said[pair] = said[-1] if said else None

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """Try the step again, until too many failed: steps, for comparisons that failed say nothing of the trajectory."""
        if node not in self._paused.values():
            super().undone(work, node, view)
            return
        self._undone[node] = self._undone.get(node, 0) + 1
        if self._undone[node] < MAX_FAILURES:
            self._tips[node] = None
        else:
            self._end(self._number[node], node, view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Pause where the beginning ends."""
        super().ready(node, view)
        number = self.number_of(node)
        if node in self._tips and number is not None and number not in self._running:
            del self._tips[node]
            self._paused[number] = node
            self._queue.append(node)
            if len(self._queue) == 1:
                self._compare()

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:
        """Note the end of a trajectory that went on, or needed no pause."""
        given_up = number in self._paused and number not in self._running
        self._running.pop(number, None)
        if node is not None and not given_up and view[node].answer is not None:
            self._ended[number] = node

    def _advance(self, view: TreeView) -> None:
        """Put beginnings into clusters as far as the comparisons are there; then see whether the vote is clear."""
        while self._queue and not self._pairs:
            self._place(self._queue[0])
        waited_for = any(number not in self._paused for number in self._alive)
        if self._queue or self._due or waited_for or not self._paused:
            return
        if not self._clustered:
            self._clustered = True
            self._keep_some()
        if not self._running and not self._doomed:
            self._conclude(view)

    def _compare(self) -> None:
        """Have the first of the queue compared with members of every cluster."""
        self._said.clear()
        self._failed.clear()
        node = self._queue[0]
        rng = random.Random(f"{self.seed} {node}")  # noqa: S311 - chance, not secrecy
        for cluster in self._clusters:
            others = rng.sample(cluster, min(self.comparisons, len(cluster)))
            self._pairs.update(((node, other), False) for other in others)

    def _place(self, node: NodeId) -> None:
        """Put the first of the queue into the cluster that it is the most like, or into one of its own."""
        likeness = [self._like(node, cluster) for cluster in self._clusters]
        best = max(range(len(likeness)), key=likeness.__getitem__, default=None)
        if best is not None and (likeness[best] > self.threshold or len(self._clusters) >= self.most):
            self._clusters[best].append(node)
            self._likeness[node] = likeness[best]
        else:
            self._open(node)
        self._queue.pop(0)
        if self._queue:
            self._compare()

    def _like(self, node: NodeId, cluster: Sequence[NodeId]) -> float:
        said = [value for other in cluster if (value := self._said.get((node, other))) is not None]
        return fsum(said) / len(said) if said else 0.0

    def _open(self, node: NodeId) -> None:
        self._clusters.append([node])
        self._go_on(node)

    def _go_on(self, node: NodeId) -> None:
        self._running[self._number[node]] = None
        self._tips[node] = None

    def _keep_some(self) -> None:
        """See that there are two clusters at least, and let a share of those that joined go on."""
        if len(self._clusters) == 1 and len(self._clusters[0]) > 1:
            odd = min(self._clusters[0][1:], key=lambda node: (self._likeness[node], node))
            self._clusters[0].remove(odd)
            self._open(odd)
        for node in self._waiting():
            if random.Random(f"{self.seed} alive {node}").random() < self.alive:  # noqa: S311 - chance, not secrecy
                self._go_on(node)

    def _waiting(self) -> list[NodeId]:
        """Return the members of clusters that did not go on, those of the largest cluster first."""
        largest_first = sorted(self._clusters, key=lambda cluster: -len(cluster))
        members = [node for cluster in largest_first for node in cluster]
        begun = self._running.keys() | self._ended.keys()
        return [node for node in members if (n := self._number[node]) in self._alive and n not in begun]

    def _conclude(self, view: TreeView) -> None:
        """Finish more where a cluster came to no answer, or the vote is not clear; else give up the rest."""
        waiting = self._waiting()
        mute = [c for c in self._clusters if not any(self._number[node] in self._ended for node in c)]
        further = [node for cluster in mute for node in cluster if node in waiting][:1]
        if not further and self._more < self.extra and (self.choice(view).confidence or 0.0) < self.agreement:
            further = waiting[:1]
            self._more += len(further)
        if further:
            self._go_on(further[0])
        else:
            for node in sorted(waiting):
                self.give_up(node, f"promises the same answer as node {self._stands_for(node)}")

    def _stands_for(self, node: NodeId) -> NodeId:
        return next(cluster[0] for cluster in self._clusters if node in cluster)

    # --- choosing ---

    def votes(self) -> dict[NodeId, float]:
        """Return what the end of each finished trajectory counts: its part of its cluster's size."""
        votes = {node: 1.0 for number, node in self._ended.items() if number not in self._paused}
        for cluster in self._clusters:
            ends = [self._ended[n] for node in cluster if (n := self._number[node]) in self._ended]
            votes.update((end, len(cluster) / len(ends)) for end in ends)
        return votes

    def choice(self, view: TreeView) -> Appraisal:
        """Return the answer with the largest vote, spoken for by the trajectory of the largest cluster."""
        votes = dict(sorted(self.votes().items()))
        nodes, total = list(votes), fsum(votes.values())
        groups = grouped([view[node].answer for node in nodes], self.same)
        if not groups:
            return Appraisal(None, source="no trajectory gave an answer that can be compared")
        sizes = [fsum(votes[nodes[place]] for place in group) for group in groups]
        best = max(range(len(groups)), key=lambda i: (sizes[i], -i))
        speaker = max((nodes[place] for place in groups[best]), key=lambda node: (votes[node], -node))
        source = f"share of {total:g} trajectories, {len(nodes)} of which were finished, not calibrated"
        return Appraisal(speaker, sizes[best] / total, source)


def alike_outcomes(view: TreeView, *, judge: str = "alike", same: Same = "text") -> Iterator[tuple[float, bool]]:
    """Yield, from a run of `DeepPrune(alive=1)`, what the judge said of each pair and whether both came to the same answer.

    A few hundred of them make its values probabilities: `verifiers.Alike(calibration=Calibration.fit(outcomes))`.

    Args:
        view: the tree of a run.
        judge: name of the verifier that compared.
        same: when answers are the same.
    """
    answers: dict[NodeId, str | None] = {}
    for node in view:
        if node.answer is not None:
            answers.update((ancestor.id, node.answer) for ancestor in view.path(node.id))
    for node in view:
        for verdict in view.verdicts(node.id):
            if verdict.verifier == judge and verdict.ranking is not None:
                for one, other in combinations(verdict.ranking, 2):
                    if one in answers and other in answers:
                        yield verdict.value, equal(answers[one], answers[other], same)
