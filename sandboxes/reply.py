"""What a worker says of a program's end. It may have been taken over: nothing of it is believed unseen."""

from __future__ import annotations

from typing import Any

from ..core.types import ExecResult

_EXIT_CODES = range(-64, 256)
"""Minus a signal's number, or a status."""
_MOST_SECONDS = 1e9
_REMARK_BYTES = 16 << 10
"""The worker's own words about a program that cannot run; they come on top of its output."""


def count(reply: dict[str, Any], name: str) -> int:
    """Return a field that must be a whole number from 0 on.

    Raises:
        KeyError, TypeError, ValueError: it is not.
    """
    value = reply[name]
    if type(value) is not int:
        raise TypeError(f"{name} is {_short(value)}, not a number")
    if value < 0:
        raise ValueError(f"{name} is {value}")
    return value


def exec_result(reply: dict[str, Any], output: bytes, *, most_bytes: int) -> ExecResult:
    """Return what a worker's reply says of how a program ended.

    Args:
        reply: its fields.
        output: what came on stdout and, after it, on stderr.
        most_bytes: how much of that was asked for.

    Raises:
        KeyError, TypeError, ValueError: the reply is not one.
    """
    code, split, seconds = reply["code"], count(reply, "stdout"), reply["seconds"]
    if type(code) is not int or code not in _EXIT_CODES:
        raise ValueError(f"code is {_short(code)}")
    if type(seconds) not in {int, float} or not 0 <= seconds <= _MOST_SECONDS:
        raise ValueError(f"seconds is {_short(seconds)}")
    if split > len(output) or len(output) > most_bytes + _REMARK_BYTES:
        raise ValueError(f"{len(output)} bytes of output, {split} of them on stdout, where {most_bytes} were asked for")
    return ExecResult(
        exit_code=code,
        stdout=output[:split].decode("utf-8", "replace"),
        stderr=output[split:].decode("utf-8", "replace"),
        timed_out=_flag(reply, "timed_out"),
        truncated=_flag(reply, "truncated"),
        seconds=seconds,
    )


def _flag(reply: dict[str, Any], name: str) -> bool:
    value = reply[name]
    if type(value) is not bool:
        raise TypeError(f"{name} is {_short(value)}, neither true nor false")
    return value


def _short(value: object) -> str:
    return repr(value)[:100]
