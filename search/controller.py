"""What strategies around another strategy share: everything is passed on, and a subclass changes what it must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from ..core.events import Cancel, Cancelled, Denied, Event, Expand, Expanded, Failed, Work, WorkStarted
from ..core.protocols import Appraisal, Appraiser, Committing, Explains, Recalling, Segmenting, Strategy
from ..core.tree import TreeView
from ..core.types import NodeId, WorkId
from .best_of_n import BestOfN


@dataclass
class Controller:
    """Base of controllers: limits how much another strategy does, and leaves it to that one what to do.

    Args:
        inner: the strategy.
    """

    name: ClassVar[str] = "controller"
    inner: Strategy = field(default_factory=BestOfN)
    _stopped: dict[WorkId, None] = field(default_factory=dict[WorkId, None], init=False, repr=False)
    """Expansions that are being cancelled."""

    @property
    def speculative(self) -> bool:
        """As the inner strategy."""
        return self.inner.speculative

    @property
    def commits(self) -> bool:
        """As the inner strategy."""
        return isinstance(self.inner, Committing) and self.inner.commits

    @property
    def recalls(self) -> bool:
        """As the inner strategy."""
        return isinstance(self.inner, Recalling) and self.inner.recalls

    @property
    def in_segments(self) -> bool:
        """As the inner strategy."""
        return isinstance(self.inner, Segmenting) and self.inner.in_segments

    def fresh(self, seed: int) -> Self:
        """Return an equally configured controller with a fresh inner strategy."""
        return replace(self, inner=self.inner.fresh(seed))

    # --- for subclasses ---

    def closed(self, view: TreeView) -> bool:  # noqa: ARG002 - for subclasses
        """Whether nothing more is to be expanded; what is there is still judged. Changes nothing."""
        return False

    def room(self, view: TreeView, slots: int) -> int:  # noqa: ARG002 - for subclasses
        """Return how many of `slots` expansions may be begun now. Changes nothing."""
        return slots

    def heard(self, event: Event, view: TreeView) -> None:
        """Something happened; the inner strategy knows."""

    # --- the protocol ---

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return what the inner strategy wants; where the search is closed no expansions, and an end to those in flight."""
        wanted = self.inner.ask(view, self.room(view, slots))
        if not self.closed(view):
            return wanted
        left = [work for work in wanted if not isinstance(work, Expand)]
        flying = [work for work in view.in_flight.values() if isinstance(work, Expand) and work.id not in self._stopped]
        left += [Cancel(WorkId(0), work.node, work.id, f"{self.name}: nothing more is wanted") for work in flying]
        return [replace(work, id=WorkId(view.next_work + number)) for number, work in enumerate(left)]

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Take in what happened."""
        for event in events:
            match event:
                case WorkStarted(Cancel(_, _, target)):
                    self._stopped[target] = None
                case Expanded(work) | Failed(work) | Cancelled(work) | Denied(work):
                    self._stopped.pop(work, None)
                case _:
                    pass
            self.inner.tell((event,), view)
            self.heard(event, view)

    def accepts(self, node: NodeId, view: TreeView) -> bool:
        """As the inner strategy; where that has no opinion, the verdicts decide."""
        return self.inner.accepts(node, view) if isinstance(self.inner, Appraiser) else view.passed(node)

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the inner strategy's choice."""
        if isinstance(self.inner, Appraiser):
            return self.inner.appraise(view, accepted)
        node = accepted if accepted is not None else self.inner.select(view)
        return Appraisal(None if node is None else NodeId(node))

    def select(self, view: TreeView) -> NodeId | None:
        """Return the best node so far, None to abstain."""
        return self.appraise(view).node

    def why_over(self, view: TreeView) -> str:
        """Return why there is nothing more to do, as far as the inner strategy can say."""
        return self.inner.why_over(view) if isinstance(self.inner, Explains) else ""
