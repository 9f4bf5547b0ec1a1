"""An agent that is to make three crosses on the small site's main page, with scripted replies: a whole search over pages."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest
from branchwise.web import Browser

from .hand import do


def clicker(browser: Browser, before: Callable[[], Awaitable[None]]) -> bw.Agent:
    """Return the agent.

    Args:
        browser: begins at the main page.
        before: called before every click.
    """

    @bw.tool(effects="sandbox")
    async def click(ctx: bw.Context, name: str) -> str:
        """Click the button of a name."""
        await before()
        return (await do(bw.web.pages(ctx), f'"{name}"')).told

    replies = itertools.chain(["Later", "Add", "Tell"], itertools.repeat("Add"))

    def reply(request: ModelRequest) -> str:
        if any("xxx" in message.content for message in request.messages):
            return '{"thought": "there", "tool": "answer", "args": {"text": "xxx"}}'
        return f'{{"thought": "so", "tool": "click", "args": {{"name": "{next(replies)}"}}}}'

    @bw.verifier(name="crosses", scope="state")
    async def crosses(candidate: bw.Candidate) -> float:
        async with candidate.open(candidate.node.env_ref) as env:
            lines = (await bw.web.pages(env).observe()).lines
        return max((len(line) / 3 for line in lines if re.fullmatch("x{1,3}", line)), default=0.0)

    @bw.verifier(name="says-so", scope="answer")
    def says_so(candidate: bw.Candidate) -> bool:
        return candidate.answer == "xxx"

    return bw.Agent(
        "clicker",
        ScriptedModel(reply, slots=1, native_tools=False),
        tools=[click],
        verifiers=[crosses, says_so],
        search=bw.search.BestFirst(width=2, depth=4),
        sandbox=browser,
        slots=1,
    )
