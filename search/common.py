"""What strategies share: configuration that makes fresh searches, and the judging of new nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from ..core.errors import UsageError
from ..core.events import Cancelled, Denied, Event, Expanded, Failed, Judged, Score, Work, WorkStarted
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .selectors import best_by_verdict

MAX_FAILURES = 3
"""A node on which so many work items failed is given up."""


@dataclass
class BaseStrategy:
    """Base of the built-in strategies: has every new node judged once and hands judged nodes to `ready`.

    A strategy of your own may derive from it or implement `core.protocols.Strategy` from nothing.

    Args:
        seed: makes runs repeatable; set by `fresh`.
    """

    name: ClassVar[str] = "strategy"
    seed: int = field(default=0, kw_only=True)
    _unjudged: dict[NodeId, bool] = field(default_factory=lambda: {ROOT: False}, init=False, repr=False)
    """Nodes that need judging, in order of arrival; True while the judging is in flight. The root comes first: its
    verdicts are what the first steps have to go by."""
    _named: dict[WorkId, Score] = field(default_factory=dict[WorkId, Score], init=False, repr=False)
    """Judgements in flight that the strategy asked for by the verifiers' names."""

    @property
    def speculative(self) -> bool:
        """Whether branches may be thrown away."""
        return True

    def fresh(self, seed: int) -> Self:
        """Return an equally configured strategy that knows nothing yet."""
        return replace(self, seed=seed)

    # --- for subclasses ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Return at most `slots` expansions, best first, numbered from `first`. Changes nothing."""
        raise NotImplementedError  # pragma: no cover - abstract

    def started(self, work: Work, view: TreeView) -> None:
        """An expansion was started."""

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """An expansion of `node` ended without a new node: it failed, was cancelled or denied."""

    def ready(self, node: NodeId, view: TreeView) -> None:
        """A node was judged (or cannot be) and may be expanded."""

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """A node's value changed after it was ready: it was judged again, or verdicts on others say something of it."""

    def answered(self, work: Score, event: Event, view: TreeView) -> None:
        """A judgement that the strategy asked for by the verifiers' names came to its end, well or not."""

    # --- the protocol ---

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return the judgements that are due, then at most `slots` expansions."""
        first = view.next_work
        work: list[Work] = [
            Score(WorkId(first + i), node)
            for i, node in enumerate(node for node, busy in self._unjudged.items() if not busy)
        ]
        if slots > 0:
            work += self.expansions(view, slots, WorkId(first + len(work)))
        return work

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Take in what happened."""
        for event in events:
            self._tell(event, view)

    def _tell(self, event: Event, view: TreeView) -> None:
        match event:
            case WorkStarted(Score(number, _, verifiers) as score) if verifiers:
                self._named[number] = score
            case Judged(number) | Failed(number) | Cancelled(number) | Denied(number) if number in self._named:
                self.answered(self._named.pop(number), event, view)
            case WorkStarted(Score(_, node)):
                self._unjudged[node] = True
            case WorkStarted(work):
                self.started(work, view)
            case Expanded(_, node):
                self._unjudged[node.id] = False
            case Judged(_, node):
                self._settled(node, view)
            case Failed(work, node) | Cancelled(work, node) | Denied(work, node):
                if node not in self._unjudged:
                    self.undone(work, node, view)
                elif isinstance(event, Failed) and view.failures(node) >= MAX_FAILURES:
                    self._settled(node, view)
                else:
                    self._unjudged[node] = False
            case _:
                pass

    def _settled(self, node: NodeId, view: TreeView) -> None:
        if self._unjudged.pop(node, None) is not None:
            self.ready(node, view)

    def select(self, view: TreeView) -> NodeId | None:
        """Return the best node so far by its verdicts."""
        return best_by_verdict(view)


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Check a strategy's option that has a name.

    Raises:
        UsageError: `value` is none of `choices`.
    """
    if value not in choices:
        raise UsageError(f"{name}={value!r} is unknown; it must be one of {', '.join(choices)}")


def within(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Check a strategy's parameter.

    Raises:
        UsageError: `value` is out of range, or no number.
    """
    if not least <= value <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise UsageError(f"{name}={value!r} is out of range; it must be {bounds}")
