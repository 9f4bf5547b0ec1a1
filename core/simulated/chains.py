"""A simulated chain of refinements: attempts whose quality is a number, and a judge that errs anew with every call."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..events import Expand
from ..tree import TreeView
from ..types import Node, NodeId, Step, Usage, Verdict
from .steps import Path, Simulation, StepTree

UNIT = 0.1
"""A judge's value is 1/2 for quality 0, and so much more for each unit of quality: what lies beyond 0 and 1 is rare."""


@dataclass(frozen=True)
class RefineChain(StepTree):
    """Attempts of one step. A fresh one's quality is normal, mean 0 and variance 1; one that is shown another builds on that.

    A refined attempt's quality is normal with mean `keeps * quality of the first that is shown + gains`.

    Args:
        keeps: how much of the shown attempt's quality is kept.
        gains: what refining adds on average.
        spread: standard deviation of a refined attempt's quality.
        noise: standard deviation of a judge's error, in units of quality, drawn anew with each call.
        signal: whether the judge looks at all; otherwise all attempts get the same value.
        seed: which chain it is.
    """

    branching: int = 1
    depth: int = 1
    keeps: float = 0.9
    gains: float = 0.15
    spread: float = 0.6
    noise: float = 0.0
    signal: bool = True

    @staticmethod
    def path(node: Node) -> Path:
        """An attempt is as good as finished; where it stands says nothing."""
        return () if node.parent is None else (0,)

    def solved(self, path: Path) -> bool:  # noqa: ARG002 - no attempt ends the search
        """Never: the better the better."""
        return False

    @staticmethod
    def quality(node: Node) -> float:
        """Return an attempt's true quality."""
        return float(node.answer or 0.0)

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:
        """Return a fresh attempt, or one that builds on the first that is shown."""
        rng = random.Random(f"{self.seed} {seed} {work.id}")  # noqa: S311 - a simulation
        shown = work.framing.shown if work.framing is not None else ()
        if shown:
            quality = rng.gauss(self.keeps * self.quality(view[shown[0]]) + self.gains, self.spread)
        else:
            quality = rng.gauss(0.0, 1.0)
        step = Step("answer", "", framing=work.framing)
        return Node(NodeId(work.id), work.node, step, None, 1, Usage(calls=1, nodes=1), answer=repr(quality))


@dataclass
class Refinements(Simulation):
    """Takes a strategy through a chain of refinements."""

    def verdict(self, node: NodeId) -> Verdict:
        """Return one more opinion on an attempt."""
        world = self.world
        assert isinstance(world, RefineChain)
        call = len(self.tree.verdicts(node))
        rng = random.Random(f"{world.seed} {self.seed} {node} {call}")  # noqa: S311 - a simulation
        quality = world.quality(self.tree[node]) + rng.gauss(0.0, world.noise)
        value = 0.5 + UNIT * quality if world.signal else 0.5
        return Verdict(min(1.0, max(0.0, value)), "value", "judge")

    @property
    def chosen(self) -> float:
        """The true quality of the attempt that the strategy selects."""
        node = self.strategy.select(self.tree)
        assert node is not None
        return RefineChain.quality(self.tree[NodeId(node)])
