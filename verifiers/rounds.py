"""Whether a judge gets better by thinking longer: measured before it is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, stdev
from typing import NoReturn

from ..core.errors import UsageError
from ..core.protocols import Candidate, Environment, Model
from ..core.types import ROOT, Node, NodeId, Step, Task
from .judge import Judge


@dataclass(frozen=True, slots=True)
class Slope:
    """By how much the share of right verdicts changes with each further round."""

    mean: float
    error: float
    """Standard error of the mean."""

    def positive(self, certainty: float = 0.95) -> bool:
        """Whether it is above zero, with this certainty (one-sided)."""
        return self.mean > NormalDist().inv_cdf(certainty) * self.error


def rounds_slope(outcomes: Sequence[Sequence[bool]]) -> Slope:
    """Return the slope of a judge's accuracy over rounds.

    Args:
        outcomes: for every known candidate, whether the verdict was right after 0, 1, 2 ... further rounds. The same candidates
            in every round, so that their difficulty drops out.

    Raises:
        UsageError: fewer than 30 candidates, or less than two rounds, or not the same number for all.
    """
    lengths = {len(row) for row in outcomes}
    if len(outcomes) < 30 or len(lengths) != 1 or min(lengths) < 2:
        raise UsageError(
            f"{len(outcomes)} candidates with {sorted(lengths)} verdicts each tell nothing of a slope; give at least 30, better 400, "
            "with two or more verdicts each"
        )
    count = lengths.pop()
    centre = (count - 1) / 2
    width = sum((x - centre) ** 2 for x in range(count))
    slopes = [sum((x - centre) * right for x, right in enumerate(row)) / width for row in outcomes]
    return Slope(fmean(slopes), stdev(slopes) / len(slopes) ** 0.5)


def extra_rounds(outcomes: Sequence[Sequence[bool]], *, certainty: float = 0.95) -> int:
    """Return how many further rounds a judge should have: none unless accuracy rises with them beyond doubt.

    Chan et al. (2025), J1: judges that were not trained for it do not get better by thinking longer, so the sign of the slope is
    tested first (one-sided, on the same candidates in every round). Where it is positive, the number of rounds with the highest
    accuracy, the smaller where two are equal.

    Args:
        outcomes: as for `rounds_slope`; `known_outcomes` makes them.
        certainty: of the test, in (0.5, 1).

    Raises:
        UsageError: too few candidates or rounds.
    """
    if not rounds_slope(outcomes).positive(certainty):
        return 0
    accuracy = [fmean(row[number] for row in outcomes) for number in range(len(outcomes[0]))]
    return max(range(len(accuracy)), key=lambda number: (accuracy[number], -number))


async def known_outcomes(
    judge: Judge, known: Sequence[tuple[Task, str, bool]], model: Model, *, most: int = 3
) -> list[list[bool]]:
    """Return whether a judge is right about answers that are known, after 0 to `most` further rounds.

    Args:
        judge: the judge.
        known: tasks with an answer, and whether it is right.
        model: what the judge asks, unless it has a model for itself, which this is then.
        most: rounds to try, >= 1.
    """
    rows: list[list[bool]] = []
    for seed, (task, answer, right) in enumerate(known):
        candidate = known_candidate(task, answer, model, seed=seed)
        verdicts = [await replace(judge, rounds=number).judge(candidate) for number in range(most + 1)]
        rows.append([(verdict.value >= 0.5) == right for verdict in verdicts])
    return rows


def known_candidate(task: Task, answer: str, model: Model | None = None, *, seed: int = 0) -> Candidate:
    """Return an answer outside of a search as a candidate, to try or to calibrate verifiers of answers that run no code.

    Args:
        task: the task.
        answer: the whole answer, reasoning included where the verifier is to see it.
        model: what verifiers that ask models ask.
        seed: of what is drawn.
    """
    path = (Node(ROOT, None, None), Node(NodeId(1), ROOT, Step("answer", answer), depth=1, answer=answer))
    models = {} if model is None else {model.name: model}
    return Candidate(task, path, None, _nowhere, _no_diff, model, seed=seed, models=models)


def _nowhere(_ref: str | None) -> AbstractAsyncContextManager[Environment]:
    _no_sandbox()


def _no_diff(_old: str, _new: str) -> tuple[dict[str, bytes], list[str]]:
    _no_sandbox()


def _no_sandbox() -> NoReturn:
    raise UsageError("a candidate outside of a search has no sandbox; run the agent to try verifiers that run code")
