"""The tool for what cannot be taken back on pages: a person sees what it is about, from the page itself, before it is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from ..core.errors import ToolError
from ..core.protocols import Context
from ..web.actions import Click, Dialog, Press
from .browse import RESULT_CHARS, STEP_SECONDS, Ref, acted, pages_of
from .tool import tool


async def _for_good(ctx: Context, do: Literal["click", "enter", "accept"], ref: Ref | None = None) -> str:
    """Do something that cannot be taken back, such as to order, pay, send or delete. A person is asked first.

    Args:
        do: click on something, press Enter in it, or accept the dialog that is open
        ref: what, by its reference; nothing for a dialog
    """
    action: Click | Press | Dialog
    match do:
        case "accept":
            action = Dialog()
        case _ if ref is None:
            raise ToolError(f"{do}: say on what, by its reference on the page")
        case "click":
            action = Click(ref=ref)
        case "enter":
            action = Press(keys="Enter", ref=ref)
    about = await pages_of(ctx).about(action)
    await ctx.approval("for_good", {"do": do, **about})
    return await acted(ctx, action, final=True)


for_good = replace(
    tool(name="for_good", effects="external", timeout=STEP_SECONDS)(_for_good),
    asks_first=True,
    result_chars=RESULT_CHARS,
)
"""For agents on sites that remember what is done: searches that may throw a branch away refuse it, `search.CommitSearch` holds it
until it commits to the branch, and people are asked first."""
