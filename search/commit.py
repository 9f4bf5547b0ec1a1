"""Search that acts: look a few steps ahead in copies of the environment, take the best way for real, look ahead again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Expand, Prune, Work
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, within
from .frontier import Frontier, Priority
from .selectors import best_by_verdict
from .states import SeenStates


@dataclass
class CommitSearch(BaseStrategy):
    """Search best-first below the node that is committed to, commit to the best sequence of actions found, and search on from there.

    Koh et al. (2024), Tree Search for Language Model Agents: branching b = `width`, depth d = `ahead`, c = `evaluations`. Committing
    means that nothing outside of the chosen node's subtree is ever followed again. Actions with effects outside of the
    sandbox are therefore safe: while it searches they are held back, a branch ends with them, and they are done only when the
    search commits to that branch. Differs: environments fork, so nothing is reset and replayed; what was seen below the
    committed node is kept, and as many further actions may be tried there; the votes on a value are the verifier's matter. With `evaluations=1` it is a plain agent.

    Args:
        width: actions tried in a state, >= 1.
        ahead: how far it looks ahead of the committed node, >= 1.
        evaluations: actions tried before it commits, >= 1.
        most: commits, >= 1.
        target: a state of this value is committed to at once, in [0, 1].
        depth: longest trajectory in steps, >= 1.
        prior: value of a state that no verifier judged, in [0, 1].
        deduplicate: close nodes in a state that was reached before.
    """

    name: ClassVar[str] = "commit-search"
    width: int = 5
    ahead: int = 5
    evaluations: int = 20
    most: int = 8
    target: float = 1.0
    depth: int = field(default=64, kw_only=True)
    prior: float = field(default=0.5, kw_only=True)
    deduplicate: bool = field(default=True, kw_only=True)
    _here: NodeId | None = field(default=None, init=False, repr=False)
    """The committed node; None before the beginning and after the end."""
    _committed: list[NodeId] = field(default_factory=list[NodeId], init=False, repr=False)
    """All nodes that were committed to, oldest first."""
    _spent: int = field(default=0, init=False, repr=False)
    """Actions tried since."""
    _issued: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """Expansions of each node that were started and did not come to nothing."""
    _out: dict[WorkId, NodeId] = field(default_factory=dict[WorkId, NodeId], init=False, repr=False)
    """Steps in the making or not judged yet, with the node that they come from."""
    _found: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Judged nodes below the committed one."""
    _release: NodeId | None = field(default=None, init=False, repr=False)
    """The held node that is to be committed to."""
    _frontier: Frontier[NodeId] = field(default_factory=Frontier[NodeId], init=False, repr=False)
    _seen: SeenStates = field(default_factory=SeenStates, init=False, repr=False)
    _duplicates: dict[NodeId, NodeId] = field(default_factory=dict[NodeId, NodeId], init=False, repr=False)
    """Nodes to close, with the node that they equal."""

    def __post_init__(self) -> None:
        for name in ("width", "ahead", "evaluations", "most", "depth"):
            within(name, getattr(self, name), 1)
        within("target", self.target, 0.0, 1.0)
        within("prior", self.prior, 0.0, 1.0)

    @property
    def commits(self) -> bool:
        """Effects outside of the sandbox come about on the committed way only."""
        return True

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Take a held step for real, or close duplicates and try actions in the best states."""
        if self._release is not None:
            return [] if self._out else [Expand(first, self._release, external="release")]
        work: list[Work] = [
            Prune(WorkId(first + i), node, f"same state as node {twin}")
            for i, (node, twin) in enumerate(self._duplicates.items())
        ]
        first = WorkId(first + len(work))

        def again(node: NodeId, times: int) -> Priority | None:
            return self._priority(node, view) if self._issued.get(node, 0) + times < self.width else None

        wanted = min(slots, self.evaluations - self._spent)
        for i, node in zip(range(wanted), self._frontier.peek(again), strict=False):
            work.append(Expand(WorkId(first + i), node, external="hold"))
        return work

    def value(self, node: NodeId, view: TreeView) -> float:
        """The node's value, the prior where nobody judged it."""
        return self.prior if (value := view.value(node)) is None else value

    def _priority(self, node: NodeId, view: TreeView) -> Priority:
        return (-self.value(node, view), float(node))

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:
        """Count the action as tried."""
        if isinstance(work, Prune):
            self._duplicates.pop(work.node, None)
        elif isinstance(work, Expand):
            self._out[work.id] = work.node
            if work.node != self._release:
                self._spent += 1
                self._count(work.node, 1, view)

    def _count(self, node: NodeId, by: int, view: TreeView) -> None:
        self._issued[node] = self._issued.get(node, 0) + by
        self._place(node, view)

    def _place(self, node: NodeId, view: TreeView) -> None:
        """Put a node into the frontier where another action may be tried in it, or take it out."""
        here = self._here
        open_ = here is not None and view.status(node) == "live" and not self._held(node, view)
        open_ = open_ and view.failures(node) < MAX_FAILURES * self.width and node not in self._duplicates
        if here is not None and open_ and self._issued.get(node, 0) < self.width:
            depth = view[node].depth
            if depth < self.depth and depth - view[here].depth < self.ahead:
                self._frontier.put(node, self._priority(node, view))
                return
        self._frontier.remove(node)

    @staticmethod
    def _held(node: NodeId, view: TreeView) -> bool:
        step = view[node].step
        return step is not None and step.held

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """Give the action back; a held step that cannot be taken is given up."""
        del self._out[work]
        if node != self._release:
            self._spent -= 1
            self._count(node, -1, view)
        elif view.failures(node) >= MAX_FAILURES:
            self._release = None
            del self._found[node]
        self._settle(view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Take a judged node in; what a held step came to is committed to."""
        if node == ROOT:
            self._here = ROOT
            self._place(ROOT, view)
            return
        origin = self._out.pop(WorkId(node))
        if origin == self._release:
            self._release = None
            self._commit(node, view)
            return
        twin = self._seen.twin(view[node], view) if self.deduplicate and not self._held(node, view) else None
        if twin is not None and view.status(node) == "live":
            self._duplicates[node] = twin
        else:
            self._found[node] = None
            self._place(node, view)
        self._settle(view)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Rank a node that waits by its new value."""
        if node in self._frontier:
            self._place(node, view)

    # --- committing ---

    def _settle(self, view: TreeView) -> None:
        """Commit where no further action is to be tried before."""
        if self._here is None or self._out or self._release is not None:
            return
        best = max(self._found, key=lambda node: self._rank(node, view), default=None)
        done = best is not None and self.value(best, view) >= self.target
        if self._spent < self.evaluations and len(self._frontier) > 0 and not done:
            return
        if best is None:
            self._here = None
        elif self._held(best, view):
            self._release = best
        else:
            self._commit(best, view)

    def _rank(self, node: NodeId, view: TreeView) -> tuple[float, bool, int, int]:
        here = view[node]
        return self.value(node, view), here.answer is not None, -here.depth, -node

    def _commit(self, node: NodeId, view: TreeView) -> None:
        """Leave everything that is not below the node behind."""
        self._committed.append(node)
        self._spent = 0
        over = view.status(node) != "live" or view[node].depth >= self.depth or len(self._committed) >= self.most
        below, reached = list[NodeId](), {node}
        for one in sorted(self._found):
            if view[one].parent in reached:  # parents have the smaller numbers
                reached.add(one)
                below.append(one)
        self._found, self._frontier = dict.fromkeys(below), Frontier()
        self._duplicates.clear()
        self._here = None if over else node
        for one in (node, *below):
            self._issued[one] = 0
            self._place(one, view)
        self._settle(view)

    # --- the outcome ---

    def accepts(self, node: NodeId, view: TreeView) -> bool:
        """Whether the verifiers accept the node; a step that was held back has not been taken yet."""
        return view.passed(node) and not self._held(node, view)

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the accepted node, or what `select` returns."""
        return Appraisal(self.select(view) if accepted is None else accepted)

    def select(self, view: TreeView) -> NodeId | None:
        """Return the end of the committed way, or the best node seen below it; before the first commit the best of all."""
        if not self._committed:
            return best_by_verdict(view)
        reachable = [node for node in (self._committed[-1], *self._found) if not self._held(node, view)]
        if self._here is None:
            return self._committed[-1]
        return max(reachable, key=lambda node: (view.passed(node), *self._rank(node, view)))
