"""Commands that run pytest or unittest, as far as they can be run test by test."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal

_PYTHONS = frozenset(["python", "python3"])
_NOT_ONE_BY_ONE = (
    "-n",
    "--numprocesses",
    "--dist",
    "--forked",
    "--boxed",
    "--collect-only",
    "--co",
    "--looponfail",
    "-f",
)
"""Options of pytest and its plugins with which tests do not run one after the other in one process."""
_SHELL = frozenset("$`*?~;&|<>()\n")


@dataclass(frozen=True)
class SuiteCommand:
    """A test runner and its arguments."""

    runner: Literal["pytest", "unittest"]
    args: tuple[str, ...]


def read_command(command: str) -> SuiteCommand | None:
    """Return what a command line runs; None where it is another program, needs a shell, or runs tests in parallel."""
    if _SHELL & set(command):
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    match words:
        case [python, "-m", "pytest" | "unittest" as runner, *args] if python in _PYTHONS:
            pass
        case ["pytest" | "py.test", *args]:
            runner = "pytest"
        case _:
            return None
    parallel = any(arg == name or arg.startswith(f"{name}=") for arg in args for name in _NOT_ONE_BY_ONE)
    if runner == "pytest" and (parallel or any(arg[:2] == "-n" and arg[2:].isdigit() for arg in args)):
        return None
    return SuiteCommand("pytest" if runner == "pytest" else "unittest", tuple(args))
