"""Hidden cases: what goes into the judged code and what must come out, compared on the host."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..core.errors import UsageError
from .compare import canonical, close
from .plain import NotPlainError, dump, load

Wire = Any


@dataclass(frozen=True, slots=True)
class Case:
    """One case of `InputOutput`. All of it stays on the host but the input.

    Raises:
        UsageError: something in it is no plain data.
    """

    args: tuple[Any, ...] = ()
    """Arguments of the function, or of the program (texts)."""
    expected: Any = None
    """What the function must return, plain data; or what the program must print, a text."""
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stdin: str = ""
    """Input of a program."""
    raises: str | None = None
    """Name of the exception that the function must raise instead."""
    name: str = ""
    """Shown in feedback."""

    def __post_init__(self) -> None:
        try:
            dump([self.args, dict(self.kwargs), self.expected])
        except NotPlainError as error:
            raise UsageError(
                f"case {self.name or self.args!r}: {error}; a case is made of None, bool, int, float, complex, str, bytes, "
                "range, list, tuple, set, frozenset and dict"
            ) from None


Check: TypeAlias = Callable[[Case, Any], bool]
"""A user's function that says whether an output is right, for tasks with many right answers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case went."""

    passed: bool
    problem: str = ""
    """What is wrong, in words that tell nothing of the case."""
    got: str = ""
    """What came out, for cases that may be shown."""
    timed_out: bool = False


def judge_value(case: Case, wire: Wire, *, check: Check | None, tolerance: float | None) -> Outcome:
    """Compare what a function returned."""
    try:
        if check is not None:
            return _checked(case, load(wire), check)
        wanted = dump(case.expected)
        right = canonical(wanted) == canonical(wire) if tolerance is None else close(wanted, wire, tolerance)
        return Outcome(right, "" if right else "wrong value", _shown(wire))
    except NotPlainError as error:
        return Outcome(False, f"what it returned is no plain data: {error}")


def judge_text(case: Case, text: str, *, check: Check | None, tolerance: float | None) -> Outcome:
    """Compare what a program printed: line by line without white space at the ends; with a tolerance word by word."""
    if check is not None:
        return _checked(case, text, check)
    if not isinstance(case.expected, str):
        raise UsageError(
            f"case {case.name or case.args!r}: expected={case.expected!r}; what a program prints is a text"
        )
    if tolerance is not None:
        wanted, got = case.expected.split(), text.split()
        right = len(wanted) == len(got) and all(_same_word(w, g, tolerance) for w, g in zip(wanted, got, strict=True))
    else:
        right = _lines(case.expected) == _lines(text)
    return Outcome(right, "" if right else "wrong output", text[:200])


def _checked(case: Case, output: Any, check: Check) -> Outcome:
    try:
        right = check(case, output)
    except Exception as error:  # noqa: BLE001 - a user's function that was given data of unknown origin
        return Outcome(False, f"the checker raised {type(error).__name__}", _cut(output))
    return Outcome(right is True, "" if right is True else "refused by the checker", _cut(output))


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")


def _same_word(wanted: str, got: str, tolerance: float) -> bool:
    if wanted == got:
        return True
    if not (_NUMBER.fullmatch(wanted) and _NUMBER.fullmatch(got)):
        return False
    return close(float(wanted), float(got), tolerance)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _shown(wire: Wire) -> str:
    try:
        return _cut(load(wire))
    except NotPlainError as error:
        return f"({error})"


def _cut(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python prints
        text = f"({type(value).__name__} too large to show)"
    return text if len(text) <= 200 else text[:200] + "..."
