"""Tools that run programs in the sandbox."""

from __future__ import annotations

from ..core.protocols import Context
from ..core.types import ExecResult, Python
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
    return await ctx.sandbox.exec(Python(code), timeout_seconds=PROGRAM_TIMEOUT_SECONDS)


@tool(effects="sandbox", timeout=4 * PROGRAM_TIMEOUT_SECONDS)
async def session(ctx: Context, code: str) -> ExecResult:
    """Run Python code in a session: names that earlier calls defined are still there. The last expression's value is shown.

    Args:
        code: one cell, as in a notebook
    """
    return await ctx.sandbox.cell(code, timeout_seconds=PROGRAM_TIMEOUT_SECONDS)
