"""Verifiers around one other: what its values mean, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, prod
from typing import Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate, Verifier
from ..core.types import Semantics, Verdict
from ..search.calibration import Calibration
from .combining import joint_scope, need_parts

By = Literal["identity", "min", "mean", "product"]

_OVER_PATH: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "mean": lambda values: sum(values) / len(values),
    "product": prod,
}


@dataclass(frozen=True)
class Around:
    """What verifiers around one other have in common."""

    verifier: Verifier

    @property
    def parts(self) -> Sequence[Verifier]:
        """The verifier."""
        return (self.verifier,)

    @property
    def scope(self) -> Literal["state", "answer"]:
        """As the verifier's."""
        return joint_scope(self.parts)


@dataclass(frozen=True)
class Adapted(Around):
    """Read a verifier's values as if they meant something else, by an adapter that is named.

    Args:
        verifier: the verifier.
        semantics: what the values are to mean.
        by: `identity` takes them as they are; `min`, `mean` and `product` join them with the same verifier's values of the
            steps before, which makes a value of the trajectory out of values of steps (Lightman et al. 2023).
        name: shown beside its verdicts; unless given, the verifier's.
    """

    semantics: Semantics
    by: By
    name: str = ""

    def __post_init__(self) -> None:
        need_parts("Adapted", self.parts)
        if self.by != "identity" and self.by not in _OVER_PATH:
            raise UsageError(f"Adapted(by={self.by!r}) must be one of identity, {', '.join(_OVER_PATH)}")
        if self.by != "identity" and self.verifier.scope != "state":
            raise UsageError(
                f"Adapted(by={self.by!r}) joins the values of steps, and {self.verifier.name!r} judges answers only"
            )
        object.__setattr__(self, "name", self.name or self.verifier.name)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Judge, and join the value with those of the steps before, where it is one of a step."""
        verdict = await candidate.ask(self.verifier)
        value = verdict.value
        if self.by != "identity" and candidate.view is not None:
            # Kept for the steps to come: what is in the tree is joined already.
            own = [*self._steps(candidate), value]
            value = min(1.0, max(0.0, _OVER_PATH[self.by](own)))
            verdict = replace(verdict, per_constraint={**(verdict.per_constraint or {}), "step": own[-1]})
        return replace(verdict, value=value, semantics=self.semantics, verifier=self.name)

    def _steps(self, candidate: Candidate) -> list[float]:
        assert candidate.view is not None
        values: list[float] = []
        for node in candidate.path[1:-1]:
            mine = [v for v in candidate.view.verdicts(node.id) if v.verifier == self.name and v.per_constraint]
            values += [mine[-1].per_constraint["step"]] if mine and mine[-1].per_constraint else []
        return values


@dataclass(frozen=True)
class Calibrated(Around):
    """Turn a verifier's scores into probabilities, by how such scores turned out on candidates that are known.

    `Calibrated(judge, Calibration.fit([(score, was_right), ...]))` is isotonic regression; `accept=` from
    `false_accept_threshold` bounds how often something wrong is accepted (split conformal).

    Args:
        verifier: the verifier.
        calibration: from scores to probabilities; None leaves the values.
        accept: value, after calibration, from which it accepts; None decides nothing.
        semantics: what the values mean then.
        name: shown beside its verdicts; unless given, the verifier's.
    """

    calibration: Calibration | None = None
    accept: float | None = None
    semantics: Semantics = "outcome"
    name: str = ""

    def __post_init__(self) -> None:
        need_parts("Calibrated", self.parts)
        if self.calibration is None and self.accept is None:
            raise UsageError("Calibrated(verifier) changes nothing; give it a calibration, or accept=")
        object.__setattr__(self, "name", self.name or self.verifier.name)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Judge and calibrate."""
        verdict = await candidate.ask(self.verifier)
        value = verdict.value if self.calibration is None else self.calibration(verdict.value)
        passed = None if self.accept is None else value >= self.accept
        return replace(verdict, value=value, semantics=self.semantics, verifier=self.name, passed=passed)


def false_accept_threshold(share: float, scores_of_wrong: Sequence[float]) -> float:
    """Return the score from which to accept so that at most `share` of what is wrong is accepted, on average.

    The quantile of split conformal prediction (Vovk et al. 2005): with n scores of wrong candidates the accepted ones lie above
    the ceil((n + 1)(1 - share))-th smallest of them; where n is too small for that, nothing is accepted (infinity).

    Raises:
        UsageError: `share` is no probability.
    """
    if not 0 < share < 1:
        raise UsageError(f"share={share!r} must lie between 0 and 1, for example 0.05")
    ranked = sorted(scores_of_wrong)
    place = ceil((len(ranked) + 1) * (1 - share))
    if place > len(ranked):
        return inf
    limit = ranked[place - 1]
    above = [score for score in ranked if score > limit]
    # The next score that was seen, so that the threshold is one that a verifier can reach and `limit` itself is refused.
    return above[0] if above else limit + 1e-9
