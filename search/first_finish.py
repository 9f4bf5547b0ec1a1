"""The first trajectories to finish win, and the others are stopped: for models whose short trajectories are the right ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.events import Expand, Work
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.turns import closes
from ..core.types import ROOT, Node, WorkId
from .common import within
from .lengths import Shortness
from .racing import Racing
from .voting import Vote


@dataclass
class FirstFinish(Racing):
    """Run `n` trajectories side by side, take the first that finishes with an answer, and stop the others at once.

    Agarwal et al. (2025), First finish search. A trajectory that gives no answer that could be compared, or is cut off, has
    not finished. Harmful where wrong trajectories are shorter: give `evidence` from known tasks, which refuses that and
    then also says how often the first one was right. If none finishes, the one is chosen whose text was cut off at what
    most others were about to say, and the result says so.

    Args:
        n: number of trajectories, >= 1; all of them run at once where there are as many slots.
        same: what counts as an answer (`search.equivalence`).
        evidence: how rightness went with length on known tasks (`Shortness.of`).
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.

    Raises:
        UsageError: an option is out of range, or the evidence speaks against it.
    """

    name: ClassVar[str] = "first-finish"
    evidence: Shortness | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.evidence is not None:
            self.evidence.require(self.name)

    def choice(self, view: TreeView) -> Appraisal:
        """Return the first to finish."""
        if not self._finished:
            return self.cut_off(view)
        if self.evidence is None:
            return Appraisal(self._finished[0], source=f"the first of {self.n} to finish")
        right = self.evidence.first_of(self.n)
        return Appraisal(
            self._finished[0],
            right,
            f"how often the first of {self.n} was right on {len(self.evidence.orders)} known tasks",
        )


@dataclass
class ShortMajority(FirstFinish):
    """Run `n` trajectories side by side, stop once `m` have finished, and take the answer that most of these gave: short-m@k.

    Hassid et al. (2025), Don't overthink it. Of equally frequent answers that of the shortest trajectory wins. In the paper a
    trajectory has finished when its thinking has ended, and only the first `m` of those go on to their answers: say by which tag the
    model's thoughts are enclosed, `thinking="think"`, for an agent with plain turns (`Agent(form="text")`), whose model is made to
    begin with that tag. Without it a trajectory has finished when it gave its answer. `m=1` is `FirstFinish` then. If fewer
    finish, those vote.

    Args:
        n: number of trajectories, >= m; the k of short-m@k.
        m: how many are to finish, >= 1.
        same: when answers are the same.
        evidence: how rightness went with length on known tasks (`Shortness.of`); refused where wrong is shorter.
        thinking: name of the tag around the model's thoughts; empty: finished is what has its answer.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "short-majority"
    m: int = 3
    thinking: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("m", self.m, 1, self.n)

    @property
    def wanted(self) -> int:
        """The `m` of short-m@k."""
        return self.m

    @property
    def in_segments(self) -> bool:
        """Whether turns are cut where thinking ends."""
        return bool(self.thinking)

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Sample to the end of thinking, or of the trajectory."""
        if not self.thinking:
            return super().beginning(work, number)
        return Expand(work, ROOT, lead=f"<{self.thinking}>\n", closing=self.thinking)

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Once enough have ended their thinking only those go on."""
        if not (self.thinking and self._done):
            return super().expansions(view, slots, first)
        tips = [node for node in self._tips if node in self._finished][:slots]
        return [self.continuation(WorkId(first + i), node, self._number[node]) for i, node in enumerate(tips)]

    def finishes(self, node: Node) -> bool:
        """Whether thinking has ended with this node; where it has no end of its own, whether there is an answer."""
        if not self.thinking:
            return super().finishes(node)
        if node.parent in self._finished:
            return False  # it counts already
        ended = node.step is not None and node.step.kind == "partial" and node.step.text.endswith(closes(self.thinking))
        return ended or super().finishes(node)

    def choice(self, view: TreeView) -> Appraisal:
        """Return the answer with most votes among those that finished first."""
        ends = [child for node in self._finished for child in (view.children(node) or (node,))]
        answers = [view[node] for node in ends if view[node].answer is not None]
        if not answers:
            return self.cut_off(view)
        return Vote(self.same, tie="shortest").among(answers, view)
