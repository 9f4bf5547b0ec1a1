"""Step by step with a budget for each step, what one does not use being the next one's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Cancel, Expand, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within


@dataclass
class Rollover(BaseStrategy):
    """Sample candidates for a step until one is better than what there is, and save what that leaves of the quota.

    Rollover budget forcing of Kim et al. (2025), Inference-Time Scaling for Flow Models via Stochastic Generation and Rollover
    Budget Forcing, from denoising steps to steps of a trajectory. A candidate of a higher value than the prefix is taken at
    once and those still in the making are cancelled; where none is when the quota is used up, the best is taken. All
    steps together never cost more than `quota` each.

    Args:
        quota: candidates for a step, >= 1.
        ahead: candidates that are sampled at once, >= 1: more take less time, and waste what was not needed.
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1]; the root has it too.
    """

    name: ClassVar[str] = "rollover"
    quota: int = 4
    ahead: int = 1
    depth: int = field(default=16, kw_only=True)
    prior: float = field(default=0.5, kw_only=True)
    _here: NodeId | None = field(default=None, init=False, repr=False)
    """The prefix that is gone on from; None before the beginning and after the end."""
    _left: int = field(default=0, init=False, repr=False)
    """Candidates that may still be sampled for this step, those of earlier steps included."""
    _out: dict[WorkId, None] = field(default_factory=dict[WorkId, None], init=False, repr=False)
    """Candidates of this step that are in the making or not judged yet."""
    _tried: list[NodeId] = field(default_factory=list[NodeId], init=False, repr=False)
    """Judged candidates of this step."""
    _unwanted: dict[WorkId, NodeId] = field(default_factory=dict[WorkId, NodeId], init=False, repr=False)
    """Candidates of earlier steps to cancel, with the node that they would have come from."""

    def __post_init__(self) -> None:
        within("quota", self.quota, 1)
        within("ahead", self.ahead, 1)
        within("depth", self.depth, 1)
        within("prior", self.prior, 0.0, 1.0)

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Cancel what is not needed any more, then sample candidates."""
        work: list[Work] = []
        for target, node in self._unwanted.items():
            if target in view.in_flight:
                work.append(Cancel(WorkId(first + len(work)), node, target, "a better step was found"))
        if self._here is not None:
            for _ in range(min(slots, self.ahead - len(self._out), self._left)):
                work.append(Expand(WorkId(first + len(work)), self._here))
        return work

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Count the candidate."""
        if isinstance(work, Cancel):
            self._unwanted.pop(work.target, None)
        elif isinstance(work, Expand):
            self._left -= 1
            self._out[work.id] = None

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """What failed costs nothing, until too many of a step failed; what was cancelled was paid for."""
        self._unwanted.pop(work, None)
        if work not in self._out:
            return
        del self._out[work]
        if view.failures(node) < MAX_FAILURES * self.quota:
            self._left += 1
        else:
            self._left = 0
        self._settle(view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Take the candidate where it is better than the prefix, or the last and the best."""
        self._unwanted.pop(WorkId(node), None)
        if node == ROOT:
            self._here, self._left = ROOT, self.quota
        elif WorkId(node) in self._out:
            del self._out[WorkId(node)]
            self._tried.append(node)
            if self._here is not None and self.value(node, view) > self.value(self._here, view):
                self._take(node, view)
            else:
                self._settle(view)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Take a candidate that turns out to be better than the prefix."""
        if self._here is not None and node in self._tried and self.value(node, view) > self.value(self._here, view):
            self._take(node, view)

    def value(self, node: NodeId, view: TreeView) -> float:
        """The node's value, the prior where nobody judged it."""
        return self.prior if (value := view.value(node)) is None else value

    def _settle(self, view: TreeView) -> None:
        """Take the best candidate where no further one is to come."""
        if self._left == 0 and not self._out:
            if self._tried:
                self._take(max(self._tried, key=lambda node: (self.value(node, view), -node)), view)
            else:
                self._here = None

    def _take(self, node: NodeId, view: TreeView) -> None:
        assert self._here is not None
        self._unwanted.update(dict.fromkeys(self._out, self._here))
        self._out.clear()
        self._tried.clear()
        ends = view.status(node) != "live" or view[node].depth >= self.depth
        self._here = None if ends else node
        self._left += self.quota
