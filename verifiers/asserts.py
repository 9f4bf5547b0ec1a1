"""Tests as a model writes them, one assert a line, read as cases for the host to compare."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from ..core.errors import UsageError
from .cases import Case
from .plain import dump


def read_asserts(lines: Iterable[str], function: str) -> list[Case]:
    """Return the cases in lines such as `assert add(2, 3) == 5`, each once; other lines are left out.

    Two that want different things of the same call cannot both be right, and nobody knows which is: both are left out.

    Args:
        lines: as the model wrote them.
        function: the only function that may be called, with literal arguments.
    """
    found: dict[str, list[Case]] = {}
    for line in lines:
        if (case := _case(line.strip(), function)) is not None:
            call = repr(dump([case.args, dict(case.kwargs)]))
            same = found.setdefault(call, [])
            if all(dump(case.expected) != dump(other.expected) for other in same):
                same.append(case)
    return [cases[0] for cases in found.values() if len(cases) == 1]


def calls_of(cases: Iterable[Case], function: str) -> list[str]:
    """Return the calls of some cases without what must come out, as code."""
    written: list[str] = []
    for case in cases:
        named = (f"{name}={value!r}" for name, value in case.kwargs.items())
        written.append(f"{function}({', '.join([*map(repr, case.args), *named])})")
    return written


def agreed(cases: Iterable[Case], others: Iterable[Case]) -> list[Case]:
    """Return those cases of which others want the same of the same call."""
    wanted = {_whole(case) for case in others}
    return [case for case in cases if _whole(case) in wanted]


def _whole(case: Case) -> str:
    return repr(dump([case.args, dict(case.kwargs), case.expected]))


def _case(line: str, function: str) -> Case | None:
    try:
        body = ast.parse(line).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if len(body) != 1 or not isinstance(body[0], ast.Assert):
        return None
    sides = _sides(body[0].test)
    if sides is None:
        return None
    try:
        for call, wanted in (sides, sides[::-1]):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == function:
                return _read(line, call, wanted)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, UsageError):
        return None
    return None


def _sides(test: ast.expr) -> Sequence[ast.expr] | None:
    """Return what is compared for being equal."""
    match test:
        case ast.Compare(left, [ast.Eq() | ast.Is()], [right]):
            return (left, right)
        case ast.UnaryOp(ast.Not(), ast.Call() as call):
            return (call, ast.Constant(False))
        case ast.Call():
            return (test, ast.Constant(True))
        case _:
            return None


def _read(line: str, call: ast.Call, wanted: ast.expr) -> Case:
    args = tuple(ast.literal_eval(arg) for arg in call.args)
    kwargs = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg is not None}
    if len(kwargs) != len(call.keywords):
        raise ValueError(line)
    return Case(args, ast.literal_eval(wanted), kwargs, name=line)
