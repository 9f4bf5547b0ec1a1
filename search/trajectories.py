"""Whole trajectories from the root, each unbranched: what sampling methods have in common."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from ..core.events import Event, Expand, Expanded, Prune, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within


@dataclass
class Trajectories(BaseStrategy):
    """Base of strategies that run whole trajectories side by side, each until it answers or is `depth` steps long.

    A trajectory has a number, from 0; a subclass says how many there are to be (`plan`), and how each is begun and gone on
    with. A beginning that fails is begun again, under its number.

    Args:
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    depth: int = field(default=16, kw_only=True)
    repeats: int = field(default=3, kw_only=True)
    _due: list[int] = field(default_factory=list[int], init=False, repr=False)
    """Numbers of the trajectories to begin, in order."""
    _planned: int = field(default=0, init=False, repr=False)
    _tips: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Ends of trajectories that can go on, in order of arrival."""
    _number: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    """The trajectory of every node, and of every beginning that is out."""
    _alive: dict[int, None] = field(default_factory=dict[int, None], init=False, repr=False)
    """Trajectories that have begun and are not over."""
    _doomed: dict[NodeId, str] = field(default_factory=dict[NodeId, str], init=False, repr=False)
    """Ends of trajectories that are given up, and why."""

    def __post_init__(self) -> None:
        within("depth", self.depth, 1)
        within("repeats", self.repeats, 2)

    # --- for subclasses ---

    def trajectories(self) -> int:
        """Return how many trajectories there are at first."""
        raise NotImplementedError  # pragma: no cover - abstract

    def beginning(self, work: WorkId, number: int) -> Expand:  # noqa: ARG002 - for subclasses
        """Return the expansion that begins a trajectory."""
        return Expand(work, ROOT)

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:  # noqa: ARG002 - for subclasses
        """Return the expansion by which a trajectory goes on from `node`."""
        return Expand(work, node)

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:
        """A trajectory is over: at `node`, or, where it never came to a node, nowhere."""

    def all_over(self, view: TreeView) -> None:
        """Every planned trajectory is over; the subclass may plan more."""

    def plan(self, count: int) -> None:
        """Have `count` more trajectories begun."""
        self._due += range(self._planned, self._planned + count)
        self._planned += count

    def give_up(self, node: NodeId, reason: str) -> None:
        """Have a trajectory that is at `node` and waits there given up; it is over once that is done."""
        self._doomed[node] = reason

    def number_of(self, node: NodeId) -> int | None:
        """Return the number of the trajectory that a node is on; None for the root."""
        return self._number.get(node)

    def why_over(self, view: TreeView) -> str:
        """Return how the trajectories ended, once all are over."""
        if not self.finished:
            return ""
        ends = Counter(self._end_of(node.id, view) for node in view if node.id != ROOT and not view.children(node.id))
        said = ", ".join(f"{count} {how}" for how, count in ends.items())
        return f"the trajector{'y is' if self._planned == 1 else 'ies are'} over: {said}" if said else ""

    def _end_of(self, node: NodeId, view: TreeView) -> str:
        match view.status(node):
            case "done":
                return "answered" if view[node].answer is not None else "over without an answer"
            case "pruned":
                return "given up"
            case _ if view.failures(node) >= MAX_FAILURES:
                return "failed"
            case _ if view[node].depth >= self.depth:
                return f"at the depth of {self.depth}, the most there may be"
            case _:
                return "went in circles"

    @property
    def finished(self) -> bool:
        """Whether every planned trajectory is over."""
        return self._planned > 0 and not self._alive and not self._due

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:  # noqa: ARG002 - the base's signature
        """Give up what is not needed any more, go on with the trajectories that are under way, then begin new ones."""
        work: list[Work] = [
            Prune(WorkId(first + i), node, reason) for i, (node, reason) in enumerate(self._doomed.items())
        ]
        return work + list(islice(self._wanted(WorkId(first + len(work))), slots))

    def _wanted(self, first: WorkId) -> Iterator[Work]:
        for i, (node, number) in enumerate(chain(((n, -1) for n in self._tips), ((ROOT, n) for n in self._due))):
            work = WorkId(first + i)
            yield self.beginning(work, number) if node == ROOT else self.continuation(work, node, self._number[node])

    # --- what happened ---

    def _tell(self, event: Event, view: TreeView) -> None:
        if isinstance(event, Expanded) and event.node.parent != ROOT and event.node.parent is not None:
            self._number[event.node.id] = self._number[event.node.parent]
        super()._tell(event, view)

    def started(self, work: Work, view: TreeView) -> None:
        """Take the trajectory out of those that wait; one that was given up is over."""
        if isinstance(work, Prune) and work.node in self._doomed:
            del self._doomed[work.node]
            self._end(self._number[work.node], work.node, view)
        if not isinstance(work, Expand):
            return
        if work.node != ROOT:
            self._tips.pop(work.node, None)
            return
        number = self._due.pop(0)
        self._number[work.id] = number
        self._alive[number] = None

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """Try the step again, until too many failed."""
        if node != ROOT:
            if view.failures(node) < MAX_FAILURES:
                self._tips[node] = None
            else:
                self._end(self._number[node], node, view)
            return
        number = self._number.pop(work)
        # A failed beginning is begun again, so as many trajectories come to exist as are planned unless the failures go on.
        if view.failures(ROOT) < MAX_FAILURES * self._planned:
            del self._alive[number]
            insort(self._due, number)
        else:
            self._end(number, None, view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Let the trajectory go on where it can."""
        if node == ROOT:
            self.plan(self.trajectories())
        elif view.status(node) == "live" and view[node].depth < self.depth and not self._circles(node, view):
            self._tips[node] = None
        else:
            self._end(self._number[node], node, view)

    def _end(self, number: int, node: NodeId | None, view: TreeView) -> None:
        del self._alive[number]
        self.over(number, node, view)
        if not self._alive and not self._due:
            self.all_over(view)

    def _circles(self, node: NodeId, view: TreeView) -> bool:
        """Whether the last `repeats` steps all made the same calls."""
        here = view[node]
        calls = here.step.calls if here.step is not None else ()
        for _ in range(self.repeats - 1):
            if here.parent is None or here.parent == ROOT:
                return False
            here = view[here.parent]
            if not calls or here.step is None or here.step.calls != calls:
                return False
        return True
