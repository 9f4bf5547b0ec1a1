"""One solution, cut short where it is complete, verified, and written anew once if it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Cancelled, Denied, Event, Expand, Expanded, Failed, Judged, Score, Work, WorkStarted
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, NodeId, WorkId
from .common import MAX_FAILURES, within
from .selectors import best_by_verdict
from .trajectories import Trajectories

REFINE = "The attempt above was judged to be wrong. Find the first mistake by what was said of it, and give one new, complete solution."

CLOSE = "\n\nThat is complete. The final answer is"
"""What a turn is made to go on with once it is found to be complete."""


@dataclass
class SolveDetectVerify(Trajectories):
    """Solve once; verify; if the solution is wrong, show it with the critique and have one new solution written.

    Zhong et al. (2025), Solve-Detect-Verify, whose verifier is `verifiers.FastSlow`. With `segment_tokens` the solution is sampled
    in segments (the agent then needs `form="text"`), and after each one the detector is asked whether it is complete already:
    then the turn is closed instead of going on to doubt itself. The paper asks at words of hesitation; here at the end of
    each segment, which needs no list of words and keeps two questions as far apart as it asks for. Where a solution that
    was cut short is found wrong it goes on from the cut first, without further cuts, before anything is written anew.

    A solution is wrong where a verifier refuses it, or, if none decides, where its value is below one half. The better one of
    both by the verdicts is chosen.

    Args:
        refinements: new solutions at most, >= 0.
        segment_tokens: length of a segment; None samples whole turns and detects nothing.
        threshold: probability of being complete from which a turn is closed, in (0, 1].
        detector: name of the verifier that says it, such as `verifiers.Complete`.
        close: what the turn is closed with.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "solve-detect-verify"
    refinements: int = 1
    segment_tokens: int | None = None
    threshold: float = 0.8
    detector: str = "complete"
    close: str = CLOSE
    depth: int = field(default=64, kw_only=True)
    _framings: list[Framing | None] = field(default_factory=lambda: [None], init=False, repr=False)
    _probing: dict[NodeId, bool] = field(default_factory=dict[NodeId, bool], init=False, repr=False)
    """Ends of segments that the detector is to be asked about; True while it is."""
    _asked: dict[WorkId, NodeId] = field(default_factory=dict[WorkId, NodeId], init=False, repr=False)
    _closing: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Ends of segments at which the turn is closed."""
    _cut: dict[int, NodeId] = field(default_factory=dict[int, NodeId], init=False, repr=False)
    """Where each trajectory was cut short and may still go on."""
    _uncut: dict[int, None] = field(default_factory=dict[int, None], init=False, repr=False)
    """Trajectories that are not cut any more."""
    _failed: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """How often the detector failed at a node."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("refinements", self.refinements, 0)
        within("threshold", self.threshold, 0.001, 1.0)
        if self.segment_tokens is not None:
            within("segment_tokens", self.segment_tokens, 1)

    @property
    def speculative(self) -> bool:
        """What is wrong is thrown away."""
        return True

    @property
    def in_segments(self) -> bool:
        """Whether turns are cut."""
        return self.segment_tokens is not None

    # --- what to do next ---

    def trajectories(self) -> int:
        """The first solution."""
        return 1

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Show the wrong solution that is to be bettered."""
        return Expand(work, ROOT, framing=self._framings[number], segment_tokens=self.segment_tokens)

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:  # noqa: ARG002 - the base's signature
        """Go on with the next segment, or close the turn."""
        if node in self._closing:
            return Expand(work, node, lead=self.close)
        return Expand(work, node, segment_tokens=self.segment_tokens)

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return the questions to the detector that are due beside everything else."""
        works = list(super().ask(view, slots))
        first = view.next_work + len(works)
        due = [node for node, asked in self._probing.items() if not asked]
        return works + [Score(WorkId(first + i), node, (self.detector,)) for i, node in enumerate(due)]

    # --- what happened ---

    def _tell(self, event: Event, view: TreeView) -> None:
        match event:
            case WorkStarted(Score(work, node, (name,))) if name == self.detector and node in self._probing:
                self._asked[work], self._probing[node] = node, True
                return
            case Judged(work) | Failed(work) | Cancelled(work) | Denied(work) if work in self._asked:
                self._detected(self._asked.pop(work), event, view)
                return
            case Expanded(_, node) if node.step is not None and node.step.kind == "partial" and node.parent is not None:
                # The middle of a turn is nothing to verify.
                parent = self._number.get(node.parent) if node.parent != ROOT else self._number[node.id]
                assert parent is not None
                self._number[node.id] = parent
                self._probe(node.id, parent, view)
                return
            case _:
                pass
        super()._tell(event, view)

    def _probe(self, node: NodeId, number: int, view: TreeView) -> None:
        if number in self._uncut:
            self._go_on(node, view)
        else:
            self._probing[node] = False

    def _detected(self, node: NodeId, event: Judged | Failed | Cancelled | Denied, view: TreeView) -> None:
        if not isinstance(event, Judged):
            self._failed[node] = self._failed.get(node, 0) + isinstance(event, Failed)
            if self._failed[node] < MAX_FAILURES:
                self._probing[node] = False
                return
        del self._probing[node]
        said = [v.value for v in event.verdicts if v.verifier == self.detector] if isinstance(event, Judged) else []
        if said and said[-1] >= self.threshold:
            self._closing[node] = None
            self._cut[self._number[node]] = node
        self._go_on(node, view)

    def _go_on(self, node: NodeId, view: TreeView) -> None:
        """Let a turn go on, or end its trajectory where it is too long."""
        if view[node].depth < self.depth:
            self._tips[node] = None
        else:
            self._end(self._number[node], node, view)

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:
        """Where the solution is wrong: go on from where it was cut short, else have a new one written."""
        if node is None or view.passed(node) or not self._wrong(node, view):
            return
        cut = self._cut.pop(number, None)
        if cut is not None and number not in self._uncut:
            self._uncut[number] = None
            self._alive[number] = None
            del self._closing[cut]
            self._tips[cut] = None
        elif len(self._framings) <= self.refinements:
            self._framings.append(Framing((node,), REFINE))
            self.plan(1)

    def _wrong(self, node: NodeId, view: TreeView) -> bool:
        decisions = [verdict.passed for verdict in view.verdicts(node) if verdict.passed is not None]
        value = view.value(node)
        return not all(decisions) if decisions else value is not None and value < 0.5

    # --- choosing ---

    def select(self, view: TreeView) -> NodeId | None:
        """Return the best solution by the verdicts; what the detector said is no verdict on it."""
        best = best_by_verdict(view)
        if best is None or view[best].answer is not None:
            return best
        answered = [node for node in view if node.answer is not None and view.status(node.id) != "pruned"]
        return max(answered, key=lambda node: (view.value(node.id) or 0.0, -node.id)).id if answered else best
