"""Taking notes of what explorers and provers report, and having code look at what they say of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...agents.prompts import fill
from ...core.errors import BudgetExceeded, ModelError
from ...core.protocols import Model
from ...core.schemas import form_of_object
from ...core.types import JSON, Result
from ...verifiers.fence import fenced
from ...verifiers.grounding import Grounding
from .run_memory import RunMemory

if TYPE_CHECKING:
    from ..stage import Stage

_LINE: dict[str, JSON] = {"type": "string", "maxLength": 400}
_MOST = 6
"""Statements of a kind in one report."""


async def take_notes(
    stage: Stage, name: str, memory: RunMemory, report: str, model: str | Model | None
) -> dict[str, JSON]:
    """Return what a report says, by kinds of statements; nothing where nobody could take notes of it.

    Args:
        stage: where.
        name: of the call.
        memory: whose open claims the report may have refuted.
        report: of an explorer or a prover.
        model: takes the notes; the agent's own unless given.
    """
    lines: dict[str, JSON] = {"type": "array", "minItems": 0, "maxItems": _MOST, "items": _LINE}
    fact = form_of_object(text=_LINE, program={"type": "string", "maxLength": 2000})
    number: JSON = {"type": "integer", "minimum": 1, "maximum": 1000}
    form = form_of_object(
        facts={**lines, "items": fact},
        failed=lines,
        open=lines,
        refuted={**lines, "items": number},
        answer={"type": "string"},
    )
    prompt = fill(
        "notes", task=fenced("task", stage.task.prompt), claims=memory.claims(), report=fenced("report", report)
    )
    try:
        reply = await stage.ask_json(name, prompt, form, model=model)
    except (ModelError, BudgetExceeded):
        reply = None
    return reply or {"facts": [], "failed": [], "open": [], "refuted": [], "answer": ""}


async def grounded(stage: Stage, name: str, result: Result, facts: Sequence[JSON]) -> tuple[list[str], list[str]]:
    """Return the statements that code shows, and those that it does not show.

    Args:
        stage: where; without a sandbox code shows nothing.
        name: of the check.
        result: of the search that reported them.
        facts: rows with a `text`, and a `program` where there is one.
    """
    rows = [(str(fact["text"]), str(fact["program"]).strip()) for fact in facts]
    programs = {text: program for text, program in rows if program}
    shown: dict[str, float] = {}
    if programs and stage.agent.sandbox is not None:
        for verdict in await stage.judge(name, result, [Grounding(programs)]):
            shown |= verdict.per_constraint or {}
    good = [text for text, _ in rows if shown.get(text) == 1.0]
    return good, [text for text, _ in rows if text not in good]
