"""A simulated world of actions: a goal some steps away, an agent that often takes the wrong one, actions that cannot be undone."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..events import Expand
from ..tree import Tree, TreeView
from ..types import Node, NodeId, Step, Usage
from .steps import Path, StepTree, uniform


@dataclass(frozen=True)
class ToolWorld(StepTree):
    """One right sequence of actions leads to the goal; whoever leaves it never comes back.

    In every state the agent proposes actions in an order of its own: the right one first with probability `top`, among the
    first `branching` with probability `among`, else never. Asking again gives the next proposal.

    Args:
        branching: proposals that differ, >= 2; after the last one they are drawn anew.
        depth: actions to the goal.
        top: probability that the right action is proposed first.
        among: probability that it is proposed at all.
        irreversible: share of the actions that have effects outside: under `Expand.external="hold"` they are held back.
        noise: standard deviation of the error of `value`, persistent for a state.
        seed: which world it is.
    """

    branching: int = 4
    depth: int = 6
    top: float = 0.6
    among: float = 0.9
    irreversible: float = 0.0
    noise: float = 0.2

    def right(self, path: Path) -> int:  # noqa: ARG002 - the same everywhere
        """Action 0 is the right one."""
        return 0

    def proposals(self, path: Path, times: int = 0) -> list[int]:
        """Return the actions that the agent proposes in a state, in order; off the right way none is right any more.

        Args:
            path: the state.
            times: how often all proposals were made before: they are drawn anew each time.
        """
        wrong = list(range(1, self.branching + 1))
        chance = uniform(self.seed, "proposals", path, times)
        if self.progress(path) * self.depth < len(path) or chance >= self.among:
            return wrong[: self.branching]
        step = (self.among - self.top) / (self.branching - 1)
        place = 0 if chance < self.top else min(self.branching - 1, 1 + int((chance - self.top) / step))
        return [*wrong[:place], 0, *wrong[place : self.branching - 1]]

    def reaches_out(self, path: Path) -> bool:
        """Whether the last action of a path has effects outside."""
        return bool(path) and uniform(self.seed, "irreversible", path) < self.irreversible

    def value(self, path: Path) -> float:
        """Return what a noisy judge thinks of a state, in [0, 1]: 1 at the goal."""
        if self.solved(path):
            return 1.0
        on_way = self.progress(path) * self.depth >= len(path)
        error = random.Random(f"{self.seed} value {path}").gauss(0.0, self.noise)  # noqa: S311 - a simulation
        return min(1.0, max(0.0, (0.3 + 0.7 * self.progress(path) if on_way else 0.2) + error))

    # --- as nodes ---

    @staticmethod
    def path(node: Node) -> Path:
        """Return where a node stands; a held action counts as where it would lead."""
        text = "" if node.step is None else node.step.text
        return tuple(int(choice) for choice in text.split(".")) if text else ()

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:  # noqa: ARG002 - nothing is drawn
        """Return the node after the next action that is proposed, or after a held one was released."""
        parent = view[work.node]
        if work.external == "release":
            return self._node(work, parent, self.path(parent), held=False)
        siblings: list[int] = [*view.children(parent.id)]
        siblings += [w.id for w in view.in_flight.values() if isinstance(w, Expand) and w.node == parent.id]
        times, place = divmod(sum(sibling < work.id for sibling in siblings), self.branching)
        path = (*self.path(parent), self.proposals(self.path(parent), times)[place])
        return self._node(work, parent, path, held=work.external == "hold" and self.reaches_out(path))

    def _node(self, work: Expand, parent: Node, path: Path, *, held: bool) -> Node:
        where = ".".join(map(str, path))
        answer = where if len(path) == self.depth and not held else None
        step = Step("answer" if answer else "tool", where, held=held)
        state = parent.env_ref if held else where
        return Node(NodeId(work.id), parent.id, step, state, parent.depth + 1, Usage(nodes=1), answer)

    def done_outside(self, tree: Tree) -> list[NodeId]:
        """Return the nodes whose last action had effects outside, and was done."""
        return [
            node.id
            for node in tree
            if node.step is not None and not node.step.held and self.reaches_out(self.path(node))
        ]


def tool_judge(world: StepTree, path: Path) -> float:
    """Value a state of a `ToolWorld`."""
    assert isinstance(world, ToolWorld)
    return world.value(path)
