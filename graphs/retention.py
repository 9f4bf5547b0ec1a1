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


@dataclass(eq=False)
class Kept:
    """A search as far as the policy sees it.

    Args:
        tree: the tree so far.
        strategy: says which node is the best.
        can_redo: whether a step does the same when it is taken again.
        in_use: states that are being opened right now.
    """

    tree: Callable[[], TreeView]
    strategy: Strategy
    can_redo: Callable[[Step], bool]
    in_use: Callable[[], Collection[str]]

    def needed(self) -> set[str | None]:
        """Return the states that must stay."""
        tree = self.tree()
        nodes = {work.node for work in tree.in_flight.values()}
        best = self.strategy.select(tree)
        nodes |= {NodeId(best)} if best is not None else set()
        needed = {tree[node].env_ref for node in nodes if node in tree} | set(self.in_use())
        for node in tree:
            is_leaf = tree.status(node.id) == "live" and not tree.children(node.id)
            if node.parent is None or is_leaf or tree.passed(node.id):
                needed.add(node.env_ref)
        return needed


@dataclass
class Retention:
    """The policy. A state is dropped only if every node that has it can be brought back by doing its actions again.

    Never dropped: the task's own files; states of leaves that may still be expanded; states that work in flight needs;
    the best node so far and an accepted one; and what would hardly free anything, for what it holds is in others too. Among
    the rest those of nodes that will not be expanded any more go first, then those that free the most for the time that
    making them again would take. Of a search that has ended only the chosen state matters; the others go before all.

    Args:
        snapshots: where the states are.
        limit_bytes: what they may take together.
    """

    snapshots: Snapshots
    limit_bytes: int
    dropped: set[str] = field(default_factory=set[str])
    """States that were dropped."""
    dropped_bytes: int = 0
    _searches: list[Kept] = field(default_factory=list[Kept], init=False)
    _ended: dict[str, None] = field(default_factory=dict[str, None], init=False)
    """States that only searches that have ended had."""
    _chosen: set[str] = field(default_factory=set[str], init=False)
    """What those came to."""

    def add(self, search: Kept) -> None:
        """Keep the states of one more search."""
        self._searches.append(search)

    def end(self, search: Kept, chosen: str | None) -> None:
        """A search has ended with a state, which stays."""
        self._searches.remove(search)
        self._chosen |= {chosen} if chosen is not None else set()
        root, *others = search.tree()
        self._chosen |= {root.env_ref} if root.env_ref is not None else set()
        self._ended.update((node.env_ref, None) for node in others if node.env_ref is not None)

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
        owners: dict[str, list[tuple[Kept, Node]]] = {}
        for search in self._searches:
            for node in search.tree():
                if node.env_ref is not None:
                    owners.setdefault(node.env_ref, []).append((search, node))
        needed = self._chosen.union(*(search.needed() for search in self._searches))
        over = [ref for ref in self._ended if ref not in owners and ref not in needed and self.snapshots.holds(ref)]
        ranked: list[tuple[bool, float, int, str]] = []
        for ref, nodes in owners.items():
            if ref in needed or not self.snapshots.holds(ref):
                continue
            costs = [self._redo_seconds(search, node) for search, node in nodes]
            frees = self.snapshots.alone_bytes(ref)
            if None not in costs and frees >= _WORTH_BYTES:
                live = any(search.tree().status(node.id) == "live" for search, node in nodes)
                seconds = min(cost for cost in costs if cost is not None)
                ranked.append((live, seconds / frees, nodes[0][1].id, ref))
        return over + [ref for _, _, _, ref in sorted(ranked)]

    def _redo_seconds(self, search: Kept, node: Node) -> float | None:
        """Return how long making a node's state again takes, from the nearest ancestor whose state is there.

        None where a step on the way from the root does not do the same again. The whole way counts, for the states on it may
        be dropped, too.
        """
        tree, seconds, here, reached = search.tree(), 0.0, node, False
        while here.parent is not None:
            if here.step is not None and here.step.calls:
                if not search.can_redo(here.step):
                    return None
                seconds += 0.0 if reached else here.usage.sandbox_seconds
            here = tree[here.parent]
            other = here.env_ref is None or (here.env_ref != node.env_ref and self.snapshots.holds(here.env_ref))
            reached = reached or other
        return seconds
