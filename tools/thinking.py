"""Working in steps without any other tool: what searches over steps of thought need."""

from __future__ import annotations

from .tool import tool


@tool(effects="pure")
def think(step: str) -> str:
    """Write down the next step of the solution, and only that one. What was written stays; answer when all steps are there.

    Args:
        step: one step: what follows from what is there already.
    """
    return "noted" if step.strip() else "that was empty; write a step, or answer"
