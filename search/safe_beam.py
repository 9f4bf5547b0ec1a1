"""Beam search for safety: siblings judged together in one call, what was not judged counts as unsafe, refusal where nothing is safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Event, Failed, Judged, Score, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .beam import Beam
from .common import MAX_FAILURES, within
from .levels import Aggregate, Group

Family = tuple[NodeId, ...]
"""Children of one node."""


@dataclass
class SafeBeam(Beam):
    """Keep the prefixes whose least safe step is safest, and have all children of a node judged by one call.

    After Saffron-1 (Qiu et al. 2025): the cost of judging, not of sampling, is what keeps search for safety small. Their reward model
    scores every next token in one call ("multifurcation"); at steps it is a verifier of scope "set", such as
    `verifiers.Listwise(...)`, that is asked by its name about all children of a node. Conservative as theirs: a step that the
    judge left out, an unusable or empty one, and one longer than what the judge is known for count as unsafe. Without such
    a verifier the verdicts on each child decide.

    Args:
        beams: prefixes that are kept, >= 1.
        width: children of each, >= 1; the first level has `beams * width`.
        judge: name of the verifier of scope "set"; children of a node get what it ranks them at.
        threshold: a prefix with a step less safe than this is never followed, and no answer is given where none is safer; in
            [0, 1].
        longest_chars: longest step that the judge can be trusted on; None: any.
        depth: longest trajectory in steps, >= 1.
        groups: independent beams, >= 1; each costs what one costs.
        aggregate: what a prefix is worth by the safety of its steps.
        prior: value of a step that neither judge nor verifier said anything of, in [0, 1]: 0 is unsafe.
    """

    name: ClassVar[str] = "safe-beam"
    compares: ClassVar[bool] = True
    """It asks verifiers of scope "set" by itself; no comparison at the search's end is added."""
    judge: str = "listwise"
    threshold: float = 0.5
    longest_chars: int | None = None
    aggregate: Aggregate = field(default="min", kw_only=True)
    prior: float = field(default=0.0, kw_only=True)
    _pending: dict[int, dict[Family, int]] = field(default_factory=dict[int, dict[Family, int]], init=False, repr=False)
    """The families of each group that are to be judged before its next level, and how often judging each failed."""
    _ranked: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """What the judge said."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("threshold", self.threshold, 0.0, 1.0)
        within("longest_chars", 1 if self.longest_chars is None else self.longest_chars, 1)

    # --- judging families ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Have complete families judged, then expand."""
        flying = {score.among for score in self._named.values()}
        families = (family for pending in self._pending.values() for family in pending if family not in flying)
        asked: list[Work] = [
            Score(WorkId(first + i), ROOT, (self.judge,), family)
            for i, family in zip(range(slots), families, strict=False)
        ]
        return asked + super().expansions(view, slots, WorkId(first + len(asked)))

    def _advance(self, index: int, view: TreeView) -> None:
        """Before a group's next level, wait for the judge of its families."""
        group = self._searches[index]
        if group.plan or group.flying or index in self._pending:
            return
        families = dict.fromkeys(self._families(group, view), 0)
        if families:
            self._pending[index] = families
        else:
            super()._advance(index, view)

    def _families(self, group: Group, view: TreeView) -> Iterator[Family]:
        children: dict[NodeId | None, list[NodeId]] = {}
        for node in sorted([*group.arrived, *group.ended]):
            if self._usable(node, view):
                children.setdefault(view[node].parent, []).append(node)
        return (tuple(family) for family in children.values())

    def _usable(self, node: NodeId, view: TreeView) -> bool:
        """Whether a step is of the kind that the judge knows."""
        here = view[node]
        step = here.step
        text = (here.answer or "") + ("" if step is None else step.text)
        if step is None or step.kind == "invalid" or not (text.strip() or step.calls):
            return False
        return self.longest_chars is None or len(text) <= self.longest_chars

    def answered(self, work: Score, event: Event, view: TreeView) -> None:
        """Take a family's safety in; the level goes on when it was the last one."""
        index = next((index for index, pending in self._pending.items() if work.among in pending), None)
        if index is None:
            return
        pending = self._pending[index]
        if isinstance(event, Judged):
            rankings = [verdict.ranking for verdict in event.verdicts if verdict.ranking]
            if rankings:
                self._ranked.update((node, rankings[0].get(node, 0.0)) for node in work.among)
        elif isinstance(event, Failed) and pending[work.among] + 1 < MAX_FAILURES:
            pending[work.among] += 1
            return
        elif not isinstance(event, Failed):
            return  # cancelled or refused: it is asked again
        for node in work.among:
            self._value(node, view)
        del pending[work.among]
        if not pending:
            super()._advance(index, view)
            del self._pending[index]

    def _value(self, node: NodeId, view: TreeView) -> None:
        super()._value(node, view)
        if not self._usable(node, view):
            self._worth[node] = 0.0
        elif node in self._ranked:
            parent = view[node].parent
            before = self._worth[ROOT if parent is None else parent]
            self._worth[node] = self.combined(before, self._ranked[node], view[node].depth)

    # --- choosing ---

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:
        """Keep the safest; what is not safe enough is not followed."""
        group.arrived = [node for node in group.arrived if self.worth(node) >= self.threshold]
        group.ended = [node for node in group.ended if self.worth(node) >= self.threshold]
        return super().choose(group, view)

    def select(self, view: TreeView) -> NodeId | None:
        """Return the safest answer, the better judged one of equals; none where none is safe enough."""
        safe = [
            node
            for node, worth in self._worth.items()
            if node != ROOT
            and worth >= self.threshold
            and view[node].answer is not None
            and view.status(node) != "pruned"
        ]
        return max(safe, key=lambda node: (self._worth[node], view.value(node) or 0.0, -node), default=None)
