"""Solving a task step by step, with little thought where a step is easy and much where it is hard."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from ..core.errors import UsageError
from ..core.keys import derive_seed
from ..core.protocols import Meter, Model
from ..core.schemas import form_of_object
from ..core.types import NO_USAGE, Message, ModelRequest, Sampling, Task, Usage
from .planning import ask_json
from .prompts import fill

MOST_STEPS = 12

_THOUGHTS = re.compile(r"\A.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class Mode:
    """One way of thinking: a model, or one of its modes.

    Args:
        model: the model.
        switch: put behind every step's prompt, for models that are switched by a word, such as "/no_think".
        sampling: how it is sampled.
    """

    model: Model
    switch: str = ""
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=4096, temperature=0.6))


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One step of the solution."""

    question: str
    difficulty: float | None
    """In [0, 1]; None where the judge gave none, and then it was thought about."""
    mode: Literal["fast", "slow"]
    content: str
    """What the step came to, without the thoughts."""
    usage: Usage


@dataclass(frozen=True, slots=True)
class Stepwise:
    """A task that was solved step by step."""

    answer: str
    steps: tuple[StepTaken, ...]
    planning: Usage
    """What outlines and difficulties cost."""

    @property
    def usage(self) -> Usage:
        """All of it."""
        return sum((step.usage for step in self.steps), self.planning)

    def of_mode(self, mode: Literal["fast", "slow"]) -> Usage:
        """Return what the steps in one mode cost."""
        return sum((step.usage for step in self.steps if step.mode == mode), NO_USAGE)


async def solve_stepwise(
    task: Task,
    fast: Mode,
    slow: Mode,
    *,
    planner: Model | None = None,
    threshold: float = 0.5,
    outlines: int = 8,
    votes: int = 3,
    seed: int = 0,
) -> Stepwise:
    """Outline a task, judge every step's difficulty when it is its turn, and think slowly only where that is above `threshold`.

    Xiao et al. (2025), SCALE: selective resource allocation. Several outlines are sampled and the best is voted for; its last step
    is replaced by the task itself, so that a bad outline does no more harm than to waste its steps. Later steps see what
    earlier ones came to, not how. Where no outline has the form asked for, the task is the only step.

    Args:
        task: the task.
        fast: for easy steps.
        slow: for hard ones.
        planner: outlines and judges; the slow mode's model unless given.
        threshold: difficulty above which a step is thought about; 0 thinks about all of them, 1 about none.
        outlines: how many are sampled, >= 1.
        votes: how often the best one is asked for, >= 1.
        seed: of all calls.

    Raises:
        UsageError: an option is out of range.
        ModelError: a model cannot be had.
    """
    if not 0 <= threshold <= 1 or outlines < 1 or votes < 1:
        raise UsageError(
            f"solve_stepwise({threshold=}, {outlines=}, {votes=}): threshold lies in [0, 1], the others are >= 1"
        )
    model = planner or slow.model
    questions, planning = await _outline(model, task, outlines, votes, seed)
    done: list[StepTaken] = []
    for number, question in enumerate(questions):
        known = "\n".join(f"{n}. {step.question}: {step.content}" for n, step in enumerate(done, 1)) or "(nothing yet)"
        prompt = fill("step_difficulty", task=task.prompt, known=known, step=question)
        found, cost = await ask_json(model, prompt, _DIFFICULTY, seed=derive_seed(seed, 1000 + number), sampling=_BRIEF)
        planning += cost
        difficulty = None if found is None else float(found["difficulty"])
        hard = threshold <= 0 or difficulty is None or difficulty > threshold
        content, usage = await _take(slow if hard else fast, task, done, question, derive_seed(seed, 2000 + number))
        done.append(StepTaken(question, difficulty, "slow" if hard else "fast", content, usage))
    return Stepwise(done[-1].content, tuple(done), planning)


async def _take(mode: Mode, task: Task, done: Sequence[StepTaken], question: str, seed: int) -> tuple[str, Usage]:
    """Take one step in the conversation of those before it."""
    messages = [Message("user", f"{task.prompt}\n\nWe solve this step by step.")]
    for step in done:
        messages = [*_asked(messages, f"Next: {step.question}"), Message("assistant", step.content)]
    last = question == task.prompt
    ask = "Now give the final answer to the task." if last else f"Next: {question}"
    messages = _asked(messages, f"{ask} {mode.switch}".strip())
    meter = Meter()
    how = mode.sampling
    sampling = Sampling(how.max_tokens, how.temperature, how.top_p, how.top_k, how.min_p, seed, how.stop)
    reply = await mode.model.generate(ModelRequest(tuple(messages), sampling), meter)
    return _THOUGHTS.sub("", reply.text).strip(), meter.usage()


def _asked(messages: list[Message], text: str) -> list[Message]:
    """Add to the user's message where that is the last one: many chat templates want turns to alternate."""
    if messages[-1].role == "user":
        return [*messages[:-1], Message("user", f"{messages[-1].content}\n\n{text}")]
    return [*messages, Message("user", text)]


async def _outline(model: Model, task: Task, outlines: int, votes: int, seed: int) -> tuple[list[str], Usage]:
    """Return the steps of the outline that is voted best, the task itself the last."""
    prompt = fill("outline", task=task.prompt)
    drawn = await asyncio.gather(
        *(ask_json(model, prompt, _STEPS, seed=derive_seed(seed, n), sampling=_VARIED) for n in range(outlines))
    )
    usage = sum((cost for _, cost in drawn), NO_USAGE)
    found = [cast("list[str]", data["steps"]) for data, _ in drawn if data is not None]
    if not found:
        return [task.prompt], usage
    best = found[0]
    if len(found) > 1:
        shown = "\n\n".join(
            f"Outline {n}:\n" + "\n".join(f"- {step}" for step in steps) for n, steps in enumerate(found, 1)
        )
        choice = fill("outline_choice", task=task.prompt, outlines=shown)
        schema = form_of_object(best={"enum": list(range(1, len(found) + 1))})
        said = await asyncio.gather(
            *(ask_json(model, choice, schema, seed=derive_seed(seed, 500 + n), sampling=_VARIED) for n in range(votes))
        )
        usage += sum((cost for _, cost in said), NO_USAGE)
        ballots = Counter(int(data["best"]) for data, _ in said if data is not None)
        if ballots:
            best = found[min(ballots, key=lambda option: (-ballots[option], option)) - 1]
    return [*best[:-1], task.prompt], usage


_STEPS = form_of_object(
    steps={"type": "array", "minItems": 1, "maxItems": MOST_STEPS, "items": {"type": "string", "maxLength": 300}}
)
_DIFFICULTY = form_of_object(difficulty={"type": "number", "minimum": 0, "maximum": 1})
_VARIED = Sampling(max_tokens=1024, temperature=0.8, top_k=20)
_BRIEF = Sampling(max_tokens=64, temperature=0.0)
