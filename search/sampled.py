"""Sampling trajectories and choosing by what their answers have in common: the base, and self-consistency."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Expand
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, NodeId, WorkId
from .best_of_n import BestOfN
from .common import one_of, within
from .equivalence import Same, is_answer, lasting
from .voting import Vote, Weight, answered, same_option


@dataclass
class Sampled(BestOfN):
    """Base of strategies that compare the answers of whole trajectories.

    What verifiers accept ends the search as ever; otherwise `choice` decides.

    Args:
        n: number of trajectories, >= 1.
        same: when answers are the same (`search.equivalence`).
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    same: Same = "text"

    def __post_init__(self) -> None:
        super().__post_init__()
        same_option(self.same)
        self.same = lasting(self.same)

    def choice(self, view: TreeView) -> Appraisal:
        """Return the best node and what that is worth."""
        raise NotImplementedError  # pragma: no cover - abstract

    def accepts(self, node: NodeId, view: TreeView) -> bool:
        """As the verifiers say."""
        return view.passed(node)

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the accepted node, else the choice among all answers."""
        return Appraisal(accepted) if accepted is not None else self.choice(view)

    def select(self, view: TreeView) -> NodeId | None:
        """Return the choice, None where there is no answer."""
        return self.appraise(view).node


@dataclass
class SelfConsistency(Sampled):
    """Run `n` trajectories and choose the answer that most of them gave.

    Wang et al. (2023), Self-consistency. With `weight` their verdicts weigh the votes. With `variants` the trajectories see the
    agent's variants of the task in turn, with answers mapped back: examples chosen for the task and shuffled options
    (Medprompt: Nori et al. 2023), or the same puzzle with its symbols exchanged, which frees a solver from mistakes that
    hang on the surface of a task.

    Args:
        n: number of trajectories, >= 1.
        same: when answers are the same.
        weight: what a vote counts (`Vote`).
        variants: how many of the agent's variants are used, trajectory i taking variant i modulo their number; 0: none.
        retries: where not one trajectory gave an answer, all are run again at most so often, >= 0.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "self-consistency"
    n: int = 16
    weight: Weight = "count"
    variants: int = 0
    retries: int = 5
    _retried: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("weight", self.weight, ("count", "value", "scaled"))
        within("variants", self.variants, 0)
        within("retries", self.retries, 0)

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Show a trajectory its variant of the task."""
        return Expand(work, ROOT, framing=Framing(variant=number % self.variants) if self.variants else None)

    def all_over(self, view: TreeView) -> None:
        """Try again where nobody gave an answer: what is empty never wins a vote."""
        if self._retried < self.retries and not any(is_answer(node.answer, self.same) for node in answered(view)):
            self._retried += 1
            self.plan(self.n)

    def choice(self, view: TreeView) -> Appraisal:
        """Return the answer with the most votes."""
        return Vote(self.same, self.weight).choose(view)
