"""Three axes of scale: how long the model may think, how many samples it makes at once, how many turns of refinement it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Expand
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, NodeId, WorkId
from .common import within
from .trajectories import Trajectories

REFINE = "These are the best attempts so far. Find out by what was said of them what is still wrong, and do better."


@dataclass
class Turns(Trajectories):
    """Sample a batch of trajectories, show the best of them to the next batch, and so on for some turns.

    "3D scaling" (2025): context times batch times turns. `three_axes.Scaling` says which of them a budget of tokens goes to.
    Differs: selection is by the verifiers; a person in their place is a verifier that asks one. The best attempts of all
    turns are shown, so what is shown never gets worse.

    Args:
        turns: batches, one after the other, >= 1.
        batch: trajectories of a turn, side by side, >= 1.
        context: tokens that the model may sample in one call, >= 1; None: as many as the agent's own limit.
        keep: how many attempts the next turn is shown, >= 1.
        target: the search is over with an attempt of this value, in [0, 1]; None: with one that is accepted.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "turns"
    turns: int = 3
    batch: int = 4
    context: int | None = None
    keep: int = 1
    target: float | None = None
    _taken: int = field(default=0, init=False, repr=False)
    """Turns that are over."""
    _ends: list[NodeId] = field(default_factory=list[NodeId], init=False, repr=False)
    """Where the attempts ended."""
    _framing: Framing | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("turns", self.turns, 1)
        within("batch", self.batch, 1)
        within("context", 1 if self.context is None else self.context, 1)
        within("keep", self.keep, 1)
        within("target", 1.0 if self.target is None else self.target, 0.0, 1.0)

    @property
    def speculative(self) -> bool:
        """A single attempt is never thrown away."""
        return self.turns * self.batch > 1

    def trajectories(self) -> int:
        """The first batch."""
        return self.batch

    def beginning(self, work: WorkId, number: int) -> Expand:  # noqa: ARG002 - the base's signature
        """Show what came before."""
        return Expand(work, ROOT, framing=self._framing, max_tokens=self.context)

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:  # noqa: ARG002 - the base's signature
        """Go on, with as much context for every call."""
        return Expand(work, node, max_tokens=self.context)

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Keep where the attempt ended."""
        if node is not None:
            self._ends.append(node)

    def all_over(self, view: TreeView) -> None:
        """Choose what the next turn is shown, and begin it."""
        self._taken += 1
        ranked = sorted((-self._value(node, view), node) for node in self._ends)
        if self._taken >= self.turns or not ranked or (self.target is not None and -ranked[0][0] >= self.target):
            return
        self._framing = Framing(tuple(node for _, node in ranked[: self.keep]), REFINE)
        self.plan(self.batch)

    @staticmethod
    def _value(node: NodeId, view: TreeView) -> float:
        return -1.0 if (value := view.value(node)) is None else value
