"""Thinking slowly only where a step is hard."""

from __future__ import annotations

import json

import pytest

from branchwise.agents.stepwise import Mode, Stepwise, solve_stepwise
from branchwise.core.errors import UsageError
from branchwise.core.simulated.models import TwoModelSteps
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, ModelResponse, Task, Usage

TASK = Task(prompt="Do the whole task.")
STEPS = 10
FAST_TOKENS, SLOW_TOKENS = 20, 400
"""What a step costs without and with thinking."""


def planner(world: TwoModelSteps, *, outlines: bool = True) -> ScriptedModel:
    """Outlines ten steps, votes for the second outline, and judges difficulty by what the world lets be seen of it."""

    def reply(request: ModelRequest) -> str:
        text = request.messages[0].content
        if text.startswith("Outline how"):
            return json.dumps({"steps": [f"step {n}" for n in range(STEPS)]} if outlines else {"plan": []})
        if text.startswith("Here are outlines"):
            return json.dumps({"best": 2})
        number = STEPS - 1 if f"Next step:\n{TASK.prompt}" in text else int(text.rsplit("step ", 1)[1])
        return json.dumps({"difficulty": min(1.0, max(0.0, world.entropy(number) / 2))})

    return ScriptedModel(reply, native_tools=False)


async def solved(world: TwoModelSteps, threshold: float) -> Stepwise:
    """A simulated task by two modes."""
    fast, slow = (Mode(world.model(size)) for size in ("small", "large"))  # type: ignore[arg-type]
    return await solve_stepwise(
        TASK, fast, slow, planner=planner(world), threshold=threshold, outlines=3, seed=world.seed
    )


async def measured(auroc: float, threshold: float, tasks: int = 40) -> tuple[float, float]:
    """Mean accuracy of the steps in the modes that were chosen, and tokens beside thinking about all of them."""
    right = tokens = 0.0
    for seed in range(tasks):
        world = TwoModelSteps(seed, STEPS, small=(0.985, 0.7), large=(0.99, 0.95), seconds=(0.0, 0.0), auroc=auroc)
        for number, step in enumerate((await solved(world, threshold)).steps):
            right += world.accuracy("large" if step.mode == "slow" else "small", number)
            tokens += SLOW_TOKENS if step.mode == "slow" else FAST_TOKENS
    return right / tasks / STEPS, tokens / tasks / STEPS / SLOW_TOKENS


async def test_nearly_as_right_for_much_less() -> None:
    """A judge with AUROC .9 and 30 % hard steps: within 1 % of thinking about all, at no more than 60 % of the tokens."""
    everything, full = await measured(0.9, 0.0)
    chosen, cost = await measured(0.9, 0.535)
    assert full == 1.0
    assert chosen > everything - 0.01
    assert cost <= 0.6


async def test_a_judge_that_guesses_is_random_routing() -> None:
    """The ablation: at the same rate the accuracy is that of choosing steps at random."""
    chosen, cost = await measured(0.5, 0.5)
    everything, _ = await measured(0.5, 0.0)
    nothing, none = await measured(0.5, 1.0)
    rate = (cost - none) / (1 - none)
    assert chosen == pytest.approx(nothing + rate * (everything - nothing), abs=0.012)


async def test_the_ends_of_the_threshold() -> None:
    """0 thinks about every step, 1 about none; the last step is the task itself."""
    world = TwoModelSteps(1, STEPS, seconds=(0.0, 0.0))
    slow, fast = await solved(world, 0.0), await solved(world, 1.0)
    assert {step.mode for step in slow.steps} == {"slow"}
    assert {step.mode for step in fast.steps} == {"fast"}
    assert len(slow.steps) == STEPS
    assert slow.steps[-1].question == TASK.prompt
    assert slow.answer == slow.steps[-1].content
    assert slow.usage.calls == 3 + 3 + STEPS + STEPS
    assert slow.of_mode("slow").calls == STEPS
    assert slow.of_mode("fast") == Usage()


async def test_a_bad_outline_solves_the_task_at_once() -> None:
    """No usable outline, no usable difficulty: the task is the one step, and is thought about. Thoughts are not passed on."""

    def think(request: ModelRequest) -> ModelResponse:
        assert request.messages[-1].content.endswith("/think")
        return ModelResponse("<think>let me see</think>\n42", Usage())

    world = TwoModelSteps(1)
    slow = Mode(ScriptedModel(think), "/think")
    found = await solve_stepwise(TASK, slow, slow, planner=ScriptedModel(lambda _request: "no"), outlines=2)
    assert [(step.question, step.difficulty, step.mode) for step in found.steps] == [(TASK.prompt, None, "slow")]
    assert found.answer == "42"
    with pytest.raises(UsageError, match="threshold"):
        await solve_stepwise(TASK, slow, slow, threshold=1.5)
    assert world.seed == 1


async def test_later_steps_see_what_earlier_ones_came_to() -> None:
    """As turns of one conversation that alternate, without the thoughts."""
    seen: list[ModelRequest] = []

    def answer(request: ModelRequest) -> str:
        seen.append(request)
        return f"<think>hm</think>result {len(seen)}"

    mode = Mode(ScriptedModel(answer))
    await solve_stepwise(TASK, mode, mode, planner=planner(TwoModelSteps(1, STEPS)), outlines=2, votes=1)
    third = seen[2].messages
    assert [message.role for message in third] == ["user", "assistant", "user", "assistant", "user"]
    assert [message.content for message in third[1::2]] == ["result 1", "result 2"]
