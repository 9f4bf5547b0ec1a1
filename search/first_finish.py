"""The first trajectories to finish win, and the others are stopped: for models whose short trajectories are the right ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.protocols import Appraisal
from ..core.tree import TreeView
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

    Hassid et al. (2025), Don't overthink it. Of equally frequent answers that of the shortest trajectory wins. Differs: a
    trajectory has finished when it gave its answer, not when it ended its thinking. `m=1` is `FirstFinish`. If fewer finish,
    those vote.

    Args:
        n: number of trajectories, >= m; the k of short-m@k.
        m: how many are to finish, >= 1.
        same: when answers are the same.
        evidence: how rightness went with length on known tasks (`Shortness.of`); refused where wrong is shorter.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "short-majority"
    m: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        within("m", self.m, 1, self.n)

    @property
    def wanted(self) -> int:
        """The `m` of short-m@k."""
        return self.m

    def choice(self, view: TreeView) -> Appraisal:
        """Return the answer with most votes among those that finished first."""
        if not self._finished:
            return self.cut_off(view)
        return Vote(self.same, tie="shortest").among([view[node] for node in self._finished], view)
