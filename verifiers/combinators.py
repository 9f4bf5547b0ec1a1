"""Verifiers made of others: several judgements of one, several that must agree, a weighted mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate, Verifier
from ..core.types import Semantics, Verdict
from .combining import joint_scope, need_parts, one_meaning, says_yes, spent, told, votes, weakest


@dataclass(frozen=True)
class Vote:
    """Have one verifier judge `k` times, and take the mean: what is left is what it gets wrong every time.

    Args:
        verifier: one whose judgements differ from call to call, such as `Judge`.
        k: how often, >= 1. Judgements that fail to give a verdict are left out.
        by: the `mean` of the values, the `median`, or the share of those that say yes (`majority`).
        name: shown beside its verdicts; unless given, the verifier's.
    """

    verifier: Verifier
    k: int = 8
    by: Literal["mean", "median", "majority"] = "mean"
    name: str = ""

    def __post_init__(self) -> None:
        need_parts("Vote", [self.verifier])
        if self.k < 1:
            raise UsageError(f"Vote(k={self.k!r}) must be at least 1")
        if self.by not in ("mean", "median", "majority"):
            raise UsageError(f"Vote(by={self.by!r}) must be 'mean', 'median' or 'majority'")
        object.__setattr__(self, "name", self.name or self.verifier.name)

    @property
    def parts(self) -> Sequence[Verifier]:
        """The verifier."""
        return (self.verifier,)

    @property
    def semantics(self) -> Semantics:
        """As the verifier's."""
        return self.verifier.semantics

    @property
    def scope(self) -> Literal["state", "answer"]:
        """As the verifier's."""
        return joint_scope(self.parts)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Judge `k` times at once. It decides by majority where the verifier decides; a tie is a no.

        Raises:
            VerifierError: no judgement gave a verdict.
        """
        verdicts = await votes(candidate, [self.verifier] * self.k)
        values = [verdict.value for verdict in verdicts]
        share = sum(map(says_yes, verdicts)) / len(verdicts)
        value = {"mean": sum(values) / len(values), "median": median(values), "majority": share}[self.by]
        decisions = [verdict.passed for verdict in verdicts if verdict.passed is not None]
        passed = sum(decisions) > len(decisions) / 2 if decisions else None
        # The words of one that goes with the result say more than those of all.
        speaker = min(verdicts, key=lambda verdict: (says_yes(verdict) != (share > 0.5), abs(verdict.value - value)))
        return Verdict(
            value,
            self.semantics,
            self.name,
            passed,
            speaker.feedback,
            calls=sum(verdict.calls for verdict in verdicts),
            usage=spent(verdicts),
            integrity=weakest(verdicts),
        )


@dataclass(frozen=True, init=False)
class _Several:
    """Several verifiers as one."""

    parts: tuple[Verifier, ...]
    name: str
    semantics: Semantics
    scope: Literal["state", "answer"]

    def _set(self, owner: str, parts: Sequence[Verifier], name: str) -> None:
        need_parts(owner, parts)
        object.__setattr__(self, "parts", tuple(parts))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "semantics", one_meaning(owner, parts))
        object.__setattr__(self, "scope", joint_scope(parts))

    async def _asked(self, candidate: Candidate, *, until: bool | None) -> list[Verdict]:
        """Ask one after the other, and none any more once one has decided like `until`."""
        verdicts: list[Verdict] = []
        for part in self.parts:
            verdicts.append(await candidate.again(len(verdicts)).ask(part))
            if until is not None and verdicts[-1].passed is until:
                break
        return verdicts

    def _verdict(self, value: float, passed: bool | None, verdicts: Sequence[Verdict]) -> Verdict:
        return Verdict(
            value,
            self.semantics,
            self.name,
            passed,
            told(verdicts),
            per_constraint={verdict.verifier: verdict.value for verdict in verdicts},
            calls=sum(verdict.calls for verdict in verdicts),
            usage=spent(verdicts),
            integrity=weakest(verdicts),
        )


@dataclass(frozen=True, init=False)
class All(_Several):
    """Accept what all of these verifiers accept; its value is the lowest of theirs.

    They are asked one after the other, and none any more once one has refused: put the cheap ones first.

    Args:
        parts: the verifiers. Their values must mean the same; one that looks for violations goes with everything.
        lazy: whether to stop at the first refusal.
        name: shown beside its verdicts.

    Raises:
        UsageError: values of different meaning.
    """

    lazy: bool

    def __init__(self, *parts: Verifier, lazy: bool = True, name: str = "all") -> None:
        self._set("All", parts, name)
        object.__setattr__(self, "lazy", lazy)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask one after the other. It decides where one of them does.

        Raises:
            VerifierError: one of them could not judge.
        """
        verdicts = await self._asked(candidate, until=False if self.lazy else None)
        decisions = [verdict.passed for verdict in verdicts if verdict.passed is not None]
        passed = all(decisions) if decisions else None
        return self._verdict(min(verdict.value for verdict in verdicts), passed, verdicts)


@dataclass(frozen=True, init=False)
class Any(_Several):
    """Accept what one of these verifiers accepts; its value is the highest of theirs.

    They are asked one after the other, and none any more once one has accepted.

    Args:
        parts: the verifiers. Their values must mean the same.
        lazy: whether to stop at the first acceptance.
        name: shown beside its verdicts.

    Raises:
        UsageError: values of different meaning.
    """

    lazy: bool

    def __init__(self, *parts: Verifier, lazy: bool = True, name: str = "any") -> None:
        self._set("Any", parts, name)
        object.__setattr__(self, "lazy", lazy)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask one after the other. It refuses only where all of them do.

        Raises:
            VerifierError: one of them could not judge.
        """
        verdicts = await self._asked(candidate, until=True if self.lazy else None)
        decisions = [verdict.passed for verdict in verdicts]
        passed = True if any(decisions) else False if all(p is False for p in decisions) else None
        return self._verdict(max(verdict.value for verdict in verdicts), passed, verdicts)


@dataclass(frozen=True, init=False)
class Weighted(_Several):
    """The weighted mean of several verifiers' values; accepts from a value on.

    Args:
        parts: the verifiers. Their values must mean the same.
        weights: one for each, positive; all alike unless given.
        accept: value from which it accepts; None only scores.
        name: shown beside its verdicts.

    Raises:
        UsageError: values of different meaning, or weights that do not fit.
    """

    weights: tuple[float, ...]
    accept: float | None

    def __init__(
        self,
        *parts: Verifier,
        weights: Sequence[float] | None = None,
        accept: float | None = None,
        name: str = "weighted",
    ) -> None:
        self._set("Weighted", parts, name)
        given = tuple(weights) if weights is not None else (1.0,) * len(parts)
        if len(given) != len(parts) or not all(weight > 0 for weight in given):
            raise UsageError(
                f"Weighted(weights={weights!r}) must be {len(parts)} positive numbers, one for each verifier"
            )
        if accept is not None and not 0 < accept <= 1:
            raise UsageError(f"Weighted(accept={accept!r}) must lie in (0, 1]; None only scores")
        object.__setattr__(self, "weights", given)
        object.__setattr__(self, "accept", accept)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask all of them.

        Raises:
            VerifierError: one of them could not judge.
        """
        verdicts = [await candidate.again(number).ask(part) for number, part in enumerate(self.parts)]
        pairs = zip(self.weights, verdicts, strict=True)
        value = min(1.0, sum(weight * verdict.value for weight, verdict in pairs) / sum(self.weights))
        return self._verdict(value, None if self.accept is None else value >= self.accept, verdicts)
