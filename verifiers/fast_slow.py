"""A fast verifier several times, a slow one where it disagrees with itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate, Verifier
from ..core.types import Semantics, Verdict
from .combining import joint_scope, need_parts, one_meaning, says_yes, spent, votes, weakest


@dataclass(frozen=True, init=False)
class FastSlow:
    """Ask a fast verifier several times, and a slow one only where the fast one disagrees with itself.

    Zhong et al. (2025), Solve-Detect-Verify, the flexible verifier. On average a judgement costs k fast calls and, in the share
    of cases in which less than `tau` of them agree, a slow one.

    Args:
        fast: for example `Judge(think=False)`.
        slow: for example `Judge(max_tokens=2048)`.
        k: judgements of the fast one, all at once, >= 1.
        tau: share of them that must agree, in (0.5, 1].
        name: shown beside its verdicts.

    Raises:
        UsageError: an option is out of range, or the two mean different things by their values.
    """

    parts: tuple[Verifier, Verifier]
    k: int
    tau: float
    name: str
    semantics: Semantics
    scope: Literal["state", "answer"]

    def __init__(self, fast: Verifier, slow: Verifier, k: int = 8, tau: float = 0.8, name: str = "fast-slow") -> None:
        need_parts("FastSlow", (fast, slow))
        if k < 1:
            raise UsageError(f"FastSlow(k={k!r}) must be at least 1")
        if not 0.5 < tau <= 1:
            raise UsageError(f"FastSlow(tau={tau!r}) must lie in (0.5, 1]")
        settings = {"parts": (fast, slow), "k": k, "tau": tau, "name": name}
        settings |= {"semantics": one_meaning("FastSlow", (fast, slow)), "scope": joint_scope((fast, slow))}
        for key, value in settings.items():
            object.__setattr__(self, key, value)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask the fast one, and the slow one if need be. The verdict always decides.

        Raises:
            VerifierError: the slow one was needed and could not judge.
        """
        fast, slow = self.parts
        verdicts = await votes(candidate, [fast] * self.k, needed=False)
        share = sum(map(says_yes, verdicts)) / len(verdicts) if verdicts else 0.5
        agreement = max(share, 1 - share)
        passed = share >= 0.5
        if agreement >= self.tau:
            speakers = [verdict for verdict in verdicts if says_yes(verdict) == passed]
            value, feedback = share, speakers[0].feedback
        else:
            final = await candidate.again(self.k).ask(slow)
            verdicts.append(final)
            passed, value, feedback = says_yes(final), final.value, final.feedback
        return Verdict(
            value,
            self.semantics,
            self.name,
            passed,
            feedback,
            per_constraint={"agreement": agreement, "slow": float(agreement < self.tau)},
            calls=sum(verdict.calls for verdict in verdicts),
            usage=spent(verdicts),
            integrity=weakest(verdicts),
        )
