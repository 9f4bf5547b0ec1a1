"""A tree as a strategy should see it: values corrected for what is known of the verifiers' noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core.events import Work
from ..core.tree import TreeView
from ..core.types import Node, NodeId, NodeStatus, Verdict, WorkId
from .belief import Belief


@dataclass(frozen=True, slots=True)
class Corrected:
    """A view whose `value` is what a node is believed to be worth; all else is the tree's own.

    Args:
        view: the tree.
        belief: what the verdicts say.
        optimism: how many standard deviations above its mean a node's value is put.
    """

    view: TreeView
    belief: Belief
    optimism: float = 0.0

    def value(self, node: NodeId) -> float | None:
        """Posterior mean, raised by the optimism; None where nobody judged. Rounded, so that what is as good as equal is equal."""
        if not self.belief.judged(node):
            return None
        mean, spread = self.belief.posterior(node)
        return round(min(1.0, max(0.0, mean + self.optimism * spread)), 3)

    # --- the tree's own ---

    @property
    def in_flight(self) -> Mapping[WorkId, Work]:
        return self.view.in_flight

    @property
    def next_work(self) -> WorkId:
        return self.view.next_work

    @property
    def share_left(self) -> float | None:
        return self.view.share_left

    def __len__(self) -> int:
        return len(self.view)

    def __contains__(self, node: object) -> bool:
        return node in self.view

    def __iter__(self) -> Iterator[Node]:
        return iter(self.view)

    def __getitem__(self, node: NodeId) -> Node:
        return self.view[node]

    def children(self, node: NodeId) -> Sequence[NodeId]:
        return self.view.children(node)

    def path(self, node: NodeId) -> list[Node]:
        return self.view.path(node)

    def status(self, node: NodeId) -> NodeStatus:
        return self.view.status(node)

    def verdicts(self, node: NodeId) -> Sequence[Verdict]:
        return self.view.verdicts(node)

    def passed(self, node: NodeId) -> bool:
        return self.view.passed(node)

    def failures(self, node: NodeId) -> int:
        return self.view.failures(node)
