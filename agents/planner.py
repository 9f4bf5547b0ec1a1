"""The planner: whether a task is divided, into what, and what a result must fulfil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from ..core.errors import UsageError
from ..core.protocols import Model
from ..core.schemas import form_of_object
from ..core.types import JSON, Task
from ..verifiers.fence import fenced
from .planning import ask_json
from .prompts import fill


@dataclass(frozen=True)
class Planner:
    """Asks a model for a plan before the search: `Agent(plan=Planner())`.

    Args:
        model: `provider:model` or a `Model` that plans; the agent's own unless given.
        most_parts: into how many parts a task may be divided, >= 0; 0 only states constraints.
    """

    model: str | Model | None = None
    most_parts: int = 4

    def __post_init__(self) -> None:
        if self.most_parts < 0:
            raise UsageError(f"Planner(most_parts={self.most_parts}): must not be negative; 0 does not divide tasks")

    async def plan(self, model: Model, task: Task, seed: int) -> Plan:
        """Return a plan; one without parts where the model says so, or nothing that can be used.

        Args:
            model: plans, under the run's budget.
            task: the task.
            seed: of the call.

        Raises:
            ModelError: the model cannot be had.
            BudgetExceeded: not even a short reply fits into what is left.
        """
        text: dict[str, JSON] = {"type": "string", "maxLength": 400}
        part = form_of_object(task=text, share={"type": "integer", "minimum": 1, "maximum": 100})
        form = form_of_object(
            parts={"type": "array", "minItems": 0, "maxItems": self.most_parts, "items": part},
            constraints={"type": "array", "minItems": 0, "maxItems": 8, "items": text},
        )
        found, _ = await ask_json(model, fill("decompose", task=task.prompt), form, seed=seed)
        rows = cast("list[dict[str, JSON]]", (found or {}).get("parts") or [])
        shares = [float(row["share"]) for row in rows]
        parts = tuple(
            PlannedPart(str(row["task"]).strip(), share / sum(shares)) for row, share in zip(rows, shares, strict=True)
        )
        constraints = tuple(str(line).strip() for line in cast("list[JSON]", (found or {}).get("constraints") or []))
        # A single part is the task in other words.
        return Plan(parts if len(parts) > 1 else (), tuple(line for line in constraints if line))


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """What one search is to do."""

    task: str
    share: float
    """Of the effort for all parts, in (0, 1]."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a planner said. Without parts the task is done in one piece."""

    parts: tuple[PlannedPart, ...] = ()
    constraints: tuple[str, ...] = ()

    def part(self, number: int, task: Task, found: Sequence[str]) -> Task:
        """Return the task of a part, which is told what those before it found."""
        prompt = fill("part", part=self.parts[number].task, task=task.prompt, found=_found(found))
        return task.model_copy(update={"prompt": prompt})

    def whole(self, task: Task, found: Sequence[str]) -> Task:
        """Return the task with its constraints and what the parts found."""
        if not self.constraints and not found:
            return task
        lines = "\n".join(f"- {line}" for line in self.constraints)
        constraints = f"The result must fulfil all of this:\n{lines}" if lines else ""
        prompt = fill("whole", task=task.prompt, constraints=constraints, found=_found(found))
        return task.model_copy(update={"prompt": prompt})

    def to_json(self) -> dict[str, JSON]:
        """The plan as plain data."""
        parts = [{"task": part.task, "share": round(part.share, 3)} for part in self.parts]
        return {"parts": parts, "constraints": [*self.constraints]}

    @classmethod
    def from_json(cls, data: dict[str, JSON]) -> Plan:
        """Return the plan that `to_json` wrote."""
        parts = tuple(PlannedPart(str(row["task"]), float(row["share"])) for row in data["parts"])
        return cls(parts, tuple(str(line) for line in data["constraints"]))


def retry(task: Task, answer: str | None, feedback: str) -> Task:
    """Return the task once more, with an attempt that was not accepted and what was said of it.

    What an attempt changed in files is not shown: the next one begins with them.
    """
    attempt = fenced("the attempt", answer) if answer is not None else "Its files are those that you find."
    said = fenced("the check", feedback) if feedback else "nothing more than that"
    return task.model_copy(update={"prompt": fill("retry", task=task.prompt, attempt=attempt, feedback=said)})


def _found(found: Sequence[str]) -> str:
    lines = "\n".join(fenced(f"part {number}", text) for number, text in enumerate(found, start=1))
    return f"What the parts before found:\n{lines}" if lines else ""
