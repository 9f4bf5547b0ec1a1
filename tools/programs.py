"""Tools that run programs in the sandbox."""

from __future__ import annotations

from ..core.protocols import Context
from ..core.types import ExecResult
from .tool import tool

PROGRAM_TIMEOUT_SECONDS = 60.0


@tool(effects="sandbox", timeout=PROGRAM_TIMEOUT_SECONDS + 30)
async def shell(ctx: Context, command: str) -> ExecResult:
    """Run a shell command in the work space.

    Args:
        command: what `sh -c` is given
    """
    return await ctx.sandbox.exec(command, timeout_seconds=PROGRAM_TIMEOUT_SECONDS)


@tool(effects="sandbox", timeout=PROGRAM_TIMEOUT_SECONDS + 30)
async def python(ctx: Context, code: str) -> ExecResult:
    """Run a Python program in the work space; print what you want to see.

    Args:
        code: the program's source
    """
    return await ctx.sandbox.exec(["python3", "-"], stdin=code.encode(), timeout_seconds=PROGRAM_TIMEOUT_SECONDS)
