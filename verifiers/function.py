"""`@verifier`: a Python function as a verifier."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, overload

from ..core.errors import UsageError, VerifierError
from ..core.protocols import Candidate
from ..core.types import Semantics, Verdict

Scope = Literal["state", "answer"]
Judgement: TypeAlias = Verdict | bool | float
JudgeFunction: TypeAlias = Callable[[Candidate], Judgement | Awaitable[Judgement]]


@dataclass(frozen=True)
class FunctionVerifier:
    """A verifier made of a function by `@verifier`. Still callable as the function it was."""

    function: JudgeFunction
    name: str
    semantics: Semantics
    scope: Scope
    timeout_seconds: float

    def __call__(self, candidate: Candidate) -> Any:
        """Call the function itself."""
        return self.function(candidate)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Return the function's judgement as a verdict.

        Raises:
            VerifierError: the function returned no bool, number or `Verdict`, or took too long.
        """
        try:
            async with asyncio.timeout(self.timeout_seconds):
                result = self.function(candidate)
                judgement: Any = await result if inspect.isawaitable(result) else result
        except TimeoutError as error:
            raise VerifierError(f"verifier {self.name!r} took longer than {self.timeout_seconds:g} s") from error
        match judgement:
            case Verdict():
                return replace(judgement, verifier=self.name)
            case bool():
                return Verdict(float(judgement), self.semantics, self.name, passed=judgement)
            case int() | float():
                return Verdict(float(judgement), self.semantics, self.name)
            case _:
                raise VerifierError(
                    f"verifier {self.name!r} returned {judgement!r}; return a bool, a number in [0, 1] or a Verdict"
                )


@overload
def verifier(function: JudgeFunction, /) -> FunctionVerifier: ...
@overload
def verifier(
    *, name: str | None = None, semantics: Semantics = "outcome", scope: Scope = "answer", timeout: float = 60.0
) -> Callable[[JudgeFunction], FunctionVerifier]: ...
def verifier(
    function: JudgeFunction | None = None,
    /,
    *,
    name: str | None = None,
    semantics: Semantics = "outcome",
    scope: Scope = "answer",
    timeout: float = 60.0,
) -> FunctionVerifier | Callable[[JudgeFunction], FunctionVerifier]:
    """Make a verifier of a function that takes a `Candidate`.

    The function, async or plain, returns a bool (accept or reject), a number in [0, 1] (a score that decides nothing) or a
    `Verdict`.

    Args:
        function: the function.
        name: shown beside the verdicts; the function's name unless given.
        semantics: what the value means.
        scope: `answer` judges trajectories that gave an answer, `state` judges every node's environment.
        timeout: seconds after which a judgement is given up.

    Raises:
        UsageError: the function does not take exactly one parameter.
    """

    def make(f: JudgeFunction) -> FunctionVerifier:
        title = name or str(getattr(f, "__name__", "verifier"))
        if len(inspect.signature(f).parameters) != 1:
            raise UsageError(f"verifier {title!r} must take one parameter, the candidate: def {title}(candidate)")
        if timeout <= 0:
            raise UsageError(f"verifier {title!r}: timeout={timeout!r}; it must be positive seconds")
        return FunctionVerifier(f, title, semantics, scope, timeout)

    return make if function is None else make(function)
