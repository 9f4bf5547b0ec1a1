"""The parts that an Archon is made of: what each layer does with candidates, critiques and unit tests.

Saad-Falcon et al. (2024), Archon: An Architecture Search Framework for Inference-Time Techniques.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal, TypeAlias, cast

from ...core.errors import UsageError
from ...core.protocols import Model, Verifier
from ...verifiers import Judge, Listwise, WrittenTests
from ...verifiers.showing import Show

Kind = Literal["generate", "fuse", "rank", "criticise", "check", "write_tests", "run_tests"]


class _Shown:
    """Written like the code that makes it, the same in every process: a run is recorded with it."""

    def __repr__(self) -> str:
        return described(self)


@dataclass(frozen=True, repr=False)
class Generator(_Shown):
    """Solves the task, `samples` times: each a search of the agent. Only the first layer has generators.

    Args:
        model: `provider:model` or a `Model`; the agent's own unless given.
        samples: candidates to make, >= 1.
        temperature: of their sampling; the agent's own setting unless given.
    """

    kind: ClassVar[Kind] = "generate"
    model: str | Model | None = None
    samples: int = 1
    temperature: float | None = None

    def __post_init__(self) -> None:
        at_least("Generator", "samples", self.samples)


@dataclass(frozen=True, repr=False)
class Fuser(_Shown):
    """Writes a new candidate from all that there are, with what was said of them: a search of the agent, which begins with the task's own files.

    Args:
        model: `provider:model` or a `Model`; the agent's own unless given.
        samples: fused candidates to make, >= 1.
        temperature: of their sampling; the agent's own setting unless given.
        show: what it sees of the candidates; unless given their changes to the task's files, all their steps where there are none.
    """

    kind: ClassVar[Kind] = "fuse"
    model: str | Model | None = None
    samples: int = 1
    temperature: float | None = None
    show: Show | None = None

    def __post_init__(self) -> None:
        at_least("Fuser", "samples", self.samples)


@dataclass(frozen=True, repr=False)
class Ranker(_Shown):
    """Puts the candidates in order and keeps the best.

    Args:
        top: candidates to keep, >= 1.
        by: who says which are better: a verifier that compares (scope "set"), or one that values each by itself. By default one call
            that puts all of them in order, the critics' words beside them.
    """

    kind: ClassVar[Kind] = "rank"
    top: int = 1
    by: Verifier = field(default_factory=lambda: Listwise(form="order", k=1, said=True))

    def __post_init__(self) -> None:
        at_least("Ranker", "top", self.top)
        _judges("Ranker", self.by, {"set", "answer", "state"})


@dataclass(frozen=True, repr=False)
class Critic(_Shown):
    """Says in one call what is good and what is bad about each candidate, for the ranker or fuser that comes next.

    Args:
        model: `provider:model` or a `Model`; the agent's own unless given.
        show: what it sees of the candidates, as for `Fuser`.
        attempts: how often it is asked until it says something of each, >= 1.
        max_tokens: longest reply.
    """

    kind: ClassVar[Kind] = "criticise"
    model: str | Model | None = None
    show: Show | None = None
    attempts: int = 10
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        at_least("Critic", "attempts", self.attempts)
        at_least("Critic", "max_tokens", self.max_tokens)


@dataclass(frozen=True, repr=False)
class Checker(_Shown):
    """Keeps the candidates that a verifier finds right; all of them where it finds none right. Archon's verifier.

    Args:
        by: the verifier. By default a judge of two calls: the first argues for the candidate, the second says yes or no.
        first: stops once so many are found right, in the order of the candidates; None judges all.
    """

    kind: ClassVar[Kind] = "check"
    by: Verifier = field(default_factory=lambda: Judge(argue=True, accept=0.5))
    first: int | None = None

    def __post_init__(self) -> None:
        _judges("Checker", self.by, {"answer", "state"})
        if self.first is not None:
            at_least("Checker", "first", self.first)


@dataclass(frozen=True, repr=False)
class UnitTestWriter(_Shown):
    """Writes unit tests from the task alone, for the evaluator that comes next.

    Args:
        by: what kind of tests and how many: statements that a model judges, or, with a `function`, calls that are run in the
            agent's sandbox.
    """

    kind: ClassVar[Kind] = "write_tests"
    by: WrittenTests = field(default_factory=WrittenTests)

    def __post_init__(self) -> None:
        if not isinstance(self.by, WrittenTests):  # pyright: ignore[reportUnnecessaryIsInstance] - users do not all check types
            raise UsageError(f"UnitTestWriter(by={self.by!r}) must be verifiers.WrittenTests(...)")


@dataclass(frozen=True, repr=False)
class UnitTestEvaluator(_Shown):
    """Puts the candidates in order by how many of the unit tests they pass, and keeps the best.

    Args:
        top: candidates to keep, >= 1.
        first: keeps instead the first so many that pass all tests, and stops there, where there are so many; None counts for all.
    """

    kind: ClassVar[Kind] = "run_tests"
    top: int = 1
    first: int | None = None

    def __post_init__(self) -> None:
        at_least("UnitTestEvaluator", "top", self.top)
        if self.first is not None:
            at_least("UnitTestEvaluator", "first", self.first)


Component: TypeAlias = Generator | Fuser | Ranker | Critic | Checker | UnitTestWriter | UnitTestEvaluator
Layer: TypeAlias = tuple[Component, ...]


def at_least(owner: str, name: str, value: int, least: int = 1) -> None:
    """Refuse a number that is too small.

    Raises:
        UsageError: it is.
    """
    if value < least:
        raise UsageError(f"{owner}({name}={value!r}) must be at least {least}")


def _judges(owner: str, verifier: Verifier, scopes: set[str]) -> None:
    if getattr(verifier, "scope", None) not in scopes or not hasattr(verifier, "judge"):
        raise UsageError(
            f"{owner}(by={verifier!r}): give it a verifier that judges {'or compares ' if 'set' in scopes else ''}candidates, for "
            f"example {'verifiers.Listwise(), ' if 'set' in scopes else ''}verifiers.Judge(accept=0.5)"
        )


def described(value: object) -> str:  # noqa: PLR0911 - one case for each kind of value
    """Return code that makes a value, what is at its default left out. Models and functions stand there by their names."""
    match value:
        case None | str() | int() | float():
            return repr(value)
        case Mapping():
            pairs = cast("Mapping[object, object]", value).items()
            return "{" + ", ".join(f"{described(key)}: {described(held)}" for key, held in pairs) + "}"
        case Sequence():
            return "[" + ", ".join(map(described, cast("Sequence[object]", value))) + "]"
        case functools.partial():
            return described(value.func)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return f"{type(value).__name__}({', '.join(_set_fields(value))})"
        case _ if callable(getattr(value, "generate", None)):
            return repr(getattr(value, "name", type(value).__name__))
        case _ if callable(value):
            return str(getattr(value, "__qualname__", type(value).__qualname__))
        case _:
            return type(value).__qualname__


def _set_fields(value: Any) -> list[str]:
    """Return the arguments of a dataclass that are not at their default, as they are written."""
    found: list[str] = []
    for one in fields(value):
        if not one.init or not one.repr:
            continue
        held = getattr(value, one.name)
        default: Any = one.default_factory() if one.default_factory is not MISSING else one.default
        if default is MISSING or held != default:
            found.append(f"{one.name}={described(held)}")
    return found
