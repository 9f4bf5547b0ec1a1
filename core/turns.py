"""Turns that were sampled in several segments: put together again from the steps of a trajectory.

A step of the kind "partial" is the beginning of a turn, or a further piece of it; each step holds only its own piece. What
reads a trajectory as turns, such as a prompt or a judge, sees them whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .types import Node, Step


def turns(path: Sequence[Node]) -> Iterator[tuple[Node, Step]]:
    """Yield the turns of a trajectory, each with the node that it ended at; a turn at the end that is not over is left out.

    Args:
        path: nodes from the root on.
    """
    open_steps: list[Step] = []
    for place, node in enumerate(path, start=1):
        if node.step is None or (node.step.held and place < len(path)):
            continue  # the step after a held one is the same with what came of it
        open_steps.append(node.step)
        if node.step.kind != "partial":
            yield node, _whole(open_steps)
            open_steps = []


def begun(path: Sequence[Node]) -> Sequence[Node]:
    """Return the nodes at the end of a trajectory that make up a turn which is not over; none where its last turn is."""
    first = len(path)
    while first > 0 and (step := path[first - 1].step) is not None and step.kind == "partial":
        first -= 1
    return path[first:]


def text_of(nodes: Sequence[Node]) -> str:
    """Return what the steps of some nodes said, one after the other without a gap."""
    return "".join(node.step.text for node in nodes if node.step is not None)


def closes(tag: str) -> str:
    """Return what ends a block of text that `<tag>` began."""
    return f"</{tag}>"


def is_open(text: str, tag: str) -> bool:
    """Whether the last block that `<tag>` began in a text has not ended."""
    return text.rfind(f"<{tag}>") > text.rfind(closes(tag))


def _whole(steps: Sequence[Step]) -> Step:
    """Return a turn's steps as one. Its log-probability is known where that of every piece is."""
    if len(steps) == 1:
        return steps[0]
    logprobs = [step.logprob for step in steps if step.logprob is not None]
    return replace(
        steps[-1],
        text="".join(step.text for step in steps),
        logprob=sum(logprobs) if len(logprobs) == len(steps) else None,
        framing=steps[0].framing,
    )
