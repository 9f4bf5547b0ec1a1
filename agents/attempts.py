"""Other trajectories as a prompt shows them: what was tried, what came of it, what the verifiers said."""

from __future__ import annotations

import json

from ..core.tree import TreeView
from ..core.turns import begun, text_of, turns
from ..core.types import Framing, Node, NodeId, Step
from ..verifiers.fence import fenced
from .prompts import fill
from .recalling import remembered

ATTEMPT_LIMIT_CHARS = 4_000
"""The end of an attempt is shown up to this length: it is where its answer stands."""

CALL_LIMIT_CHARS = 600


def framed(framing: Framing, view: TreeView) -> str:
    """Return the text that a framing adds to the prompt; empty where it adds nothing."""
    return "\n\n".join(filter(None, [remembered(framing.recalled), _shown(framing, view)]))


def _shown(framing: Framing, view: TreeView) -> str:
    if not framing.shown:
        return framing.note
    attempts = [_attempt(number, node, view) for number, node in enumerate(framing.shown, start=1)]
    return fill("attempts", attempts="\n\n".join(attempts), note=framing.note)


def _attempt(number: int, node: NodeId, view: TreeView) -> str:
    """Return one attempt. What it says, or what its programs printed, stands in fences: it cannot pass for another attempt."""
    said = "\n".join(f"[{v.verifier}] {v.feedback}" for v in view.verdicts(node) if v.feedback)
    parts = [f"Attempt {number} {_judged(node, view)}:", fenced(f"attempt {number}", _tried(view.path(node)))]
    return "\n".join([*parts, *([fenced(f"said of attempt {number}", said)] if said else [])])


def _judged(node: NodeId, view: TreeView) -> str:
    value = view.value(node)
    if value is None:
        return "(not judged)"
    decided = any(verdict.passed is not None for verdict in view.verdicts(node))
    verdict = "" if not decided else ", accepted" if view.passed(node) else ", rejected"
    return f"(score {value:.2f} of 1{verdict})"


def _tried(path: list[Node]) -> str:
    """Return what was tried: the actions in order, then the answer, or the turn that was not over."""
    actions = [_action(step) for _, step in turns(path)]
    text = "\n".join(filter(None, [*actions, path[-1].answer or "", text_of(begun(path))]))
    return text if len(text) <= ATTEMPT_LIMIT_CHARS else "… " + text[-ATTEMPT_LIMIT_CHARS:]


def _action(step: Step) -> str:
    """Return one step as a line for each call; an answer's own text stands in the node."""
    if step.kind == "answer":
        return ""
    calls = [f"{call.name}({_short(json.dumps(dict(call.arguments), ensure_ascii=False))})" for call in step.calls]
    return "\n".join(calls) if calls else step.text


def _short(text: str) -> str:
    return text if len(text) <= CALL_LIMIT_CHARS else text[:CALL_LIMIT_CHARS] + " …"
