"""What verifiers made of others have in common: what they judge, what their values mean, and how verdicts add up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from ..core.errors import BudgetExceeded, UsageError, VerifierError
from ..core.protocols import Candidate, Verifier
from ..core.types import NO_USAGE, Integrity, Semantics, Usage, Verdict

_INTEGRITIES: tuple[Integrity, ...] = ("host-io", "split", "in-process")


def need_parts(owner: str, parts: Sequence[Verifier], least: int = 1) -> None:
    """Refuse parts that cannot be asked one by one.

    Raises:
        UsageError: too few, no verifiers, or one that compares candidates.
    """
    if len(parts) < least:
        raise UsageError(f"{owner} got {len(parts)} verifiers; give at least {least}")
    for part in parts:
        if not hasattr(part, "judge"):
            raise UsageError(f"{owner}: {part!r} is no verifier; decorate the function with @branchwise.verifier")
        if part.scope in {"set", "probe"}:
            raise UsageError(
                f"{owner}: verifier {part.name!r} compares candidates or is a strategy's probe, and its verdicts do not add up with "
                "those on single candidates; give it to the agent beside the others"
            )


def one_meaning(owner: str, parts: Sequence[Verifier]) -> Semantics:
    """Return what the parts' values mean together. Violations only decide, so they go with everything.

    Raises:
        UsageError: values that mean different things would be mixed.
    """
    meanings: dict[Semantics, str] = {part.semantics: part.name for part in parts if part.semantics != "violation"}
    if len(meanings) > 1:
        told = ", ".join(f"{name!r} means {meaning!r}" for meaning, name in meanings.items())
        raise UsageError(
            f"{owner} would mix values of different meaning: {told}; name what makes them alike, for example "
            "Adapted(verifier, 'outcome', by='identity') or Calibrated(verifier, Calibration.fit(...))"
        )
    for meaning in meanings:
        return meaning
    return "violation"


def check_together(owner: str, verifiers: Sequence[Verifier]) -> None:
    """Refuse verifiers whose values a node's value cannot be the mean of: preferences beside values of another kind.

    Two of one name are refused too: strategies know by it whose verdict they see.

    Raises:
        UsageError: with what would make them alike.
    """
    names = [verifier.name for verifier in verifiers]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{owner} has two verifiers called {twice[0]!r}; give one of them another name=")
    single = [verifier for verifier in verifiers if verifier.scope in {"state", "answer"}]
    if any(verifier.semantics == "preference" for verifier in single):
        one_meaning(owner, [verifier for verifier in single if verifier.semantics != "likelihood"])


def joint_scope(parts: Sequence[Verifier]) -> Literal["state", "answer"]:
    """Return what is judged together: answers, unless all of them judge states."""
    return "state" if all(part.scope == "state" for part in parts) else "answer"


def weakest(verdicts: Sequence[Verdict]) -> Integrity | None:
    """Return how well the weakest of the verdicts is protected; None where one was not made by execution.

    Those that only look for violations add no weakness: they can refuse and not accept.
    """
    levels = [verdict.integrity for verdict in verdicts if verdict.semantics != "violation"]
    if None in levels:
        return None
    for level in reversed(_INTEGRITIES):
        if level in levels:
            return level
    return None


def spent(verdicts: Sequence[Verdict]) -> Usage:
    """Return what verdicts cost together."""
    return sum((verdict.usage for verdict in verdicts), NO_USAGE)


def told(verdicts: Sequence[Verdict]) -> str:
    """Return their words, each under its verifier's name."""
    return "\n\n".join(f"[{verdict.verifier}] {verdict.feedback}" for verdict in verdicts if verdict.feedback)


def says_yes(verdict: Verdict) -> bool:
    """Whether a verdict is more yes than no, also where it only scores."""
    return verdict.value >= 0.5 if verdict.passed is None else verdict.passed


async def votes(candidate: Candidate, verifiers: Sequence[Verifier], *, needed: bool = True) -> list[Verdict]:
    """Have all of these judge at once, each with a seed of its own; those that find no verdict are left out.

    Where the budget ends among them, those that it was enough for count.

    Args:
        candidate: what they judge.
        verifiers: the same one several times, for a vote.
        needed: whether there must be a verdict.

    Raises:
        VerifierError: none gave one.
    """
    asked = (candidate.again(number).ask(verifier) for number, verifier in enumerate(verifiers))
    results = await asyncio.gather(*asked, return_exceptions=True)
    verdicts = [result for result in results if isinstance(result, Verdict)]
    for result in results:
        if isinstance(result, BaseException) and not _bearable(result, found=bool(verdicts), needed=needed):
            raise result
    return verdicts


def _bearable(error: BaseException, *, found: bool, needed: bool) -> bool:
    """Whether a vote can do without a judgement that ended like this."""
    return (isinstance(error, VerifierError) and (found or not needed)) or (isinstance(error, BudgetExceeded) and found)
