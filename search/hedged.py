"""One careful trajectory among many bold ones: hedged sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.events import Expand
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .bayes_risk import Likeness, MinimumBayesRisk
from .common import within
from .equivalence import lasting
from .sampled import Sampled
from .selectors import best_by_verdict
from .voting import answered


@dataclass
class Hedged(Sampled):
    """Run one greedy trajectory and `n - 1` at a temperature, so that one careful answer is always in the pool.

    Khairi et al. (2025), When life gives you samples: where sampling sometimes goes badly wrong, as in languages or formats
    that a model knows little, the greedy answer bounds the loss. Chosen by the verdicts where any answer was judged, else by
    minimum Bayes risk.

    Args:
        n: number of trajectories, >= 1.
        same: what counts as an answer.
        temperature: of the others; the agent's own unless given.
        similarity: how alike two answers are, for minimum Bayes risk.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "hedged"
    n: int = 5
    temperature: float | None = None
    similarity: Likeness = "sequence"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature is not None:
            within("temperature", self.temperature, 0.0)
        self.similarity = lasting(MinimumBayesRisk(self.similarity).similarity)

    def _temperature(self, number: int) -> float | None:
        return 0.0 if number == 0 else self.temperature

    def beginning(self, work: WorkId, number: int) -> Expand:
        """The first trajectory is greedy, in every step."""
        return Expand(work, ROOT, self._temperature(number))

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:
        """Go on as it began."""
        return Expand(work, node, self._temperature(number))

    def choice(self, view: TreeView) -> Appraisal:
        """Return the best judged answer, else the one that is most like the others."""
        if any(view.value(node.id) is not None for node in answered(view)):
            return Appraisal(best_by_verdict(view))
        return MinimumBayesRisk(self.similarity).choose(view)
