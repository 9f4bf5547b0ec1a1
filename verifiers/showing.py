"""What a judge is shown of a candidate."""

from __future__ import annotations

import difflib
import json
from typing import Literal

from ..core.protocols import Candidate
from ..core.turns import begun, text_of, turns
from ..core.types import Step

Show = Literal["answer", "steps", "changes", "pages"]
"""The final answer; the whole trajectory with its answer; the changes to the task's files; what was done on pages, and the last one."""

OBSERVATION_LIMIT_CHARS = 1_000

PAGE_LIMIT_CHARS = 4_000
"""So much of the last page is shown."""


def shown(candidate: Candidate, show: Show) -> str:
    """Return what a candidate did, as text."""
    if show == "answer":
        return candidate.answer or "(no answer yet)"
    if show == "changes":
        return _changes(candidate)
    if show == "pages":
        return _pages(candidate)
    parts = [_step(step) for _, step in turns(candidate.path)]
    parts.append(text_of(begun(candidate.path)))
    if (answer := candidate.answer) is not None and not any(part.endswith(answer) for part in parts[-2:]):
        parts.append(f"Final answer: {answer}")
    return "\n\n".join(filter(None, parts)) or "(nothing yet)"


def _step(step: Step) -> str:
    lines = [step.text] if step.text else []
    seen = {observation.call_id: observation.text for observation in step.observations}
    for call in step.calls:
        lines.append(f"[calls {call.name} {json.dumps(dict(call.arguments), ensure_ascii=False)}]")
        if call.id in seen:
            lines.append(f"[sees] {seen[call.id][:OBSERVATION_LIMIT_CHARS]}")
    return "\n".join(lines)


def _pages(candidate: Candidate) -> str:
    """Return the actions in order, each in one line with what came of it, then the last page, then the answer."""
    steps = [step for _, step in turns(candidate.path) if step.kind != "answer"]
    lines = [f"{number}. {_in_short(step)}" for number, step in enumerate(steps, 1)]
    pages = [seen.text for step in steps for seen in step.observations if "\n" in seen.text]
    parts = ["Done so far:\n" + ("\n".join(lines) or "nothing")]
    if pages:
        parts.append(f"The page now:\n{pages[-1].partition(chr(10))[2][:PAGE_LIMIT_CHARS]}")
    if candidate.answer is not None:
        parts.append(f"It ended with the answer: {candidate.answer or '(none)'}")
    return "\n\n".join(parts)


def _in_short(step: Step) -> str:
    """Return what a step did, in the first line of what it saw where that says so."""
    if not step.calls:
        return step.text[:200] or "(nothing)"
    call = step.calls[0]
    seen = step.observations[0] if step.observations else None
    asked = f"{call.name} {json.dumps(dict(call.arguments), ensure_ascii=False)}"
    if seen is None:
        return asked
    first = seen.text.partition("\n")[0][:300]
    return first if seen.ok else f"{asked} failed: {first}"


def _changes(candidate: Candidate) -> str:
    origin, state = candidate.origin_ref, candidate.node.env_ref
    if origin is None or state is None or origin == state:
        return "(no file was changed)"
    changed, gone = candidate.diff(origin, state)
    before, _ = candidate.diff(state, origin)
    parts = [f"deleted {path}" for path in gone]
    for path, content in changed.items():
        old, new = (text.decode("utf-8", "replace").splitlines() for text in (before.get(path, b""), content))
        parts.append("\n".join(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")))
    return "\n".join(parts)
