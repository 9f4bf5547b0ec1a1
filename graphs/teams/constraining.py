"""What graphs around constraints share: a model that states them, one that checks a search's choice, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from ...agents.prompts import fill
from ...core.errors import BudgetExceeded, ModelError
from ...core.protocols import Model
from ...core.schemas import form_of_object
from ...core.types import JSON, Result, Task
from ...verifiers.checklist import Constraint
from ...verifiers.constraints import Constraints
from ...verifiers.fence import fenced
from ..solve import best

if TYPE_CHECKING:
    from ..stage import Stage

Row = dict[str, JSON]
"""One attempt, as a graph keeps it: `name` of its search, chosen `node`, `stop_reason`, `value` and `passed` by the last check, the
grades of the constraints that were checked as `grades`, the names of those that hold as `met`, what was said as `feedback`, and
`parent`, the name of the attempt that it revises."""


async def state_constraints(stage: Stage, most: int, model: str | Model | None = None) -> list[dict[str, JSON]]:
    """Return the constraints that a model reads out of the task, as plain data; none where it cannot be asked.

    The constraint agent of PlanGEN (2025). What a statement needs must stand before it; other needs are dropped, so that
    there are no circles.

    Args:
        stage: where.
        most: at most so many.
        model: states them; the agent's own unless given.
    """
    need: JSON = {"type": "integer", "minimum": 1, "maximum": most}
    statement = form_of_object(
        text={"type": "string", "maxLength": 300},
        needs={"type": "array", "minItems": 0, "maxItems": most, "items": need},
    )
    form = form_of_object(constraints={"type": "array", "minItems": 0, "maxItems": most, "items": statement})
    try:
        reply = await stage.ask_json("constraints", fill("constraints", task=stage.task.prompt), form, model=model)
    except (ModelError, BudgetExceeded):
        reply = None
    rows = cast("list[dict[str, JSON]]", (reply or {}).get("constraints") or [])
    texts = [str(row["text"]).strip() for row in rows]
    return [
        Constraint(text, f"m{place}", tuple(f"m{n}" for n in _needs(row, place, texts))).to_json()
        for place, (text, row) in enumerate(zip(texts, rows, strict=True), start=1)
        if text
    ]


def _needs(row: dict[str, JSON], place: int, texts: Sequence[str]) -> list[int]:
    wanted = {int(n) for n in cast("list[JSON]", row["needs"])}
    return sorted(n for n in wanted if 1 <= n < place and texts[n - 1])


def all_constraints(given: Sequence[Constraint], stated: Sequence[dict[str, JSON]]) -> tuple[Constraint, ...]:
    """Return the constraints that a user gave and those that a model stated."""
    return (*given, *(Constraint.from_json(row) for row in stated))


def constrained(task: Task, constraints: Sequence[Constraint]) -> Task:
    """Return the task with what a result must fulfil."""
    if not constraints:
        return task
    lines = "\n".join(f"- {constraint.text}" for constraint in constraints)
    told = f"The result must fulfil all of this:\n{lines}"
    return task.model_copy(update={"prompt": fill("whole", task=task.prompt, constraints=told, found="")})


async def check_choice(
    stage: Stage, name: str, result: Result, verifier: Constraints | None, parent: str | None = None
) -> Row:
    """Return the row of an attempt: what a checklist says of a search's choice.

    Args:
        stage: where.
        name: of the search; the check is called after it.
        result: what it came to.
        verifier: the checklist; without one the verdicts of the search stand.
        parent: the attempt that this one revises.
    """
    row: Row = {"name": name, "node": result.node, "stop_reason": result.stop_reason, "parent": parent}
    none: Row = {"value": None, "passed": False, "grades": {}, "met": [], "feedback": ""}
    if result.node is None:
        return row | none
    if verifier is None:
        said = "\n".join(f"[{v.verifier}] {v.feedback}" for v in result.verdicts if v.feedback)
        return row | none | {"value": result.confidence, "passed": result.accepted, "feedback": said}
    verdicts = await stage.judge(f"check-{name}", result, [verifier])
    if not verdicts:  # the choice is no answer, so there is nothing that could be checked
        return row | none | {"feedback": "there is no answer yet"}
    [verdict] = verdicts
    grades = dict(verdict.per_constraint or {})
    met = [constraint for constraint, grade in grades.items() if verifier.holds(grade)]
    seen: Row = {"value": verdict.value, "passed": bool(verdict.passed), "grades": grades, "met": met}
    return row | seen | {"feedback": verdict.feedback}


def edit(task: Task, constraints: Sequence[Constraint], row: Row, answer: str | None) -> Task:
    """Return the task of mending what an attempt violates, and only that.

    Args:
        task: the task.
        constraints: all of them.
        row: of the attempt.
        answer: that of the attempt; None where it is files, with which the search begins.
    """
    attempt = "Its files are those that you find." if answer is None else f"It is:\n{fenced('version', answer)}"
    met = [f"- {c.text}" for c in constraints if c.name in row["met"]]
    return task.model_copy(
        update={
            "prompt": fill(
                "edit",
                task=task.prompt,
                attempt=attempt,
                met="\n".join(met) or "- none",
                violated=fenced("check", str(row["feedback"]) or "nothing was said of them"),
            )
        }
    )


def stale(rows: Sequence[Row]) -> int:
    """Return how many attempts there were since the best one."""
    return 0 if not rows else len(rows) - 1 - rows.index(best([*rows]))


def changes(rows: Sequence[Row]) -> dict[str, int]:
    """Return how often revising turned what was accepted into what was not and the other way round; the same by constraint."""
    by_name = {str(row["name"]): row for row in rows}
    pairs = [(by_name[str(row["parent"])], row) for row in rows if row["parent"] is not None]
    passed = [(bool(one["passed"]), bool(other["passed"])) for one, other in pairs]
    return {
        "right_to_wrong": passed.count((True, False)),
        "wrong_to_right": passed.count((False, True)),
        "constraints_broken": sum(len({*one["met"]} - {*other["met"]}) for one, other in pairs),
        "constraints_mended": sum(len({*other["met"]} - {*one["met"]}) for one, other in pairs),
    }
