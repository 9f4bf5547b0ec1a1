"""The search tree as a fold over the events of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, Self

from .events import (
    Abstained,
    Accepted,
    Asked,
    Cancelled,
    Denied,
    Event,
    Expand,
    Expanded,
    Failed,
    Joined,
    Judged,
    Pruned,
    Resumed,
    Score,
    Selected,
    Spawned,
    Stopped,
    Work,
    WorkStarted,
)
from .people import Question
from .types import NO_USAGE, ROOT, Node, NodeId, NodeStatus, Usage, Verdict, WorkId


class TreeView(Protocol):
    """What a strategy may see of a tree: everything, and change nothing."""

    @property
    def in_flight(self) -> Mapping[WorkId, Work]:
        """Work that was started and has not finished."""
        ...

    @property
    def next_work(self) -> WorkId:
        """The number that the next work item must carry."""
        ...

    @property
    def share_left(self) -> float | None:
        """What is left of the tightest limit of the budget, in [0, 1]; None without limits. No part of the journal."""
        ...

    def __len__(self) -> int: ...
    def __contains__(self, node: object) -> bool: ...
    def __iter__(self) -> Iterator[Node]: ...
    def __getitem__(self, node: NodeId) -> Node: ...
    def children(self, node: NodeId) -> Sequence[NodeId]:
        """Children of `node` in the order of their arrival."""
        ...

    def path(self, node: NodeId) -> list[Node]:
        """Nodes from the root to `node`, both included."""
        ...

    def status(self, node: NodeId) -> NodeStatus:
        """`live` nodes can be expanded."""
        ...

    def verdicts(self, node: NodeId) -> Sequence[Verdict]:
        """All verdicts on `node`, oldest first."""
        ...

    def value(self, node: NodeId) -> float | None:
        """Mean over verifiers of each one's mean value, in [0, 1]; None where nobody judged."""
        ...

    def passed(self, node: NodeId) -> bool:
        """Whether every verifier that decides on `node` accepts it, and at least one does."""
        ...

    def failures(self, node: NodeId) -> int:
        """How many work items on `node` failed."""
        ...


