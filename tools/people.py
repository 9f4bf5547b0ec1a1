"""Asking the person who runs the agent."""

from __future__ import annotations

from ..core.protocols import Context
from .tool import tool

DAY_SECONDS = 86_400.0


@tool(effects="pure", timeout=DAY_SECONDS)
async def ask_user(ctx: Context, question: str) -> str:
    """Ask the user something that only they can know or decide, and wait for the answer.

    Args:
        question: one clear question.
    """
    return str(await ctx.ask(question))
