"""What a finished run teaches: how its task was solved, and which step followed on which."""

from __future__ import annotations

from itertools import pairwise

from ..core.protocols import Entry
from ..core.types import Node, Result

STEP_LIMIT_CHARS = 2_000
"""The end of a step is kept, so much of it."""


def said(node: Node) -> str:
    """Return what a step said, did and saw, as text to look things up by."""
    step = node.step
    if step is None:
        return ""
    calls = [f"{call.name} {' '.join(str(value) for value in call.arguments.values())}" for call in step.calls]
    return "\n".join(filter(None, [step.text, *calls, *(seen.text for seen in step.observations)]))


def lessons(task: str, result: Result) -> list[Entry]:
    """Return what is worth remembering of a run: nothing where its verifiers did not accept the answer.

    Args:
        task: the task's prompt.
        result: what the run came to.
    """
    if not result.accepted or result.node is None:
        return []
    path = result.tree.path(result.node)[1:]
    evidence = f"accepted in run {result.run_id}"
    steps = [said(node)[-STEP_LIMIT_CHARS:] for node in path]
    solution = "\n".join(filter(None, [*steps, result.answer or ""]))
    whole = Entry(task, f"{task}\n\n{solution[-2 * STEP_LIMIT_CHARS :]}", "task", evidence)
    return [whole, *(Entry(cue, f"{cue}\n\n{text}", "step", evidence) for cue, text in pairwise(steps) if cue and text)]
