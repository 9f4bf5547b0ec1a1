"""Further simulated worlds: trees with a score on every step, whose best leaf and target distributions are exact."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from ..events import Expand
from ..tree import TreeView
from ..types import Node, NodeId, Step, Usage
from .steps import Path, StepTree, uniform


@dataclass(frozen=True)
class ScoredTree(StepTree):
    """A tree of steps with a score on every prefix and a reward on every whole trajectory.

    The policy's probabilities are Dirichlet(1), scores uniform in (.05, .95), rewards uniform in (0, 1). A trajectory is
    solved where no other one has a higher reward. All leaves can be listed, so every target distribution is exact.
    """

    branching: int = 3
    depth: int = 4

    def probabilities(self, path: Path) -> list[float]:
        """Return the policy's probabilities of the children of `path`."""
        rng = random.Random(int(uniform(self.seed, "dirichlet", path) * 2**53))  # noqa: S311 - a simulation
        weights = [rng.expovariate(1.0) for _ in range(self.branching)]
        total = sum(weights)
        return [weight / total for weight in weights]

    def leaves(self) -> Iterator[Path]:
        """Return every whole trajectory."""
        return itertools.product(range(self.branching), repeat=self.depth)

    def chance(self, path: Path) -> float:
        """Return the probability that the policy takes `path`."""
        chance = 1.0
        for length, choice in enumerate(path):
            chance *= self.probabilities(path[:length])[choice]
        return chance

    def score(self, path: Path) -> float:
        """Return a prefix's score."""
        return 0.05 + 0.9 * uniform(self.seed, "score", path)

    def reward(self, path: Path) -> float:
        """Return a whole trajectory's reward."""
        return uniform(self.seed, "reward", path)

    def best(self) -> Path:
        """Return the trajectory with the highest reward."""
        return max(self.leaves(), key=self.reward)

    def solved(self, path: Path) -> bool:
        """Whether `path` is whole and has the highest reward."""
        return len(path) == self.depth and path == self.best()


@dataclass(frozen=True)
class EnumeratedTree(StepTree):
    """A tree of steps whose policy proposes each child once, in order: as many expansions as children show them all."""

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:  # noqa: ARG002 - nothing is drawn
        """Return the next child that was not proposed yet; they come round again after the last."""
        parent = view[work.node]
        siblings: list[int] = [*view.children(parent.id)]
        siblings += [w.id for w in view.in_flight.values() if isinstance(w, Expand) and w.node == parent.id]
        path = (*self.path(parent), sorted(siblings).index(work.id) % self.branching)
        where = ".".join(map(str, path))
        answer = where if len(path) == self.depth else None
        step = Step("answer" if answer else "thought", where)
        return Node(NodeId(work.id), parent.id, step, where, parent.depth + 1, Usage(nodes=1), answer)
