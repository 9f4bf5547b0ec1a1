"""Texts that are written in pieces, each of which begins with all that stands before it: what was written, and what others wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..core.events import Event, Expand, Expanded
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import Node, WorkId
from .racing import Racing
from .voting import Vote, answered


@dataclass
class Pieces(Racing):
    """Base of strategies that put text between what a model writes: its next piece goes on from a beginning that it is given.

    Every piece is an expansion of the root whose `lead` is the whole text before it, so that text can be left out, put in or
    rearranged. Servers have most of it in their prefix cache. Journals hold each piece with its beginning. Needs turns in plain text
    (`Agent(form="text")`); the turn's own limit of tokens holds for each piece.
    """

    depth: int = field(default=1, init=False, repr=False)
    repeats: int = field(default=2, init=False, repr=False)
    _pieces: list[Expand] = field(default_factory=list[Expand], init=False, repr=False)
    """Every piece that was wanted, by its number."""

    @property
    def in_segments(self) -> bool:
        """Turns are cut, and begun for the model."""
        return True

    @property
    def speculative(self) -> bool:
        """What was written is rearranged, and part of it thrown away."""
        return True

    @property
    def wanted(self) -> int:
        """All are to finish."""
        return self.n

    # --- for subclasses ---

    def write(self, pieces: Sequence[Expand]) -> list[int]:
        """Have pieces written; return their numbers."""
        self._pieces += pieces
        self.plan(len(pieces))
        return list(range(self._planned - len(pieces), self._planned))

    def piece(self, number: int) -> Expand:
        """Return the piece of a number as it was wanted."""
        return self._pieces[number]

    def to_verify(self, node: Node) -> bool:
        """Whether verifiers are to judge a piece: not where it is the middle of a turn."""
        return node.step is None or node.step.kind != "partial"

    # --- the base's ---

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Have a piece written."""
        return replace(self._pieces[number], id=work)

    def _tell(self, event: Event, view: TreeView) -> None:
        super()._tell(event, view)
        if isinstance(event, Expanded) and not self.to_verify(event.node):
            del self._unjudged[event.node.id]
            self._end(self._number[event.node.id], event.node.id, view)

    def choice(self, view: TreeView) -> Appraisal:
        """Return the answer that most of the texts came to; they knew of each other."""
        if not answered(view):
            return self.cut_off(view)
        chosen = Vote(self.same).among(answered(view), view)
        return replace(chosen, source=f"{chosen.source}; they knew of each other")
