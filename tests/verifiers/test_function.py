"""`@verifier`: functions as verifiers."""

from __future__ import annotations

import asyncio

import pytest

import branchwise as bw
from branchwise.core.errors import RewardOutOfRange, UsageError, VerifierError
from branchwise.core.protocols import Candidate
from branchwise.core.types import ROOT, Node, Verdict


def candidate(answer: str | None = "42") -> Candidate:
    """A trajectory with an answer and no environment."""
    node = Node(ROOT, None, None, answer=answer)
    return Candidate(bw.Task(prompt="x"), [node], None, lambda _ref: None, lambda _a, _b: ({}, []))  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("returned", "value", "passed"), [(True, 1.0, True), (False, 0.0, False), (0.25, 0.25, None), (1, 1.0, None)]
)
async def test_bools_decide_and_numbers_score(returned: float, value: float, passed: bool | None) -> None:
    """A bool accepts or rejects, a number only scores."""
    verdict = await bw.verifier(lambda _c: returned).judge(candidate())
    assert (verdict.value, verdict.passed) == (value, passed)


async def test_async_functions_and_whole_verdicts() -> None:
    """An async function may return a verdict of its own; the verifier's name is put on it."""

    @bw.verifier(name="oracle", semantics="value", scope="state")
    async def judge(c: Candidate) -> Verdict:
        return Verdict(0.5, "value", "whatever", feedback=str(c.answer))

    verdict = await judge.judge(candidate())
    assert (verdict.verifier, verdict.feedback, judge.scope) == ("oracle", "42", "state")


async def test_wrong_returns_are_errors_of_the_verifier() -> None:
    """Neither a text nor a number outside [0, 1] becomes a verdict."""
    with pytest.raises(VerifierError, match="return a bool, a number"):
        await bw.verifier(lambda _c: "yes").judge(candidate())  # type: ignore[arg-type,return-value]
    with pytest.raises(RewardOutOfRange, match="scale the score"):
        await bw.verifier(lambda _c: 7.0).judge(candidate())


async def test_a_slow_verifier_is_given_up() -> None:
    """A judgement that outlasts its time-out is an error, not a hang."""

    @bw.verifier(timeout=0.05)
    async def slow(_c: Candidate) -> bool:
        await asyncio.sleep(30)
        return True

    with pytest.raises(VerifierError, match=r"longer than 0.05 s"):
        await slow.judge(candidate())


def test_a_verifier_takes_the_candidate_only() -> None:
    """A function with other parameters is refused when the verifier is made."""
    with pytest.raises(UsageError, match="must take one parameter"):
        bw.verifier(lambda: True)  # type: ignore[arg-type,misc]
