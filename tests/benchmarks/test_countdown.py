"""Spawn and join on Countdown: what the method's specification asks for, on a few puzzles; and a real model's bookkeeping."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from pathlib import Path

import countdown
import countdown_model
import pytest

import branchwise as bw
from branchwise.core.simulated.countdown import Countdown
from branchwise.core.simulated.explorer import Explorer
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore

CONTEXT = 2_000


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


async def test_helpers_solve_more_at_equal_context_and_equal_latency(runner: LocalRunner) -> None:
    """In 8 puzzles, with no context above the cap though all work is, and the critical path that the formula says.

    What wins is what the helpers found: with conclusions that are made up it is lost.
    """
    solved = {"alone": 0, "divided": 0, "made up": 0}
    for seed in range(8):
        puzzle, explorer = Countdown.drawn(seed, largest=countdown.LARGEST), Explorer(seed, branches=12)
        alone = await countdown.play(puzzle, explorer, runner, divided=False, context_tokens=CONTEXT)
        divided = await countdown.play(puzzle, explorer, runner, divided=True, context_tokens=CONTEXT)
        assert max(alone.longest_tokens, divided.longest_tokens) <= CONTEXT
        assert divided.critical_path_tokens == countdown.formula(puzzle, explorer, CONTEXT)
        assert divided.critical_path_tokens <= divided.sampled_tokens
        assert divided.solved is any(puzzle.solved_by(text) for text in answers(divided))
        solved["alone"] += alone.solved
        solved["divided"] += divided.solved and divided.critical_path_tokens <= CONTEXT
        if seed < 3:
            liar = dataclasses.replace(explorer, made_up=1.0)
            solved["made up"] += (
                await countdown.play(puzzle, liar, runner, divided=True, context_tokens=CONTEXT)
            ).solved
    assert solved["divided"] >= solved["alone"] + 0.234 * 8, "points ahead in the paper, at 4,000 tokens"
    assert solved["made up"] == 0


def answers(played: countdown.Played) -> list[str]:
    """What the helpers concluded."""
    return [line.split(": ", 1)[1] for joined in played.joined for line in joined.splitlines() if " answers" in line]


class Shuffled:
    """Lets the helpers of a puzzle end in an order that a seed decides: each waits for the one before it.

    Args:
        explorer: the model.
        tasks: of the helpers.
        seed: of the order.
    """

    def __init__(self, explorer: Explorer, tasks: list[str], seed: int) -> None:
        order = random.Random(seed).sample(tasks, len(tasks))
        self._before = dict(zip(order[1:], order, strict=False))
        self._ended = {task: asyncio.Event() for task in tasks}
        self.ended: list[str] = []
        self.inner = explorer.model(slots=len(tasks))
        self.name, self.slots, self.native_tools = self.inner.name, self.inner.slots, False
        self.prompt_tokens, self.price, self.aclose = self.inner.prompt_tokens, self.inner.price, self.inner.aclose

    async def generate(self, request: ModelRequest, meter: bw.models.Meter) -> object:
        """Reply when it is this one's turn."""
        task = request.messages[1].content.strip()
        if task not in self._ended:
            return await self.inner.generate(request, meter)
        if task in self._before:
            await self._ended[self._before[task]].wait()
        self.ended.append(task)
        self._ended[task].set()
        return await self.inner.generate(request, meter)


async def test_the_order_in_which_helpers_end_changes_nothing(runner: LocalRunner) -> None:
    """The joined text is the same to the letter; no helper goes on when the run has ended."""
    puzzle, explorer = Countdown.drawn(2, largest=countdown.LARGEST), Explorer(2, branches=6)
    tasks = [str(fork) for fork in explorer.order(puzzle)[:6]]
    joined: set[tuple[str, ...]] = set()
    orders: set[tuple[str, ...]] = set()
    for seed in range(4):
        model = Shuffled(explorer, tasks, seed)
        agent = bw.Agent(name="explorer", model=model, spawn=bw.Spawn(width=64), slots=8)  # type: ignore[arg-type]
        task = Task(prompt=str(puzzle), inputs={"puzzle": str(puzzle)})
        result = await runner.run(agent, task, bw.Budget(), seed=1)
        steps = [node.step for node in result.tree if node.step is not None]
        joined.add(
            tuple(
                o.text for step in steps if step.calls[:1] and step.calls[0].name == "join" for o in step.observations
            )
        )
        orders.add(tuple(model.ended))
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("search")]
    assert len(orders) == 4
    assert len(joined) == 1


async def test_a_comparison_goes_on_where_it_was(tmp_path: Path) -> None:
    """Puzzles that were done are not done again; each way is counted by itself."""

    def reply(request: ModelRequest) -> str:
        words = request.messages[-1].content
        if request.response_schema is None:
            return "let me see\n(1 + 2) * 3"
        if "helpers" not in words and "started" not in words and "answers" not in words:
            return json.dumps({"thought": "", "tool": "spawn", "args": {"tasks": ["a", "b", "c"]}})
        name = "join" if "started" in words else "answer"
        return json.dumps({"thought": "", "tool": name, "args": {} if name == "join" else {"text": "1"}})

    model = ScriptedModel(reply, slots=3, native_tools=False)
    progress = countdown.Progress(disable=True)
    first = await countdown_model.compare(model, 2, tmp_path, progress)
    asked = len(model.requests)
    again = await countdown_model.compare(model, 2, tmp_path, progress)
    assert first == again
    assert asked == len(model.requests)
    ways = first["ways"]
    assert [row["puzzles"] for row in ways.values()] == [2, 2, 2]
    assert ways["spawn and join"]["helpers"] == 6
    assert ways["alone, three samples"]["sampled_tokens"] == 3 * ways["alone"]["sampled_tokens"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("First 1 + 2 = 3.\n\nAnswer: (1 + 2) * 3", "(1 + 2) * 3"),
        ("**(1 + 2) * 3**\nThat is it.", "(1 + 2) * 3"),
        ("nothing", ""),
    ],
)
def test_the_expression_of_a_reply(text: str, read: str) -> None:
    """The last line with a number, without words before it and marks around it."""
    assert countdown_model.expression(text) == read
