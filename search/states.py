"""Which steps led to nothing new."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from ..core.tree import TreeView
from ..core.types import Node, NodeId


@dataclass
class SeenStates:
    """The first node in each state that a search came to.

    A state is that of the environment. Where there is none, or the step only looked, two steps are the same where they
    come from the same node with the same words and the same calls.
    """

    _first: dict[Hashable, NodeId] = field(default_factory=dict[Hashable, NodeId], init=False)

    def twin(self, node: Node, view: TreeView) -> NodeId | None:
        """Remember the node's state; return the first node in it, None where this is it."""
        keys: list[Hashable] = []
        if node.env_ref is not None:
            keys.append(node.env_ref)
        moved = node.parent is None or (node.env_ref is not None and view[node.parent].env_ref != node.env_ref)
        if not moved and node.step is not None:
            calls = tuple((call.name, repr(call.arguments)) for call in node.step.calls)
            keys = [(node.parent, " ".join(node.step.text.split()), calls), *keys]
        # A step that only looked is not the twin of the node that it looked from: its own key decides.
        firsts = [self._first.setdefault(key, node.id) for key in keys]
        return None if not firsts or firsts[0] == node.id else firsts[0]