class Tree:
    """Nodes, verdicts and work in flight of one run; the fold's accumulator.

    Only `apply` changes it, and only the search machine calls that. Folding n events takes O(n) time; nothing recurses
    over depth.
    """

    def __init__(self, root: Node) -> None:
        self._nodes: dict[NodeId, Node] = {root.id: root}
        self._children: dict[NodeId, list[NodeId]] = {}
        self._status: dict[NodeId, NodeStatus] = {}
        self._pruned_for: dict[NodeId, str] = {}
        self._verdicts: dict[NodeId, tuple[Verdict, ...]] = {}
        self._failures: dict[NodeId, int] = {}
        self._in_flight: dict[WorkId, Work] = {}
        self._next_work = WorkId(1)
        self.usage = NO_USAGE
        """Everything that was charged so far."""
        self.elapsed_seconds = 0.0
        """Wall clock of the run's ended processes, as far as the journal tells."""
        self.share_left: float | None = None
        """Kept up to date by the search machine; no part of the fold."""
        self.selected: NodeId | None = None
        self.confidence: tuple[float, str] | None = None
        """Probability that the selected node is right and how it was estimated, where the strategy told."""
        self.accepted: NodeId | None = None
        self.questions: dict[WorkId, tuple[Question, ...]] = {}
        """What work that is put aside waits for."""
        self.stopped: Stopped | None = None

    @classmethod
    def fold(cls, root: Node, events: Iterable[Event]) -> Self:
        """Return the tree after `events`."""
        tree = cls(root)
        for event in events:
            tree.apply(event)
        return tree

    # --- the fold's step ---

    def apply(self, event: Event) -> None:  # noqa: C901, PLR0912 - one case per kind of event
        """Take one event in. Events may come in any order that starts work before it ends."""
        match event:
            case WorkStarted(work):
                if isinstance(work, Expand | Score):
                    self._in_flight[work.id] = work
                self._next_work = max(self._next_work, WorkId(work.id + 1))
            case Expanded(work, node):
                self._end(work, node.usage)
                self._add(node)
            case Judged(work, node, verdicts, usage):
                self._end(work, usage)
                self._verdicts[node] = self._verdicts.get(node, ()) + verdicts
            case Failed(work, node, _, _, usage):
                self._end(work, usage)
                self._failures[node] = self._failures.get(node, 0) + 1
            case Cancelled(work, _, _, usage):
                self._end(work, usage)
            case Denied(work, _, _, usage):
                self._end(work, usage)
            case Asked(work, _, questions):
                self.questions[work] = questions
            case Pruned(node, reason):
                self._status[node] = "pruned"
                self._pruned_for[node] = reason
            case Resumed(lost, elapsed_seconds):
                self.usage += lost
                self.elapsed_seconds = elapsed_seconds
                self.stopped = None
                self.questions.clear()
            case Selected(node, _, confidence, source):
                self.selected = node
                self.confidence = None if confidence is None else (confidence, source)
            case Accepted(node):
                self.accepted = node
            case Stopped(_, _, elapsed_seconds):
                self.stopped = event
                self.elapsed_seconds = elapsed_seconds
            case Abstained() | Spawned() | Joined():
                pass

    def _end(self, work: WorkId, usage: Usage) -> None:
        self._in_flight.pop(work, None)
        if usage is not NO_USAGE:
            self.usage += usage

    def _add(self, node: Node) -> None:
        self._nodes[node.id] = node
        if node.parent is not None:
            self._children.setdefault(node.parent, []).append(node.id)
        if node.answer is not None:
            self._status[node.id] = "done"

    # --- the view ---

    @property
    def in_flight(self) -> Mapping[WorkId, Work]:
        """Work that was started and has not finished."""
        return self._in_flight

    @property
    def next_work(self) -> WorkId:
        """The number that the next work item must carry."""
        return self._next_work

    @property
    def root(self) -> Node:
        """The node that every trajectory starts from."""
        return self._nodes[ROOT]

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __getitem__(self, node: NodeId) -> Node:
        return self._nodes[node]

    def children(self, node: NodeId) -> Sequence[NodeId]:
        """Children of `node` in the order of their arrival."""
        return self._children.get(node, ())

    def path(self, node: NodeId) -> list[Node]:
        """Nodes from the root to `node`, both included."""
        nodes: list[Node] = []
        here: NodeId | None = node
        while here is not None:
            nodes.append(self._nodes[here])
            here = nodes[-1].parent
        nodes.reverse()
        return nodes

    def status(self, node: NodeId) -> NodeStatus:
        """`live` nodes can be expanded."""
        return self._status.get(node, "live")

    def pruned_for(self, node: NodeId) -> str:
        """Why `node` was closed; empty where it was not."""
        return self._pruned_for.get(node, "")

    def verdicts(self, node: NodeId) -> Sequence[Verdict]:
        """All verdicts on `node`, oldest first."""
        return self._verdicts.get(node, ())

    def value(self, node: NodeId) -> float | None:
        """Mean over verifiers of each one's mean value, in [0, 1]; None where nobody judged."""
        verdicts = self._verdicts.get(node)
        if not verdicts:
            return None
        if len(verdicts) == 1:
            return verdicts[0].value
        by_verifier: dict[str, list[float]] = {}
        for verdict in verdicts:
            by_verifier.setdefault(verdict.verifier, []).append(verdict.value)
        return sum(sum(values) / len(values) for values in by_verifier.values()) / len(by_verifier)

    def passed(self, node: NodeId) -> bool:
        """Whether every verifier that decides on `node` accepts it, and at least one does."""
        decisions = [v.passed for v in self._verdicts.get(node, ()) if v.passed is not None]
        return bool(decisions) and all(decisions)

    def failures(self, node: NodeId) -> int:
        """How many work items on `node` failed."""
        return self._failures.get(node, 0)
