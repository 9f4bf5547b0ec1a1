"""What became of attempts that were shown others: how often right ones came out wrong, and wrong ones right."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.tree import TreeView
from ..core.types import JSON, ROOT, Node, NodeId


@dataclass(frozen=True, slots=True)
class Revisions:
    """Attempts that were begun with others in sight, as far as verifiers judged both."""

    attempts: int = 0
    right_to_wrong: int = 0
    """They were shown a right one and came out wrong."""
    wrong_to_right: int = 0
    """They were shown wrong ones only and came out right."""

    def to_json(self) -> dict[str, JSON]:
        """All of it."""
        return {
            "attempts": self.attempts,
            "right_to_wrong": self.right_to_wrong,
            "wrong_to_right": self.wrong_to_right,
        }


def revisions(view: TreeView) -> Revisions:
    """Return what refinement in a tree came to. Refining makes answers worse as easily as better: it is worth a look.

    An attempt counts as right where the verifiers that decide accept it, or, where none decides, its value is at least one half.
    """
    shown: dict[NodeId, tuple[NodeId, ...]] = {}
    parents = {node.parent for node in view}
    attempts = right_to_wrong = wrong_to_right = 0
    for node in view:
        if node.parent is None:
            continue
        if node.parent == ROOT:
            framing = None if node.step is None else node.step.framing
            shown[node.id] = () if framing is None else framing.shown
        else:
            shown[node.id] = shown.get(node.parent, ())
        if node.id in parents or not shown[node.id]:
            continue
        before = [right for other in shown[node.id] if (right := _right(view, view[other])) is not None]
        after = _right(view, node)
        if not before or after is None:
            continue
        attempts += 1
        right_to_wrong += any(before) and not after
        wrong_to_right += after and not any(before)
    return Revisions(attempts, right_to_wrong, wrong_to_right)


def _right(view: TreeView, node: Node) -> bool | None:
    if any(verdict.passed is not None for verdict in view.verdicts(node.id)):
        return view.passed(node.id)
    value = view.value(node.id)
    return None if value is None else value >= 0.5
