"""Thinking in parallel until the first thought is complete, then one answer by all of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Event, Expand, Expanded, Work
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, Node, NodeId, WorkId
from .common import within
from .racing import Racing

SUMMARISE = (
    "These are thoughts about the task that were had side by side; most were stopped before their end, and their order says "
    "nothing. Weigh them against each other, where they differ find out which is right, and give the one final answer."
)
"""Said to the model beneath the thoughts. Of long ones it sees the ends."""


@dataclass
class ParallelThinking(Racing):
    """Think `n` times side by side; when the first comes to its end stop all, and have one answer written that has seen all thoughts.

    Wen et al. (2025), ParaThinker: native parallel thinking. Since all stop with the first, none is longer than the others by more than a
    segment, and the answer comes after the time of one short thought and a summary. The paper trains a model that reads its
    paths' key-value caches again; here they are shown as text, which costs their reading, in an order drawn by chance, for a model
    prefers what it reads first. It is a strategy and not a graph of calls because a graph's parallel nodes all run to their end:
    exactly the tokens that are saved here.

    Args:
        n: thoughts, >= 1.
        same: what counts as an answer (`search.equivalence`).
        segment_tokens: thoughts are sampled in segments of so many tokens, >= 1, so that what was said until the first one's end can be
            shown (`Agent(form="text")`). None takes whole steps: for agents with tools.
        note: said to the model beneath the thoughts.
        depth: longest thought in steps or segments, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "parallel-thinking"
    segment_tokens: int | None = 256
    note: str = field(default=SUMMARISE, kw_only=True)
    depth: int = field(default=64, kw_only=True)
    _ends: dict[int, NodeId] = field(default_factory=dict[int, NodeId], init=False, repr=False)
    """How far each thought has come."""
    _summary: int | None = field(default=None, init=False, repr=False)
    """Number of the trajectory that sums up, once there is one."""
    _shown: tuple[NodeId, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segment_tokens is not None:
            within("segment_tokens", self.segment_tokens, 1)

    @property
    def in_segments(self) -> bool:
        """Whether turns are cut."""
        return self.segment_tokens is not None

    @property
    def speculative(self) -> bool:
        """Thoughts are stopped, and the answer is another trajectory's."""
        return True

    # --- what to do next ---

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Begin a thought, or the summary of all."""
        if number == self._summary:
            return Expand(work, ROOT, framing=Framing(self._shown, self.note))
        return Expand(work, ROOT, segment_tokens=self.segment_tokens)

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:
        """Go on with the next segment; the summary is written in one."""
        return Expand(work, node, segment_tokens=None if number == self._summary else self.segment_tokens)

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Stop everything once a thought is complete; then sum up."""
        if self._summary is None:
            return super().ask(view, slots)
        return super(Racing, self).ask(view, slots)

    # --- what happened ---

    def _tell(self, event: Event, view: TreeView) -> None:
        super()._tell(event, view)
        if isinstance(event, Expanded) and self._summary is None:
            number = self.number_of(event.node.id)
            assert number is not None
            self._ends[number] = event.node.id
        self._sum_up()

    def _sum_up(self) -> None:
        """Plan the summary once nothing is in flight any more that could still say something."""
        over = self._done or self.finished
        if self._summary is not None or not over or self._flying or not self._ends:
            return
        # What has not been thought to its end never will be, and need not be judged.
        self._tips.clear()
        self._due.clear()
        self._alive.clear()
        kept = {node: busy for node, busy in self._unjudged.items() if busy or node in self._finished}
        self._unjudged = kept
        shown = list(self._ends.values())
        random.Random(f"{self.seed} order").shuffle(shown)  # noqa: S311 - chance, not secrecy
        self._shown, self._summary = tuple(shown), self._planned
        self.plan(1)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Go on, unless this is a thought and all were stopped."""
        if self._summary is None or self.number_of(node) == self._summary:
            super().ready(node, view)

    def finishes(self, node: Node) -> bool:
        """Whether a thought is complete; that of the summary is the end of all."""
        return self._summary is None and super().finishes(node)

    def why_over(self, view: TreeView) -> str:  # noqa: ARG002 - the protocol's signature
        """Say how many thoughts were summed up."""
        return "" if self._summary is None else f"{len(self._shown)} thoughts were summed up"

    # --- choosing ---

    def choice(self, view: TreeView) -> Appraisal:
        """Return the summary's answer; where there is none, the first complete thought, else what most were about to say."""
        summed = [node for node in view if self.number_of(node.id) == self._summary and node.answer is not None]
        if self._summary is not None and summed:
            return Appraisal(summed[-1].id, source=f"a summary of {len(self._shown)} thoughts")
        if self._finished:
            return Appraisal(self._finished[0], source=f"the first of {self.n} to finish, for there is no summary")
        return self.cut_off(view)
