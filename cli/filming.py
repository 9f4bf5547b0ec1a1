"""From `RUN/NODE` to a recording of how its web page was reached."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from ..core.errors import UsageError
from .loading import load_agent
from .nodes import find, store_of


async def record(console: Console, text: str, output: Path | None, video: Path | None, agent: str | None) -> None:
    """Do what led to a node again, and write the recordings.

    Args:
        console: where it is said what was written.
        text: `RUN[/NODE]`.
        output: the trace; in the run's folder where None.
        video: a video beside it; none where None.
        agent: `file.py:name` of the run's agent, where it is not where it was.

    Raises:
        UsageError: no such node, its agent is not known, has no browser, or a file cannot be written.
        SandboxError: the path cannot be done again; the message says from which step on.
    """
    from ..web import Browser
    from ..web.filming import film

    place = await find(text)
    source = agent or place.record.source
    if source is None:
        raise UsageError(
            f"run {place.record.run_id} was not begun from the command line; say its agent: --agent file.py:name"
        )
    spec = load_agent(source)[0].sandbox
    if not isinstance(spec, Browser):
        raise UsageError(f"the agent of run {place.record.run_id} works in no browser, so there is nothing to film")
    if place.ref is not None:
        store_of(place)  # says what to do where the state was dropped
    target = output or place.run.folder / f"trace-{place.node}.zip"
    supply = await spec.start(f"film-{place.record.run_id}", place.run.snapshots)
    try:
        steps = await film(supply, place.ref or "", target, video)
    finally:
        await asyncio.shield(supply.aclose())
    console.print(
        f"did {steps} steps again; look at them: playwright show-trace {target}", highlight=False, soft_wrap=True
    )
    if video is not None:
        console.print(f"video: {video}", highlight=False, soft_wrap=True)
