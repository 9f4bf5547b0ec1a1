"""Independent trajectories, the best of which is chosen: best-of-n; with n = 1 a plain agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Expand, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within


@dataclass
class BestOfN(BaseStrategy):
    """Run `n` trajectories side by side, each until it answers or is `depth` steps long.

    Args:
        n: number of trajectories, >= 1.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "best-of-n"
    n: int = 8
    depth: int = 16
    repeats: int = 3
    _open: bool = field(default=False, init=False, repr=False)
    """Whether the root was judged, so that trajectories may begin."""
    _begun: int = field(default=0, init=False, repr=False)
    _tips: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Ends of trajectories that can go on, in order of arrival."""

    def __post_init__(self) -> None:
        within("n", self.n, 1)
        within("depth", self.depth, 1)
        within("repeats", self.repeats, 2)

    @property
    def speculative(self) -> bool:
        """One trajectory is never thrown away."""
        return self.n > 1

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:  # noqa: ARG002 - the base's signature
        """Go on with the trajectories that are under way, then begin new ones."""
        beginnings = range(self._begun, self.n) if self._open else ()
        nodes = [*self._tips, *(ROOT for _ in beginnings)]
        return [Expand(WorkId(first + i), node) for i, node in enumerate(nodes[:slots])]

    def started(self, work: Work, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Take the trajectory out of those that wait."""
        if isinstance(work, Expand):
            if work.node == ROOT:
                self._begun += 1
            else:
                self._tips.pop(work.node, None)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Try the step again, until too many failed."""
        if node == ROOT:
            # A failed beginning is begun again, so n trajectories come to exist unless the failures go on.
            if view.failures(ROOT) < MAX_FAILURES * self.n:
                self._begun -= 1
        elif view.failures(node) < MAX_FAILURES:
            self._tips[node] = None

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Let the trajectory go on where it can."""
        if node == ROOT:
            self._open = True
        elif view.status(node) == "live" and view[node].depth < self.depth and not self._circles(node, view):
            self._tips[node] = None

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
