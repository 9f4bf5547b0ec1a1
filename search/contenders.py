"""The nodes of a search that may be right, the likeliest first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..core.types import NodeId
from .belief import Belief
from .frontier import Frontier

HOPE = 0.02
"""A node that is right with a smaller probability is none of them."""


def probability_right(mean: float, spread: float, right: float) -> float:
    """Return the probability that a true value is at least `right`, by a normal belief about it.

    Values end at 0 and 1, the normal distribution does not: what lies beyond is left out.

    Args:
        mean: what the value is believed to be.
        spread: standard deviation of the belief, > 0.
        right: least value of a right answer, in (0, 1).
    """
    scale = spread * math.sqrt(2)
    if mean > 0.5:  # the smaller tails, which keep their digits however far out they are
        least, bound, most = (math.erfc((mean - value) / scale) for value in (0.0, right, 1.0))
        return (most - bound) / (most - least) if most > least else 1.0
    least, bound, most = (math.erfc((value - mean) / scale) for value in (0.0, right, 1.0))
    return (bound - most) / (least - most) if least > most else 0.0


@dataclass
class Contenders:
    """Ranks nodes by the probability that they are right; only those whose belief moved are ranked anew.

    Args:
        right: least true value of a right answer, in (0, 1).
    """

    right: float
    _ranked: Frontier[NodeId] = field(default_factory=Frontier[NodeId], init=False, repr=False)

    def update(self, nodes: Iterable[NodeId], belief: Belief) -> None:
        """Rank nodes by what is believed of them now."""
        for node in nodes:
            probability = probability_right(*belief.posterior(node), self.right) if belief.judged(node) else 0.0
            if probability >= HOPE:
                self._ranked.put(node, (-probability,))
            else:
                self._ranked.remove(node)

    def __iter__(self) -> Iterator[NodeId]:
        return self._ranked.peek(lambda _node, _times: None)
