"""Whether helpers that are asked for would do what others are doing already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeGuard, cast

from ..core.errors import ModelError, ToolError, VerifierError
from ..core.protocols import Context, Verifier

SameWork = Callable[[str, str], bool] | Verifier
"""Says whether two texts ask for the same work: a function, or a verifier that compares two (`verifiers.Alike`)."""


def is_verifier(judge: SameWork | None) -> TypeGuard[Verifier]:
    """Whether it is a verifier and no function."""
    return hasattr(judge, "judge")


async def first_alike(judge: SameWork, ctx: Context, text: str, others: Sequence[str]) -> int | None:
    """Return the place of the first of some texts that asks for the same work as another one; None where none does.

    Helps to do less, so it never stands in the way: a verifier that cannot judge says no.

    Args:
        judge: compares two of them.
        ctx: of the tool call, which pays where a verifier is asked; about all of them at once.
        text: what is asked for now.
        others: what was asked for before.
    """
    if not is_verifier(judge):
        same = cast("Callable[[str, str], bool]", judge)
        return next((place for place, other in enumerate(others) if same(other, text)), None)
    said = await asyncio.gather(*(_alike(judge, ctx, other, text) for other in others))
    return next((place for place, same in enumerate(said) if same), None)


async def _alike(judge: Verifier, ctx: Context, one: str, other: str) -> bool:
    if ctx.compare is None:
        raise ToolError("nothing can be compared here: the call is not part of a run")
    try:
        verdict = await ctx.compare(judge, one, other)
    except (VerifierError, ModelError):
        return False
    return verdict.value >= 0.5 if verdict.passed is None else verdict.passed
