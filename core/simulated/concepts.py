"""A simulated world of concepts: the right next step is likely where the prompt shows one like it, and rare otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..events import Expand
from ..tree import TreeView
from ..types import Node, NodeId, Recall, Step, Usage
from .steps import Path, StepTree, uniform

Lookup = Callable[[str, Recall, Literal["task", "step"]], list[str]]
"""Returns the texts that a memory has for a context."""


@dataclass(frozen=True)
class ConceptTree(StepTree):
    """A tree in which each state calls for a concept, and an example of that concept makes the right step likely.

    Args:
        branching: children of a node, one of which is right.
        depth: steps of a whole trajectory.
        plain: probability of the right step without help.
        helped: the same where the right example is shown.
        task_helped: the same at every step of a trajectory that began with the right task's example.
        harm: how much an example that does not fit takes off.
        concepts: how many concepts there are, spread over all tasks.
        lookup: the memory; None: nothing is ever found.
        seed: which task it is.
    """

    branching: int = 4
    depth: int = 4
    plain: float = 0.35
    helped: float = 0.9
    task_helped: float = 0.5
    harm: float = 0.2
    concepts: int = 500
    lookup: Lookup | None = None

    def concept(self, path: Path) -> int:
        """Return the concept that the state after `path` calls for."""
        return int(uniform(self.seed, "concept", path) * self.concepts)

    def cue(self, path: Path) -> str:
        """Return the words of a state; those of the root describe the task."""
        return f"state{'task' if not path else ''} needs concept{self.concept(path)} here"

    def lesson(self, path: Path) -> str:
        """Return an example for the state."""
        return f"by concept{self.concept(path)}"

    def right(self, path: Path) -> int:  # noqa: ARG002 - the same everywhere
        """Child 0 is the right one."""
        return 0

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:
        """Return the node after one more step, which what was looked up makes better or worse."""
        parent = view[work.node]
        path = self.path(parent)
        wanted = work.framing.recall if work.framing is not None else None
        kind: Literal["task", "step"] = "step" if path else "task"
        seen = (
            tuple(self.lookup(self.cue(path), wanted, kind)) if self.lookup is not None and wanted is not None else ()
        )
        chance = self._chance(path, seen, first=self._first_seen(parent, view))
        draw = random.Random(f"{self.seed} {seed} {work.id}")  # noqa: S311 - a simulation
        taken = 0 if draw.random() < chance else 1 + draw.randrange(self.branching - 1)
        where = ".".join(map(str, (*path, taken)))
        answer = where if len(path) + 1 == self.depth else None
        step = Step("answer" if answer else "thought", "\n".join(seen))
        return Node(NodeId(work.id), parent.id, step, where, parent.depth + 1, Usage(nodes=1), answer)

    def _chance(self, path: Path, seen: tuple[str, ...], *, first: list[str]) -> float:
        chance = self.plain
        if path and self.lesson(()) in first:
            chance = self.task_helped
        if self.lesson(path) in seen:
            chance = self.helped if path else max(chance, self.task_helped)
        return chance - (self.harm if any(text != self.lesson(path) for text in seen) else 0.0)

    @staticmethod
    def _first_seen(node: Node, view: TreeView) -> list[str]:
        """What the trajectory's first step was shown."""
        path = view.path(node.id)
        return path[1].step.text.splitlines() if len(path) > 1 and path[1].step is not None else []
