"""Stopping everything else once enough trajectories have finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..core.events import Cancel, Event, Expand, Expanded, Resumed, Score, Work
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import Node, NodeId, WorkId
from .equivalence import grouped, is_answer
from .sampled import Sampled
from .selectors import best_by_verdict

ENOUGH = "enough trajectories have finished"


@dataclass
class Racing(Sampled):
    """Base of strategies that stop everything else once enough trajectories have finished.

    Args:
        n: number of trajectories, >= 1; all of them run at once where there are as many slots.
        same: what counts as an answer (`search.equivalence`).
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    _finished: list[NodeId] = field(default_factory=list[NodeId], init=False, repr=False)
    """Those that count, in the order in which they finished."""
    _flying: dict[WorkId, NodeId] = field(default_factory=dict[WorkId, NodeId], init=False, repr=False)
    """Expansions in flight."""
    _stopped: dict[WorkId, None] = field(default_factory=dict[WorkId, None], init=False, repr=False)
    """Those of them that were told to stop."""

    @property
    def wanted(self) -> int:
        """How many must finish."""
        return 1

    @property
    def _done(self) -> bool:
        """Whether enough have finished."""
        return len(self._finished) >= self.wanted

    # --- what to do next ---

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Once enough have finished: judge those, let them end what they are at, stop everything else."""
        work = super().ask(view, slots)
        if not self._done:
            return work
        kept = {node.id for finished in self._finished for node in view.path(finished)}
        kept |= {node for finished in self._finished for node in view.children(finished)}
        due: list[Work] = [
            item
            for item in work
            if (isinstance(item, Score) and item.node in kept)
            or (isinstance(item, Expand) and item.node in self._finished)
        ]
        flying = ((target, node) for target, node in self._flying.items() if target not in self._stopped)
        due += [Cancel(WorkId(0), node, target, ENOUGH) for target, node in flying if node not in self._finished]
        return [replace(item, id=WorkId(view.next_work + i)) for i, item in enumerate(due)]

    # --- what happened ---

    def _tell(self, event: Event, view: TreeView) -> None:
        if isinstance(event, Expanded):
            self._ended(event.work)
            if not self._done and self.finishes(event.node):
                self._finished.append(event.node.id)
        elif isinstance(event, Resumed):
            self._stopped.clear()  # what the killed process was about to stop has been begun again
        super()._tell(event, view)

    def started(self, work: Work, view: TreeView) -> None:
        """Remember what flies; what was told to stop is told so once."""
        if isinstance(work, Expand):
            self._flying[work.id] = work.node
        elif isinstance(work, Cancel):
            self._stopped[work.target] = None
        super().started(work, view)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """What failed is tried again, what was stopped is not: nothing is expanded any more then."""
        self._ended(work)
        super().undone(work, node, view)

    def finishes(self, node: Node) -> bool:
        """Whether a trajectory has finished with this node."""
        return is_answer(node.answer, self.same)

    def _ended(self, work: WorkId) -> None:
        self._flying.pop(work, None)
        self._stopped.pop(work, None)

    def why_over(self, view: TreeView) -> str:  # noqa: ARG002 - the protocol's signature
        """Say that the others were stopped."""
        return (
            f"{len(self._finished)} of {self.n} trajectories finished, and the others were stopped"
            if self._done
            else ""
        )

    def cut_off(self, view: TreeView) -> Appraisal:
        """Choose among trajectories of which none finished: by verdicts, else by what their texts agree on."""
        best = best_by_verdict(view)
        if best is not None:
            return Appraisal(best)
        cut = [node for node in view if node.step is not None and node.step.kind in ("invalid", "thought", "partial")]
        cut = sorted((node for node in cut if not view.children(node.id)), key=lambda node: node.id)
        groups = grouped([_said(node) for node in cut], self.same)
        if not groups:
            return Appraisal(None, source="no trajectory finished, and none was about to give an answer")
        most = max(groups, key=lambda group: (len(group), -group[0]))
        share = len(most) / len(cut)
        return Appraisal(
            cut[most[0]].id, share, "no trajectory finished: the share of those cut off at the same answer"
        )


def _said(node: Node) -> str | None:
    return None if node.step is None else node.step.text
