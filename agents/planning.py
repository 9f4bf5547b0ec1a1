"""Planning before solving: a task is split into questions, each judged and given a budget of words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from ..core.errors import ModelOutputInvalid
from ..core.protocols import Meter, Model
from ..core.schemas import form_of_object
from ..core.types import JSON, NO_USAGE, Message, ModelRequest, Sampling, Task, Usage
from ..search.token_plan import LEVEL_TOKENS, Schedule, largest_remainder, share_tokens
from .prompts import fill

MOST_PARTS = 5

Variant = Literal["vanilla", "planned", "global", "planned+global", "uniform", "weighted"]
"""What the solving prompt says: nothing more; the questions; one budget for all; both; the same budget for each question; its own."""


@dataclass(frozen=True, slots=True)
class Part:
    """One question of a plan."""

    question: str
    hint: str = ""
    level: int = 3
    """Difficulty from 1 to 5."""
    credit: float = 1.0
    """Its share of the work; any scale."""
    words: int = 0
    """What it may use."""


@dataclass(frozen=True, slots=True)
class BudgetedPlan:
    """A task with its questions and their budgets."""

    task: Task
    level: int
    words: int
    """For the whole task."""
    parts: tuple[Part, ...]
    usage: Usage = NO_USAGE
    """What planning cost: part of what the answer costs."""

    def prompt(self, variant: Variant = "weighted") -> str:
        """Return the prompt of the one call that solves the task."""
        if variant == "vanilla":
            return self.task.prompt
        equal = largest_remainder(self.words, [1.0] * len(self.parts))
        words = {"weighted": [part.words for part in self.parts], "uniform": equal}.get(variant)
        how = [f"Think only a little: use up to {self.words} words in all."] if "global" in variant else []
        if variant != "global":
            how.append("Answer these questions one after the other, then the task.")
        lines = [] if variant == "global" else [_line(n, part, words) for n, part in enumerate(self.parts)]
        return fill("plan_solve", task=self.task.prompt, how="\n".join(how), questions="\n".join(lines))

    def as_task(self, variant: Variant = "weighted") -> Task:
        """Return the task with that prompt, for an agent to run."""
        return self.task.model_copy(update={"prompt": self.prompt(variant)})

    def compliance(self, used: int) -> float:
        """Return what was used / what was allowed: a prompt asks for a budget, it does not enforce one."""
        return used / self.words


def _line(number: int, part: Part, words: Sequence[int] | None) -> str:
    hint = f" ({part.hint})" if part.hint else ""
    budget = f" Think only a little, use up to {words[number]} words." if words is not None else ""
    return f"{number + 1}. {part.question}{hint}{budget}"


async def plan_budget(
    model: Model, task: Task, *, schedule: Schedule = "cosine", words: Mapping[int, int] | None = None, seed: int = 0
) -> BudgetedPlan:
    """Split a task, judge its parts, and share out a budget that grows with its difficulty: two calls.

    Lin et al. (2025), Plan and Budget. A reply that is not of the form asked for leaves the task whole.

    Args:
        model: plans; under a budget where the caller's model is.
        task: the task.
        schedule: what a part's place is worth beside its credit.
        words: budget by level; `LEVEL_TOKENS` unless given.
        seed: of the two calls.

    Raises:
        ModelError: the model cannot be had.
    """
    budgets = LEVEL_TOKENS if words is None else words
    found, usage = await ask_json(model, fill("plan_parts", task=task.prompt), _PARTS, seed=seed)
    rows = cast("list[dict[str, JSON]]", (found or {}).get("parts") or [])[:MOST_PARTS]
    parts = [Part(str(row["question"]), str(row.get("hint", ""))) for row in rows] or [Part(task.prompt)]
    questions = "\n".join(f"{number}. {part.question}" for number, part in enumerate(parts, 1))
    judged, more = await ask_json(
        model, fill("plan_levels", task=task.prompt, questions=questions), _levels(len(parts)), seed=seed
    )
    level = int((judged or {}).get("level", 3))
    marks = cast("list[dict[str, JSON]]", (judged or {}).get("parts") or [{} for _ in parts])
    deserved = [max(0.0, float(mark.get("credit", 1.0))) for mark in marks]
    shares = share_tokens(budgets[level], deserved, schedule)
    final = tuple(
        Part(part.question, part.hint, int(mark.get("level", 3)), credit, share)
        for part, mark, credit, share in zip(parts, marks, deserved, shares, strict=True)
    )
    return BudgetedPlan(task, level, budgets[level], final, usage + more)


_TEXT: dict[str, JSON] = {"type": "string", "maxLength": 300}
_PARTS = form_of_object(
    parts={"type": "array", "minItems": 1, "maxItems": MOST_PARTS, "items": form_of_object(question=_TEXT, hint=_TEXT)}
)


def _levels(parts: int) -> dict[str, JSON]:
    level: dict[str, JSON] = {"enum": [1, 2, 3, 4, 5]}
    item = form_of_object(level=level, credit={"type": "integer", "minimum": 0, "maximum": 100})
    return form_of_object(level=level, parts={"type": "array", "minItems": parts, "maxItems": parts, "items": item})


async def ask_json(
    model: Model,
    prompt: str,
    schema: Mapping[str, JSON],
    *,
    seed: int = 0,
    sampling: Sampling | None = None,
    attempts: int = 2,
) -> tuple[dict[str, JSON] | None, Usage]:
    """Return a reply of the form that a schema says, and what it cost; None where no attempt gave one.

    Args:
        model: is asked.
        prompt: what.
        schema: form of the reply, enforced by the server; what it requires must be there all the same.
        seed: of the first attempt.
        sampling: how; greedy for up to 1024 tokens unless given.
        attempts: how often to ask, >= 1.

    Raises:
        ModelError: the model cannot be had.
    """
    spent = NO_USAGE
    base = sampling or Sampling(temperature=0.0)
    for attempt in range(attempts):
        how = Sampling(base.max_tokens, base.temperature, base.top_p, base.top_k, seed=seed + attempt)
        meter = Meter()
        try:
            request = ModelRequest((Message("user", prompt),), how, response_schema=schema)
            reply = await model.generate(request, meter)
            data = json.loads(reply.text)
        except (ModelOutputInvalid, ValueError):
            data = None
        spent += meter.usage()
        if _fits(data, schema):
            return cast("dict[str, JSON]", data), spent
    return None, spent


def _fits(data: JSON, schema: Mapping[str, JSON]) -> bool:
    """Whether data has what a schema of ours requires: all servers promise it, not all keep it."""
    match schema:
        case {"properties": properties}:
            return isinstance(data, dict) and all(
                name in data and _fits(cast("dict[str, JSON]", data)[name], part) for name, part in properties.items()
            )
        case {"items": item, "minItems": least, "maxItems": most}:
            rows = cast("Sequence[JSON]", data) if isinstance(data, list) else ()
            return least <= len(rows) <= most and all(_fits(row, item) for row in rows)
        case {"enum": options}:
            return data in options
        case {"minimum": least, "maximum": most}:
            return isinstance(data, int | float) and not isinstance(data, bool) and least <= data <= most
        case _:
            return isinstance(data, str)
