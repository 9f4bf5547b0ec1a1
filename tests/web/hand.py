"""Finding references in what was shown, as a reader would."""

from __future__ import annotations

import re

from branchwise.web import Observation, Outcome, WebEnvironment, parse_action


def ref(seen: Observation, words: str) -> str:
    """Return the reference that stands before some words."""
    found = re.search(r"\[((?:f\d+)?e\d+)\][^\[]*?" + re.escape(words), "\n".join(seen.lines))
    assert found is not None, f"{words!r} is not in {seen.lines}"
    return found[1]


async def do(env: WebEnvironment, words: str, kind: str = "click", *, final: bool = False, **more: object) -> Outcome:
    """Look at the page, and do something to what some words stand at."""
    seen = await env.observe()
    return await env.act(parse_action({"do": kind, "ref": ref(seen, words), **more}), final=final)


def shown(outcome: Outcome) -> str:
    """Return the page's lines after an action."""
    assert outcome.observation is not None
    return "\n".join(outcome.observation.lines)
