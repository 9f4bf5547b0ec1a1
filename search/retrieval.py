"""Monte-Carlo tree search that looks things up: solved tasks at the beginning, steps that led on at every expansion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from ..core.events import Cancelled, Denied, Event, Expand, Expanded, Failed, Prune, Work, WorkStarted
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, NodeId, Recall, WorkId
from .common import MAX_FAILURES, within
from .mcts import UCT

OUTLINE = (
    "Do not solve the task now. Say in a few lines what kind of problem it is: which concepts it takes, how it is built, and what "
    "steps such problems are usually solved by. Leave out names and numbers."
)


@dataclass
class RetrievalUCT(UCT):
    """As `UCT`, each step shown what the agent's memory has of solved tasks and of steps like the one that it follows on.

    R2-LLMs (2025), two-level retrieval. Coarse, where trajectories begin: solved tasks like this one, by its words and, with
    `outline`, by those of an abstract description that the model is asked for once. Fine, at every later step: what came
    next after steps like the last one. What is less alike than `floor` is not shown, so a memory that holds only what does
    not fit changes nothing; what is more alike than `ceiling` is the same task again and would give its answer away.
    Differs: similarity is that of the memory (`memory.Store`: of words), not of embeddings.

    Args:
        exploration: weight of the bonus for few visits, >= 0.
        width: children of a node, >= 1.
        growth: a node that was visited n times may have `width * n ** growth` children, in [0, 1]; 0: never more than `width`.
        virtual_loss: visits of value 0 that a simulation counts for while it is out, >= 0.
        tasks: solved tasks that a trajectory's first step is shown, >= 0.
        steps: examples that each later step is shown, >= 0.
        floor: least likeness, in [0, 1].
        ceiling: greatest likeness, in [0, 1].
        outline: ask for the abstract description first; one more model call.
        depth: longest trajectory in steps, >= 1.
        prior: value of what no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    name: ClassVar[str] = "retrieval-uct"
    tasks: int = field(default=2, kw_only=True)
    steps: int = field(default=2, kw_only=True)
    floor: float = field(default=0.2, kw_only=True)
    ceiling: float = field(default=0.95, kw_only=True)
    outline: bool = field(default=False, kw_only=True)
    _outline: NodeId | None = field(default=None, init=False, repr=False)
    """The description, once it is there."""
    _outlining: WorkId | None = field(default=None, init=False, repr=False)
    """The call for it, while it is in flight."""
    _tried: int = field(default=0, init=False, repr=False)
    """Calls for it that failed."""
    _to_close: NodeId | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("tasks", self.tasks, 0)
        within("steps", self.steps, 0)
        within("floor", self.floor, 0.0, 1.0)
        within("ceiling", self.ceiling, self.floor, 1.0)

    @property
    def recalls(self) -> bool:
        """It needs the agent's memory."""
        return self.tasks + self.steps > 0

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Ask for the description first, then search."""
        if self._to_close is not None:
            closing = Prune(first, self._to_close, "a description of the task, no answer")
            return [closing, *self._framed(view, slots, WorkId(first + 1))]
        if self.outline and self._outline is None and self._tried < MAX_FAILURES:
            ready = self._outlining is None and ROOT in self._visits
            return [Expand(first, ROOT, framing=Framing(note=OUTLINE))] if ready else []
        return self._framed(view, slots, first)

    def _framed(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        works = super().expansions(view, slots, first)
        return [replace(w, framing=self.framing(w.node)) if isinstance(w, Expand) else w for w in works]

    def framing(self, node: NodeId) -> Framing | None:
        """Return what a step from a node is shown."""
        shown = () if node != ROOT or self._outline is None else (self._outline,)
        count = self.tasks if node == ROOT else self.steps
        recall = Recall(count, self.floor, self.ceiling) if count else None
        return Framing(shown, recall=recall) if shown or recall else None

    # --- what happened ---

    def _tell(self, event: Event, view: TreeView) -> None:
        """The call for the description is no simulation."""
        match event:
            case WorkStarted(Expand(work)) if self.outline and self._outline is None and self._outlines():
                self._outlining = work
            case Expanded(work, node) if work == self._outlining:
                self._outline = self._to_close = node.id
                self._outlining = None
            case Failed(work) | Cancelled(work) | Denied(work) if work == self._outlining:
                self._tried += isinstance(event, Failed)
                self._outlining = None
            case WorkStarted(Prune(_, node)) if node == self._to_close:
                self._to_close = None
            case _:
                super()._tell(event, view)

    def _outlines(self) -> bool:
        return self._outlining is None and self._tried < MAX_FAILURES
