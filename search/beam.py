"""Beam search over steps, and its relatives: step-wise best-of-n, DVTS, tree of thoughts breadth first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.tree import TreeView
from ..core.types import NodeId
from .common import within
from .levels import Group, Levels


@dataclass
class Beam(Levels):
    """Keep the `beams` best prefixes of each level and expand each of them `width` times.

    Snell et al. (2024), section 5.1, with steps and values as in AlphaMath (Chen et al. 2024): an answer leaves the beam and
    is kept, the beam has one place less from then on, and the search is over when it has none. With `groups` it is diverse
    verifier tree search (Beeching et al. 2024) and never waits for a level as a whole.

    Args:
        beams: prefixes that are kept, >= 1.
        width: children of each, >= 1; the first level has `beams * width`.
        depth: longest trajectory in steps, >= 1.
        groups: independent beams, >= 1; each costs what one costs.
        aggregate: what a prefix is worth by the values of its steps.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "beam"
    beams: int = 4
    width: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        within("beams", self.beams, 1)
        within("width", self.width, 1)

    def begin(self) -> int:
        """As many as a full level has."""
        return self.beams * self.width

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:  # noqa: ARG002 - the base's signature
        """Keep the best; an answer among them keeps its place for good."""
        kept = self.best([*group.arrived, *group.ended], self.beams - group.taken)
        going = dict.fromkeys(kept, self.width)
        for node in group.ended:
            group.taken += going.pop(node, 0) > 0
        return going


@dataclass
class StepBestOfN(Levels):
    """Take `width` candidates for each step and go on with the best, until that is an answer.

    A beam of one.

    Args:
        width: candidates for a step, >= 1.
        depth: longest trajectory in steps, >= 1.
        groups: independent searches, >= 1; each costs what one costs.
        aggregate: what a prefix is worth by the values of its steps.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "step-best-of-n"
    width: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        within("width", self.width, 1)

    def begin(self) -> int:
        """The candidates for the first step."""
        return self.width

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:  # noqa: ARG002 - the base's signature
        """Keep the best where it is no answer."""
        best = self.best([*group.arrived, *group.ended], 1)
        return dict.fromkeys((node for node in best if node not in group.ended), self.width)


@dataclass
class DVTS(StepBestOfN):
    """Diverse verifier tree search: independent subtrees, each of which goes on with its best step.

    Beeching, Tunstall and Rush (2024), Scaling test-time compute. The subtrees never wait for each other.

    Args:
        width: candidates for a step, >= 1.
        groups: subtrees, >= 1.
        depth: longest trajectory in steps, >= 1.
        aggregate: what a prefix is worth by the values of its steps.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "dvts"
    groups: int = field(default=4, kw_only=True)


@dataclass
class TotBFS(Beam):
    """Tree of thoughts, breadth first: propose `width` thoughts from each of `beams` states, keep the `beams` best.

    Yao et al. (2023), algorithm 1, with its breadth of 5: a beam search under the name that it is known by.

    Args:
        beams: states that are kept, >= 1.
        width: thoughts from each, >= 1.
        depth: longest trajectory in steps, >= 1.
        groups: independent searches, >= 1; each costs what one costs.
        aggregate: what a prefix is worth by the values of its steps.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    name: ClassVar[str] = "tot-bfs"
    beams: int = 5
    width: int = 5
