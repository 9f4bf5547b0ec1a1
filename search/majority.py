"""Frequency first, then reward: best-of-majority, which a verifier's mistakes about rare answers cannot mislead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.events import Event, Expanded
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import Node, NodeId
from .common import one_of, within
from .equivalence import Same, grouped, lasting
from .sampled import Sampled
from .voting import answered, same_option

Reward = Literal["max", "mean"]


def frequency_floor(alpha: float, count: int) -> float:
    """Return the least frequency of an answer that is kept.

    Args:
        alpha: as the user gave it; 0 chooses it: 1.5/N for fewer than 64 answers, .05 from there on.
        count: number of answers.
    """
    if alpha > 0:
        return alpha
    return 1.5 / count if count < 64 else 0.05


@dataclass(frozen=True)
class BestOfMajority:
    """Among the answers that are frequent enough, choose the one with the highest reward.

    Best-of-majority (Di et al. 2025): best-of-n follows the verifier to whatever it overrates, the more samples the further;
    what the model itself hardly ever says is left out here first. Never gets worse with more samples.

    Args:
        same: when answers are the same.
        alpha: least frequency of an answer, in [0, 1]; 0 chooses one by the number of answers. Where no answer has it, the most
            frequent one is chosen.
        reward: what an answer is worth by the verdicts on those who gave it: the highest, or their mean.
    """

    name: ClassVar[str] = "majority"
    same: Same = "text"
    alpha: float = 0.0
    reward: Reward = "max"

    def __post_init__(self) -> None:
        same_option(self.same)
        within("alpha", self.alpha, 0.0, 1.0)
        one_of("reward", self.reward, ("max", "mean"))
        object.__setattr__(self, "same", lasting(self.same))

    def choose(self, view: TreeView) -> Appraisal:
        """Return the best of the frequent answers, with its frequency."""
        ranked = self.top(view, 1)
        if not ranked:
            return Appraisal(None, source="no trajectory gave an answer that can be compared")
        node, share = ranked[0]
        return Appraisal(node, share, "frequency of the answer among all of them, not calibrated")

    def top(self, view: TreeView, k: int) -> list[tuple[NodeId, float]]:
        """Return the `k` best of the frequent answers, the best first: who gave it, and how frequent it is."""
        nodes = answered(view)
        count = sum(len(group) for group in grouped([node.answer for node in nodes], self.same))
        ranked: list[tuple[tuple[float, float, int], tuple[NodeId, float]]] = []
        for group in self.frequent(nodes):
            values = {node.id: value for node in group if (value := view.value(node.id)) is not None}
            best = max(values, key=lambda node: (values[node], -node), default=group[0].id)
            worth = -1.0
            if values:
                worth = max(values.values()) if self.reward == "max" else math.fsum(values.values()) / len(values)
            ranked.append(((-worth, -len(group), best), (best, len(group) / count)))
        return [choice for _, choice in sorted(ranked)][:k]

    def frequent(self, nodes: Sequence[Node]) -> list[list[Node]]:
        """Return those who gave each answer that is frequent enough, else those who gave the most frequent one."""
        groups = grouped([node.answer for node in nodes], self.same)
        if not groups:
            return []
        count = sum(map(len, groups))
        floor = frequency_floor(self.alpha, count)
        # A count that makes exactly the floor passes, whatever floating point makes of the quotient.
        kept = [group for group in groups if len(group) >= floor * count - 1e-9]
        kept = kept or [max(groups, key=lambda group: (len(group), -group[0]))]
        return [[nodes[place] for place in group] for group in kept]


@dataclass
class MajoritySampling(Sampled):
    """Run `n` trajectories, and have only those judged whose answers are frequent: best-of-majority.

    The verifier is asked about answers only once all are there: it costs `members` calls for each frequent answer. What
    comes before an answer is judged as ever.

    Args:
        n: number of trajectories, >= 1.
        same: when answers are the same.
        alpha: least frequency of an answer, in [0, 1]; 0 chooses it.
        reward: what an answer is worth by the verdicts on those who gave it.
        members: how many of those who gave an answer are judged, the oldest first, >= 1.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "best-of-majority"
    n: int = 16
    alpha: float = 0.0
    reward: Reward = "max"
    members: int = 1
    _held: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Answers that nobody has judged, in order of arrival."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("members", self.members, 1)
        self._selector()

    def _selector(self) -> BestOfMajority:
        return BestOfMajority(self.same, self.alpha, self.reward)

    def _tell(self, event: Event, view: TreeView) -> None:
        super()._tell(event, view)
        if isinstance(event, Expanded) and event.node.answer is not None:
            # Judged only if the answer turns out to be frequent.
            del self._unjudged[event.node.id]
            self._held[event.node.id] = None
            self._end(self._number[event.node.id], event.node.id, view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Let the trajectory go on where it can; an answer's is over already."""
        if view[node].answer is None:
            super().ready(node, view)

    def all_over(self, view: TreeView) -> None:
        """Have the frequent answers judged."""
        for group in self._selector().frequent([view[node] for node in sorted(self._held)]):
            self._unjudged.update({node.id: False for node in group[: self.members]})
        self._held.clear()

    def choice(self, view: TreeView) -> Appraisal:
        """Return the best of the frequent answers with its frequency."""
        return self._selector().choose(view)
