"""What a worker says of a program's end."""

from __future__ import annotations

from typing import Any

from ..core.types import ExecResult


def exec_result(reply: dict[str, Any], output: bytes) -> ExecResult:
    """Return what a worker's reply says of how a program ended; `output` is that on stdout and, after it, on stderr."""
    split = reply["stdout"]
    return ExecResult(
        exit_code=reply["code"],
        stdout=output[:split].decode("utf-8", "replace"),
        stderr=output[split:].decode("utf-8", "replace"),
        timed_out=reply["timed_out"],
        truncated=reply["truncated"],
        seconds=reply["seconds"],
    )
