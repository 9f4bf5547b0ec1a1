"""How often to sample again until a verifier that errs accepts, what that can reach, and when no answer is better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.errors import UsageError
from ..core.events import Event, Expand, Expanded, Failed, Judged
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import NodeId
from .common import MAX_FAILURES, within
from .controller import Controller

NEGLIGIBLE = 1e-4
"""An attempt that adds less than this to the expected value is not made: nothing is resampled without limit."""

UNKNOWN = tuple((1.0, (2 * step + 1) / 20) for step in range(10))
"""Ten kinds of problems, equally frequent, that a trajectory solves with a chance of .05 to .95."""


def resampling_ceiling(success: float, tpr: float, fpr: float) -> float:
    """Return the share of right answers among those that resampling until acceptance gives, however long it goes on.

    p tpr / (p tpr + (1 - p) fpr): Stroebl et al. (2024), Inference scaling fLaws. No number of samples exceeds it.

    Args:
        success: chance p that one trajectory is right.
        tpr: chance that the verifier accepts a right answer.
        fpr: chance that it accepts a wrong one.
    """
    accepted = success * tpr + (1 - success) * fpr
    return success * tpr / accepted if accepted else 0.0


@dataclass(frozen=True, slots=True)
class ResamplingLimit:
    """What attempts are worth when a wrong answer that is accepted does harm (Stroebl et al. 2024, section 4).

    Attempt k is made where the k-1 before it were rejected, which hard problems are likelier to reach: it is worth what right
    answers gain and wrong ones cost, weighted by the probability of getting there.

    Args:
        tpr: chance that the verifier accepts a right answer, in (0, 1].
        fpr: chance that it accepts a wrong one, in [0, 1].
        wrong: what an accepted wrong answer is worth, where a right one is worth 1 and none 0; usually negative.
        kinds: weight and chance of success of each kind of problem.

    Raises:
        UsageError: a rate is out of range, or there are no kinds.
    """

    tpr: float
    fpr: float
    wrong: float = -1.0
    kinds: tuple[tuple[float, float], ...] = UNKNOWN

    def __post_init__(self) -> None:
        within("tpr", self.tpr, 1e-9, 1.0)
        within("fpr", self.fpr, 0.0, 1.0)
        if self.fpr >= self.tpr:
            raise UsageError(
                f"fpr={self.fpr!r} is not below tpr={self.tpr!r}: a verifier that accepts wrong answers as readily as right ones "
                "cannot choose; use another one"
            )
        if not self.kinds or any(weight < 0 or not 0 <= chance <= 1 for weight, chance in self.kinds):
            raise UsageError(f"kinds={self.kinds!r} must be pairs of a weight >= 0 and a chance of success in [0, 1]")

    def _reached(self, attempt: int) -> list[tuple[float, float]]:
        """Return the kinds with the weights that they have at an attempt."""
        total = sum(weight for weight, _ in self.kinds)
        return [(weight / total * (1 - self._accepted(p)) ** (attempt - 1), p) for weight, p in self.kinds]

    def _accepted(self, success: float) -> float:
        return success * self.tpr + (1 - success) * self.fpr

    def worth(self, attempt: int) -> float:
        """Return what the k-th attempt adds to the expected value, from 1."""
        return sum(w * (p * self.tpr + (1 - p) * self.fpr * self.wrong) for w, p in self._reached(attempt))

    def precision(self, attempt: int) -> float:
        """Return the probability that an answer is right that the k-th attempt gave and the verifier accepted."""
        reached = self._reached(attempt)
        accepted = sum(weight * self._accepted(p) for weight, p in reached)
        return sum(weight * p * self.tpr for weight, p in reached) / accepted if accepted else 0.0

    @property
    def attempts(self) -> int:
        """How many attempts are worth making: 0 means that it is better not to answer at all.

        Later attempts are reached by ever harder problems, so the first that is worth nothing is where to stop.
        """
        attempt = 0
        while self.worth(attempt + 1) > NEGLIGIBLE:
            attempt += 1
        return attempt

    @property
    def value(self) -> float:
        """Expected value of resampling as often as is worth it."""
        return sum(self.worth(attempt) for attempt in range(1, self.attempts + 1))


def verifier_rates(outcomes: Iterable[tuple[bool, bool]]) -> tuple[float, float]:
    """Return a verifier's tpr and fpr from what it accepted and what was right, each drawn towards 1/2 as if by two more answers.

    Args:
        outcomes: pairs of whether it accepted an answer, and whether that was right.
    """
    counts = {True: [1, 2], False: [1, 2]}
    for accepted, right in outcomes:
        counts[right][0] += accepted
        counts[right][1] += 1
    return counts[True][0] / counts[True][1], counts[False][0] / counts[False][1]


@dataclass
class Resampling(Controller):
    """Run a strategy until the verifiers accept, but no further than is worth it; abstain where none is accepted.

    Sampling until something passes finds the verifier's mistakes in the end. This stops at `ResamplingLimit.attempts` answers,
    reports for an accepted answer how probably it is right, and gives none where that does more harm than good. The rates
    are the user's to say: measure them by `verifier_rates` on tasks with known answers.

    Args:
        inner: the strategy.
        tpr: chance that the verifiers together accept a right answer.
        fpr: chance that they accept a wrong one.
        wrong: what an accepted wrong answer is worth, where a right one is worth 1 and none 0.
        kinds: weight and chance of success of each kind of problem; unless known, all chances alike.
    """

    name: ClassVar[str] = "resampling"
    tpr: float = 0.9
    fpr: float = 0.1
    wrong: float = -1.0
    kinds: tuple[tuple[float, float], ...] = UNKNOWN
    _attempts: int = field(default=0, init=False, repr=False)
    _judged: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """Which attempt each answer was that was judged, from 1."""
    _waiting: dict[NodeId, None] = field(default_factory=dict[NodeId, None], init=False, repr=False)
    """Answers that wait for their verdicts."""

    def __post_init__(self) -> None:
        self._attempts = self.limit.attempts

    @property
    def limit(self) -> ResamplingLimit:
        """What the attempts are worth."""
        return ResamplingLimit(self.tpr, self.fpr, self.wrong, self.kinds)

    def closed(self, view: TreeView) -> bool:  # noqa: ARG002 - the base's signature
        """Whether as many answers were judged as is worth it."""
        return len(self._judged) >= self._attempts

    def room(self, view: TreeView, slots: int) -> int:
        """No more is under way than may still be worth an attempt."""
        flying = sum(isinstance(work, Expand) for work in view.in_flight.values())
        return min(slots, max(0, self._attempts - len(self._judged) - len(self._waiting) - flying))

    def heard(self, event: Event, view: TreeView) -> None:
        """Number the answers in the order in which they are judged."""
        match event:
            case Expanded(_, node) if node.answer is not None:
                self._waiting[node.id] = None
            case Judged(_, node) if view[node].answer is not None:
                self._waiting.pop(node, None)
                self._judged.setdefault(node, len(self._judged) + 1)
            case Failed(_, node) if view.failures(node) >= MAX_FAILURES:
                self._waiting.pop(node, None)
            case _:
                pass

    def accepts(self, node: NodeId, view: TreeView) -> bool:
        """Whether the verifiers accept it, and it is one of the attempts that are worth it."""
        return self._judged.get(node, self._attempts + 1) <= self._attempts and super().accepts(node, view)

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the accepted answer and how probably it is right; none where none was accepted."""
        if accepted is not None and accepted in self._judged:
            attempt = self._judged[accepted]
            return Appraisal(
                accepted,
                self.limit.precision(attempt),
                f"accepted at attempt {attempt} by verifiers that accept {self.tpr:g} of right and {self.fpr:g} of wrong answers",
            )
        return Appraisal(None, source=self.why_over(view) or "no answer was accepted")

    def why_over(self, view: TreeView) -> str:
        """Return why no further attempt is made, where that is why."""
        if not self._attempts:
            return (
                f"no attempt is worth it: of the answers that verifiers with tpr={self.tpr:g} and fpr={self.fpr:g} accept, too many "
                f"are wrong where a wrong one is worth {self.wrong:g}"
            )
        if not self.closed(view):
            return super().why_over(view)
        return (
            f"none of {len(self._judged)} answers was accepted, and what is accepted later is wrong too often to be worth it "
            f"(at most {self._attempts} attempts with tpr={self.tpr:g}, fpr={self.fpr:g}, wrong={self.wrong:g})"
        )
