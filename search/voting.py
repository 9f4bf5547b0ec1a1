"""Choosing the answer that trajectories agree on: self-consistency, with or without weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import Node, NodeId
from .common import one_of
from .equivalence import Same, grouped, lasting

Weight = Literal["count", "value", "scaled"]

Tie = Literal["value", "shortest", "first"]


def answered(view: TreeView) -> list[Node]:
    """Return the nodes that gave an answer, oldest first; those that were pruned are left out."""
    found = [node for node in view if node.answer is not None and view.status(node.id) != "pruned"]
    return sorted(found, key=lambda node: node.id)


def length_tokens(node: Node, view: TreeView) -> int:
    """Return how many tokens were sampled for a trajectory."""
    return sum(step.usage.completion_tokens for step in view.path(node.id))


@dataclass(frozen=True, slots=True)
class Share:
    """What a vote gave to one answer."""

    nodes: tuple[NodeId, ...]
    """Who gave it, oldest first."""
    weight: float
    share: float
    """Of all weight, in [0, 1]."""


@dataclass(frozen=True)
class Vote:
    """Choose the answer that most trajectories gave: self-consistency (Wang et al. 2023).

    With `weight="value"` every trajectory votes with its verdicts' value (weighted self-consistency: Li et al. 2023), with
    "scaled" with values that are spread to [0, 1] first, as in the reference implementation of Liu et al. (2025), Bag of tricks
    for inference-time computation. What nobody judged votes with nothing then, unless nobody judged any of them.

    Args:
        same: when answers are the same (`search.equivalence`).
        weight: what a vote counts.
        tie: which answer wins where votes are equal, and who speaks for the winner: the one of the highest value, the shortest or
            the oldest trajectory.
    """

    name: ClassVar[str] = "vote"
    same: Same = "text"
    weight: Weight = "count"
    tie: Tie = "value"

    def __post_init__(self) -> None:
        same_option(self.same)
        one_of("weight", self.weight, ("count", "value", "scaled"))
        one_of("tie", self.tie, ("value", "shortest", "first"))
        object.__setattr__(self, "same", lasting(self.same))

    def choose(self, view: TreeView) -> Appraisal:
        """Return the winner's spokesman with the winner's share of the vote."""
        return self.among(answered(view), view)

    def among(self, nodes: Sequence[Node], view: TreeView) -> Appraisal:
        """Return the choice among these nodes only."""
        shares = self.shares(nodes, view)
        if not shares:
            return Appraisal(None, source="no trajectory gave an answer that can be compared")
        voters = sum(len(share.nodes) for share in shares)
        by = "" if self.weight == "count" else ", weighted by their verdicts"
        return Appraisal(shares[0].nodes[0], shares[0].share, f"share of {voters} answers{by}, not calibrated")

    def shares(self, nodes: Sequence[Node], view: TreeView) -> list[Share]:
        """Return what every answer got, the winner first; in each, the node that speaks for it comes first."""
        groups = grouped([node.answer for node in nodes], self.same)
        voters = [place for group in groups for place in group]
        weights = dict(zip(voters, self._weights([nodes[place] for place in voters], view), strict=True))
        total = math.fsum(weights.values())
        ranked: list[tuple[tuple[float, ...], Share]] = []
        for group in groups:
            speakers = sorted(group, key=lambda place: (self._rank(nodes[place], view), nodes[place].id))
            weight = math.fsum(weights[place] for place in group)
            best = nodes[speakers[0]]
            share = Share(tuple(nodes[place].id for place in speakers), weight, weight / total if total else 0.0)
            ranked.append(((-weight, self._rank(best, view), -len(group), best.id), share))
        return [share for _, share in sorted(ranked, key=lambda pair: pair[0])]

    def _weights(self, nodes: Sequence[Node], view: TreeView) -> list[float]:
        values = [view.value(node.id) for node in nodes]
        known = [value for value in values if value is not None]
        if self.weight == "count" or not known:
            return [1.0] * len(nodes)
        least, most = min(known), max(known)
        if self.weight == "value":
            return [0.0 if value is None else value for value in values] if most > 0 else [1.0] * len(nodes)
        if least == most:
            return [1.0] * len(nodes)
        return [0.0 if value is None else (value - least) / (most - least) for value in values]

    def _rank(self, node: Node, view: TreeView) -> float:
        """Smaller speaks first."""
        match self.tie:
            case "value":
                value = view.value(node.id)
                return 1.0 if value is None else -value
            case "shortest":
                return float(length_tokens(node, view))
            case "first":
                return 0.0


def same_option(same: Same) -> None:
    """Check an option that says when answers are the same.

    Raises:
        UsageError: it is neither a known name nor a function.
    """
    if isinstance(same, str):
        one_of("same", same, ("exact", "text", "number"))
