"""Verifiers by name, for the command line: `judge:accept=0.5`, `vote:k=8:judge`, `cached:program`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.protocols import Verifier
from ..search.named import named_options
from .alike import Alike
from .better import Better
from .cached import Cached
from .combinators import Vote
from .execution import Tests
from .fast_slow import FastSlow
from .group_scores import GroupScores
from .judge import Judge
from .legality import Legality
from .listwise import Listwise
from .probe import Complete
from .program import ProgramAgreement
from .web import web_judge
from .written_tests import WrittenTests


@dataclass(frozen=True)
class _FastSlow:
    """Options of a short judge several times with a long one behind it."""

    k: int = 8
    tau: float = 0.8
    model: str | None = None
    max_tokens: int = 2048
    name: str = "fast-slow"

    def made(self) -> FastSlow:
        """Return the verifier."""
        fast = Judge(think=False, model=self.model, name="fast")
        slow = Judge(model=self.model, max_tokens=self.max_tokens, name="slow")
        return FastSlow(fast, slow, self.k, self.tau, self.name)


@dataclass(frozen=True)
class _WebJudge:
    """Options of a model that says how a trajectory on pages stands."""

    votes: int = 1
    model: str | None = None
    think: bool = False
    screenshot: bool = False
    accept: float | None = None
    scope: Literal["state", "answer"] = "state"
    name: str = "web judge"

    def made(self) -> Verifier:
        """Return the verifier."""
        return web_judge(
            votes=self.votes,
            model=self.model,
            think=self.think,
            screenshot=self.screenshot,
            accept=self.accept,
            scope=self.scope,
            name=self.name,
        )


VERIFIERS: dict[str, type[Any]] = {
    "judge": Judge,
    "fast-slow": _FastSlow,
    "listwise": Listwise,
    "group-scores": GroupScores,
    "program": ProgramAgreement,
    "written-tests": WrittenTests,
    "alike": Alike,
    "complete": Complete,
    "better": Better,
    "tests": Tests,
    "legality": Legality,
    "web-judge": _WebJudge,
}

AROUND: dict[str, type[Any]] = {"vote": Vote, "cached": Cached}
"""Verifiers around another one."""


def parse_verifier(text: str) -> Verifier:
    """Return the verifier that `name` or `name:option=value,...` describes; `vote` and `cached` stand before another one.

    Raises:
        UsageError: unknown name or option, or a value that does not fit.
    """
    name, _, rest = text.partition(":")
    if name in AROUND:
        head, _, tail = rest.partition(":")
        options, inside = (head, tail) if "=" in head else ("", rest)
        if not inside:
            raise UsageError(f"{text!r}: {name!r} stands before another verifier, for example '{name}:judge'")
        inner = parse_verifier(inside)
        made: Verifier = AROUND[name](inner, **named_options(f"verifier {name!r}", AROUND[name], options))
        return made
    if name not in VERIFIERS:
        raise UsageError(f"no verifier is called {name!r}; there are: {', '.join([*VERIFIERS, *AROUND])}")
    kind = VERIFIERS[name]
    verifier = kind(**named_options(f"verifier {name!r}", kind, rest))
    return verifier.made() if isinstance(verifier, _FastSlow | _WebJudge) else verifier
