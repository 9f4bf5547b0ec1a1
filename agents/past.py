"""What led to the root of a search that goes on from a node of another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core.events import Work
from ..core.tree import Tree, TreeView
from ..core.types import ROOT, Node, NodeId, NodeStatus, Verdict, WorkId


@dataclass(frozen=True)
class Past:
    """The trajectory that a search goes on from.

    Models, tools and verifiers see it as a part of every trajectory of the search. Strategies do not: to them the search begins
    at its root.

    Args:
        tree: what is known of it, by ids below 0: those at and above 0 are the search's own.
        last: its last node, whose place the search's root has taken.
    """

    tree: Tree
    last: NodeId

    def whole(self, path: Sequence[Node]) -> list[Node]:
        """Return a path of the search with what led to its root."""
        return [*self.tree.path(self.last), *path[1:]] if path[0].id == ROOT else list(path)

    def view(self, tree: TreeView) -> TreeView:
        """Return the tree of the search in which the nodes before its root are found, too."""
        return _WithPast(self, tree)


@dataclass(frozen=True)
class _WithPast:
    past: Past
    tree: TreeView

    def _of(self, node: NodeId) -> TreeView:
        return self.past.tree if node < ROOT else self.tree

    @property
    def in_flight(self) -> Mapping[WorkId, Work]:
        return self.tree.in_flight

    @property
    def next_work(self) -> WorkId:
        return self.tree.next_work

    @property
    def share_left(self) -> float | None:
        return self.tree.share_left

    def __len__(self) -> int:
        return len(self.tree)

    def __contains__(self, node: object) -> bool:
        return node in self.tree or node in self.past.tree

    def __iter__(self) -> Iterator[Node]:
        return iter(self.tree)

    def __getitem__(self, node: NodeId) -> Node:
        return self._of(node)[node]

    def children(self, node: NodeId) -> Sequence[NodeId]:
        return self._of(node).children(node)

    def path(self, node: NodeId) -> list[Node]:
        return self.past.whole(self._of(node).path(node))

    def status(self, node: NodeId) -> NodeStatus:
        return self._of(node).status(node)

    def verdicts(self, node: NodeId) -> Sequence[Verdict]:
        return self._of(node).verdicts(node)

    def value(self, node: NodeId) -> float | None:
        return self._of(node).value(node)

    def passed(self, node: NodeId) -> bool:
        return self._of(node).passed(node)

    def failures(self, node: NodeId) -> int:
        return self._of(node).failures(node)
