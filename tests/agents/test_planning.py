"""Planning calls: what is asked, what becomes of bad replies, and what the solving prompt says."""

from __future__ import annotations

import json

import pytest

from branchwise.agents.planning import BudgetedPlan, plan_budget
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task

TASK = Task(prompt="How many days are there in three leap years?")
PARTS = [{"question": "Days in a leap year?", "hint": "February"}, {"question": "Times three?", "hint": "multiply"}]


def planner(levels: object = None, parts: object = None) -> ScriptedModel:
    """A model that plans like this."""

    def reply(request: ModelRequest) -> str:
        if "Split the task" in request.messages[0].content:
            return json.dumps({"parts": PARTS} if parts is None else parts)
        marks = [{"level": 2, "credit": 75}, {"level": 1, "credit": 25}]
        return json.dumps({"level": 2, "parts": marks} if levels is None else levels)

    return ScriptedModel(reply, native_tools=False)


async def test_a_task_is_split_judged_and_given_words() -> None:
    """Two calls; the budget of the level, by credit and place; planning is charged."""
    model = planner()
    plan = await plan_budget(model, TASK, schedule="linear")
    assert len(model.requests) == 2
    assert [part.question for part in plan.parts] == ["Days in a leap year?", "Times three?"]
    assert (plan.level, plan.words) == (2, 250)
    assert [part.words for part in plan.parts] == [215, 35]
    assert plan.usage.calls == 2
    assert plan.usage.completion_tokens > 0
    assert plan.compliance(500) == 2.0


async def test_the_variants_say_what_they_should() -> None:
    """From nothing at all to a budget for every question."""
    plan = await plan_budget(planner(), TASK, schedule="constant")
    assert plan.prompt("vanilla") == TASK.prompt
    assert "up to" not in plan.prompt("planned")
    assert plan.prompt("global").endswith("use up to 250 words in all.")
    both = plan.prompt("planned+global")
    assert "250 words in all" in both
    assert "1. Days in a leap year? (February)" in both
    assert plan.prompt("uniform").count("up to 125 words") == 2
    weighted = plan.as_task().prompt
    assert "up to 188 words" in weighted
    assert "up to 62 words" in weighted
    assert weighted.startswith(TASK.prompt)


@pytest.mark.parametrize("parts", ["nonsense", {"parts": []}, {"parts": [{"question": 3, "hint": ""}]}, {}])
async def test_a_plan_that_is_none_leaves_the_task_whole(parts: object) -> None:
    """Asked twice, then the task is its own only question."""
    model = planner(parts=parts, levels={"level": 4, "parts": [{"level": 4, "credit": 10}]})
    plan = await plan_budget(model, TASK)
    assert [part.question for part in plan.parts] == [TASK.prompt]
    assert plan.parts[0].words == plan.words == 450
    assert len(model.requests) == 3


async def test_levels_that_are_none_are_the_middle() -> None:
    """Equal credits, level 3."""
    plan = await plan_budget(planner(levels={"level": 9, "parts": []}), TASK, schedule="constant")
    assert isinstance(plan, BudgetedPlan)
    assert [part.words for part in plan.parts] == [175, 175]
