"""Refining an answer by the model's own criticism: self-refine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Event, Expand, Expanded, Prune, Work
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, NodeId, WorkId
from .common import within
from .selectors import best_by_verdict
from .trajectories import Trajectories

CRITICISE = (
    "Do not solve the task now. Criticise the last attempt: say precisely what is wrong or could be better and how, point by "
    "point. If nothing is, answer with the one word {stop}."
)

REWRITE = (
    "The last of these is a criticism of the attempt before it. Write the answer anew, with everything in it mended."
)

IMPROVE = "Find out what is wrong with the last attempt by what was said of it, and give a better answer."


@dataclass
class SelfRefine(Trajectories):
    """Answer, criticise the answer, write it anew, and so on, `rounds` times.

    Madaan et al. (2023), Self-refine. A criticism is a trajectory of its own that shows the answer; it is closed at once, so that
    it is never taken for an answer, and not judged. The model ends the refinement by saying `stop`. With `keep_best` the
    best answer by the verdicts is chosen, the newest where nobody judged; refinement often makes answers worse, and
    without it the last one is what counts.

    Args:
        rounds: refinements after the first answer, >= 0.
        criticise: ask for the criticism by a call of its own; otherwise the model is shown the attempt and what the verifiers
            said of it, and improves it in one go. For agents that end by verdicts and not by answering.
        keep_best: choose by verdicts rather than the newest answer.
        stop: what a criticism says that finds nothing.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "self-refine"
    rounds: int = 3
    criticise: bool = True
    keep_best: bool = True
    stop: str = "FINISHED"
    _framings: list[Framing | None] = field(default_factory=lambda: [None], init=False, repr=False)
    """How each planned trajectory is asked."""
    _critics: dict[int, None] = field(default_factory=dict[int, None], init=False, repr=False)
    """Trajectories that criticise."""
    _attempts: list[NodeId] = field(default_factory=list[NodeId], init=False, repr=False)
    """Where each attempt ended, oldest first."""
    _to_close: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Criticisms that are to be closed."""
    _refined: int = field(default=0, init=False, repr=False)
    _content: bool = field(default=False, init=False, repr=False)
    """Whether a criticism found nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("rounds", self.rounds, 0)

    @property
    def speculative(self) -> bool:
        """Attempts may be thrown away."""
        return self.rounds > 0

    # --- what to do next ---

    def trajectories(self) -> int:
        """The first attempt."""
        return 1

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Show what the trajectory is to criticise or to improve on."""
        return Expand(work, ROOT, framing=self._framings[number])

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Close criticisms, then go on."""
        closing: list[Work] = [
            Prune(WorkId(first + i), node, "a criticism, no answer") for i, node in enumerate(self._to_close)
        ]
        return closing + super().expansions(view, slots, WorkId(first + len(closing)))

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:
        """A criticism that was closed need not be closed again."""
        if isinstance(work, Prune):
            self._to_close.pop(work.node, None)
        super().started(work, view)

    def _tell(self, event: Event, view: TreeView) -> None:
        super()._tell(event, view)
        if isinstance(event, Expanded) and self._number.get(event.node.id) in self._critics:
            node = event.node.id
            del self._unjudged[node]
            self._to_close[node] = None
            self._end(self._number[node], node, view)

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:
        """After an attempt comes its criticism, or the next attempt at once; after a criticism the next attempt."""
        if number in self._critics:
            self._content = node is not None and self._finds_nothing(node, view)
            if not self._content:
                shown = (self._attempts[-1],) if node is None else (self._attempts[-1], node)
                self._next(Framing(shown, IMPROVE if node is None else REWRITE))
            return
        if node is not None:
            self._attempts.append(node)
        if self._refined >= self.rounds or not self._attempts:
            return
        self._refined += 1
        last = self._attempts[-1]
        if self.criticise:
            self._critics[len(self._framings)] = None
            self._next(Framing((last,), CRITICISE.format(stop=self.stop)))
        else:
            self._next(Framing((last,), IMPROVE))

    def _next(self, framing: Framing) -> None:
        self._framings.append(framing)
        self.plan(1)

    def _finds_nothing(self, node: NodeId, view: TreeView) -> bool:
        step = view[node].step
        said = view[node].answer or ("" if step is None else step.text)
        return said.strip().strip(".!*\"'").casefold() == self.stop.casefold()

    def why_over(self, view: TreeView) -> str:  # noqa: ARG002 - the protocol's signature
        """Say that the model was content."""
        return f"a criticism found nothing to mend after {self._refined - 1} refinements" if self._content else ""

    # --- choosing ---

    def select(self, view: TreeView) -> NodeId | None:
        """Return the best attempt by its verdicts, or the newest."""
        judged = any(view.value(node) is not None for node in self._attempts)
        if self.keep_best and judged:
            return best_by_verdict(view)
        answers = [node for node in self._attempts if view[node].answer is not None]
        return answers[-1] if answers else best_by_verdict(view)
