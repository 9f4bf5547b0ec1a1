"""Reward balanced search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ..core.tree import TreeView
from ..core.types import NodeId
from .common import within
from .levels import Group, Levels, shares


@dataclass
class Rebase(Levels):
    """Spread each level's width over its nodes by what they are worth.

    Wu et al. (2024), Inference Scaling Laws, as their public code has it: the best node first, each gets
    ceil(width left * its share of the weights left), the weights being softmax(worth / temperature), so a level has `width`
    children exactly and poor nodes may get none. Every trajectory that ended takes one from the width.

    Args:
        width: children of a level, >= 1.
        temperature: how evenly the width is spread, >= 0; 0: all of it to the best node.
        depth: longest trajectory in steps, >= 1.
        groups: independent searches, >= 1; each costs what one costs.
        aggregate: what a prefix is worth by the values of its steps.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "rebase"
    width: int = 16
    temperature: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        within("width", self.width, 1)
        within("temperature", self.temperature, 0.0)

    def begin(self) -> int:
        """The whole width."""
        return self.width

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:  # noqa: ARG002 - the base's signature
        """Spread what is left of the width."""
        group.taken += len(group.ended)
        ranked = self.best(group.arrived, len(group.arrived))
        return dict(zip(ranked, self.spread([self.worth(node) for node in ranked], group.taken), strict=True))

    def spread(self, worths: list[float], taken: int = 0) -> list[int]:
        """Return how many children nodes of these worths get, the best one first; they add up to the width left."""
        left, weight_left = max(0, self.width - taken), 1.0
        counts: list[int] = []
        for weight in shares(worths, self.temperature) if worths else ():
            # Rounding must not make ceil take one too many where the share is a whole number.
            wanted = left * min(1.0, weight / weight_left) if weight_left > 0.0 else float(left)
            counts.append(min(left, math.ceil(wanted - 1e-9)))
            left -= counts[-1]
            weight_left -= weight
        if counts:
            counts[-1] += left
        return counts
