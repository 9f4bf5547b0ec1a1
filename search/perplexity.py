"""Voting with the model's own probabilities instead of counts: perplexity consistency with reasoning pruning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import Node, NodeId
from .common import one_of
from .equivalence import Same, grouped, lasting
from .voting import Vote, answered, length_tokens, same_option
from .weibull import fit_mixture

FEW = 8
"""With fewer trajectories nothing is pruned: there is too little to fit a mixture to."""

Lengths = Literal["sum", "mean"]


@dataclass(frozen=True)
class PerplexityConsistency:
    """Choose the answer whose distinct trajectories are the most probable together.

    Zhou et al. (2025), A theoretical study on bridging internal probability and self-consistency (RPC). Every distinct
    trajectory counts once, with the probability that the model gave it, so that the estimate of an answer's probability
    converges exponentially instead of linearly. Trajectories that a two-component Weibull mixture finds improbable are left out
    first. Differs: all of it in logarithms; the mixture is fitted by expectation and maximisation and starts from the halves of
    the values, so that its scale does not matter.

    Needs log-probabilities: `Agent(sampling=Sampling(logprobs=0))`, at the temperature that they are reported for. Without
    them it is an ordinary vote, and says so.

    Args:
        same: when answers are the same.
        prune: leave improbable trajectories out, where there are at least 8.
        lengths: `sum`: a trajectory's probability; `mean`: its geometric mean per token, for long ones of different length.
    """

    name: ClassVar[str] = "perplexity"
    needs_logprobs: ClassVar[bool] = True
    same: Same = "text"
    prune: bool = True
    lengths: Lengths = "sum"

    def __post_init__(self) -> None:
        same_option(self.same)
        one_of("lengths", self.lengths, ("sum", "mean"))
        object.__setattr__(self, "same", lasting(self.same))

    def choose(self, view: TreeView) -> Appraisal:
        """Return the oldest trajectory of the most probable answer, with that answer's share of all probability."""
        nodes = answered(view)
        logs = [self._logprob(node, view) for node in nodes]
        known = [log for log in logs if log is not None]
        if len(known) < len(nodes):
            vote = Vote(self.same).choose(view)
            return Appraisal(vote.node, vote.confidence, f"{vote.source}; log-probabilities are missing, so by counts")
        masses = self.masses(nodes, known, view)
        if not masses:
            return Appraisal(None, source="no trajectory gave an answer that can be compared")
        share = math.exp(masses[0][1] - log_sum(mass for _, mass in masses))
        source = f"share of the probability of {len(nodes)} trajectories, not calibrated"
        return Appraisal(masses[0][0], share, source)

    def masses(self, nodes: Sequence[Node], logs: Sequence[float], view: TreeView) -> list[tuple[NodeId, float]]:
        """Return the log of every answer's probability as far as it was sampled, with its oldest trajectory; the likeliest first.

        Args:
            nodes: the trajectories' ends.
            logs: log-probability of each trajectory.
            view: the tree.
        """
        kept = [place for place, keep in enumerate(self.keeps(logs)) if keep]
        groups = grouped([nodes[place].answer for place in kept], self.same)
        if not groups:  # everything that has an answer was improbable
            kept = list(range(len(nodes)))
            groups = grouped([node.answer for node in nodes], self.same)
        masses: list[tuple[NodeId, float]] = []
        for group in groups:
            distinct: dict[object, float] = {}
            for place in (kept[index] for index in group):
                distinct.setdefault(_said(nodes[place], view), logs[place])
            masses.append((nodes[kept[group[0]]].id, log_sum(distinct.values())))
        return sorted(masses, key=lambda pair: (-pair[1], pair[0]))

    def keeps(self, logs: Sequence[float]) -> list[bool]:
        """Return which trajectories stay: those that are probably of the better component, or no worse than the mean."""
        mixture = fit_mixture(logs) if self.prune and len(logs) >= FEW else None
        if mixture is None:
            return [True] * len(logs)
        mean = log_sum(logs) - math.log(len(logs))
        return [log >= mean or mixture.prefers_good(log) for log in logs]

    def _logprob(self, node: Node, view: TreeView) -> float | None:
        total = 0.0
        for here in view.path(node.id):
            if here.step is None:
                continue
            if here.step.logprob is None:
                return None
            total += here.step.logprob
        return total / max(1, length_tokens(node, view)) if self.lengths == "mean" else total


def log_sum(logs: Iterable[float]) -> float:
    """Return log(sum(exp(x))), which does not underflow."""
    values = list(logs)
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))


def _said(node: Node, view: TreeView) -> object:
    """What makes two trajectories one: the same words and the same calls all along."""
    steps = [here.step for here in view.path(node.id) if here.step is not None]
    return (*((step.text, repr([(c.name, dict(c.arguments)) for c in step.calls])) for step in steps), node.answer)
