"""Which states a run keeps: those that can be made again are dropped, before the limit on disk space is exceeded."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ..core.protocols import Snapshots, Strategy
from ..core.tree import TreeView
from ..core.types import Node, NodeId, Step

_WORTH_BYTES = 4096
"""What a state must free to be worth making it again."""
_ROOM_SHARE = 0.2
"""Share of the limit that is made free at once, so that not every new state has to look for room."""


@dataclass
class Retention:
    """The policy. A state is dropped only if every node that has it can be brought back by doing its actions again.

    Never dropped: the task's own files; states of leaves that may still be expanded; states that work in flight needs;
    the best node so far and an accepted one; and what would hardly free anything, for what it holds is in others too. Among
    the rest those of nodes that will not be expanded any more go first, then those that free the most for the time that
    making them again would take.

    Args:
        snapshots: where the states are.
        limit_bytes: what they may take together.
        tree: the tree so far.
        strategy: says which node is the best.
        can_redo: whether a step does the same when it is taken again.
        in_use: states that are being opened right now.
    """

    snapshots: Snapshots
    limit_bytes: int
    tree: Callable[[], TreeView]
    strategy: Strategy
    can_redo: Callable[[Step], bool]
    in_use: Callable[[], Collection[str]]
    dropped: set[str] = field(default_factory=set[str])
    """States that were dropped."""
    dropped_bytes: int = 0

    def make_room(self, missing_bytes: int) -> None:
        """Drop states until `missing_bytes` and something more are free, as far as the rules allow."""
        goal = missing_bytes + int(_ROOM_SHARE * self.limit_bytes)
        freed = 0
        for ref in self.droppable():
            if freed >= goal:
                break
            freed += self.snapshots.drop([ref])
            self.dropped.add(ref)
        self.dropped_bytes += freed

    def droppable(self) -> list[str]:
        """Return the states that may be dropped, in the order in which they should be."""
        tree = self.tree()
        owners: dict[str, list[Node]] = {}
        for node in tree:
            if node.env_ref is not None:
                owners.setdefault(node.env_ref, []).append(node)
        needed = self._needed(tree)
        ranked: list[tuple[bool, float, int, str]] = []
        for ref, nodes in owners.items():
            if ref in needed or not self.snapshots.holds(ref):
                continue
            costs = [self._redo_seconds(tree, node) for node in nodes]
            frees = self.snapshots.alone_bytes(ref)
            if None not in costs and frees >= _WORTH_BYTES:
                live = any(tree.status(node.id) == "live" for node in nodes)
                seconds = min(cost for cost in costs if cost is not None)
                ranked.append((live, seconds / frees, nodes[0].id, ref))
        return [ref for _, _, _, ref in sorted(ranked)]

    def _needed(self, tree: TreeView) -> set[str | None]:
        """Return the states that must stay."""
        nodes = {work.node for work in tree.in_flight.values()}
        best = self.strategy.select(tree)
        nodes |= {NodeId(best)} if best is not None else set()
        needed = {tree[node].env_ref for node in nodes if node in tree} | set(self.in_use())
        for node in tree:
            is_leaf = tree.status(node.id) == "live" and not tree.children(node.id)
            if node.parent is None or is_leaf or tree.passed(node.id):
                needed.add(node.env_ref)
        return needed

    def _redo_seconds(self, tree: TreeView, node: Node) -> float | None:
        """Return how long making a node's state again takes, from the nearest ancestor whose state is there.

        None where a step on the way from the root does not do the same again. The whole way counts, for the states on it may
        be dropped, too.
        """
        seconds, here, reached = 0.0, node, False
        while here.parent is not None:
            if here.step is not None and here.step.calls:
                if not self.can_redo(here.step):
                    return None
                seconds += 0.0 if reached else here.usage.sandbox_seconds
            here = tree[here.parent]
            other = here.env_ref is None or (here.env_ref != node.env_ref and self.snapshots.holds(here.env_ref))
            reached = reached or other
        return seconds
