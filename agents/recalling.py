"""What an agent remembers of earlier runs, looked up for a step and shown to the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.errors import UsageError
from ..core.protocols import EntryKind, Memory
from ..core.tree import TreeView
from ..core.types import Framing, Node, Recall, Task
from ..memory import said
from ..verifiers.fence import fenced
from .prompts import fill

CONTEXT_LIMIT_CHARS = 2_000
"""The end of what a step follows on is looked up, so much of it."""


def always(framing: Framing | None, recall: Recall | None) -> Framing | None:
    """Return a framing that looks up what the agent always wants of its memory, unless the strategy asks for something there."""
    if recall is None or (framing is not None and framing.recall is not None):
        return framing
    return replace(framing or Framing(), recall=recall)


async def recalled(
    framing: Framing | None, path: Sequence[Node], view: TreeView, task: Task, memory: Memory | None
) -> Framing | None:
    """Return a framing with what the memory has for it.

    What is found stands in the step, so that the trajectory's later prompts are the same whatever the memory learns meanwhile.

    Args:
        framing: what the strategy wants; nothing is looked up where it does not say so.
        path: the trajectory to the node that is expanded.
        view: the tree.
        task: the task.
        memory: the agent's.

    Raises:
        UsageError: the agent has no memory.
    """
    if framing is None or framing.recall is None:
        return framing
    if memory is None:
        raise UsageError(
            "the strategy looks things up in the agent's memory, and there is none; give Agent(memory=...)"
        )
    wanted = framing.recall
    context, kind = _context(framing, path, view, task)
    found = await memory.query(context, 2 * wanted.k + 4, kind)
    fitting = [one.entry.text for one in found if wanted.floor <= one.likeness <= wanted.ceiling]
    return replace(framing, recalled=tuple(dict.fromkeys(fitting))[: wanted.k])


def _context(framing: Framing, path: Sequence[Node], view: TreeView, task: Task) -> tuple[str, EntryKind]:
    """Return what entries must be like: the task with what is shown beside it, later the step that is gone on from."""
    if len(path) > 1:
        return said(path[-1])[-CONTEXT_LIMIT_CHARS:], "step"
    shown = [view[node].answer or said(view[node]) for node in framing.shown]
    return "\n".join([task.prompt, *shown])[-CONTEXT_LIMIT_CHARS:], "task"


def remembered(entries: Sequence[str]) -> str:
    """Return the text by which a prompt shows what was recalled; empty where nothing was."""
    if not entries:
        return ""
    return fill(
        "recalled", entries="\n\n".join(fenced(f"example {n}", text) for n, text in enumerate(entries, start=1))
    )
