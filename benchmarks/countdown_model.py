"""Countdown by a real model: one search alone against helpers that it starts and joins, each with the same longest reply."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.core.simulated.countdown import Countdown
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models import connect

MODEL_PUZZLES = 8

NUMBERS, LARGEST = 3, 9
"""Of a puzzle: easy enough for a small model to solve some, hard enough to fail others."""

REPLY_TOKENS = 500

WORK = (
    "You solve arithmetic puzzles. Try one operation after the other, write down what is left after each, and go back where it does not lead to "
    "the target. The last line of your reply is only the expression. For example, to make 10 of 2, 3, 4:\n"
    "2 + 3 = 5, left 5, 4: 5 + 4 = 9, 5 * 4 = 20, 5 - 4 = 1: no\n"
    "2 * 3 = 6, left 6, 4: 6 + 4 = 10: yes\n"
    "2 * 3 + 4"
)

DIVIDE = (
    "You solve arithmetic puzzles with helpers. First call spawn with three tasks. Each task repeats the whole puzzle, all of its numbers and "
    "its target, and says with which operation on which two numbers the helper has to begin; each begins with another one. Then call join. "
    "Then answer with the expression of the helper whose expression is right, and nothing else."
)

WAYS = ("alone", "alone, three samples", "spawn and join")


@dataclass(frozen=True)
class Outcome:
    """How a puzzle went in one way."""

    seed: int
    way: str
    solved: bool
    sampled_tokens: int
    helpers: int
    seconds: float
    stop_reason: str


def expression(text: str) -> str:
    """Return what the last line with a number in it says, without words before it and marks around it."""
    lines = [line for line in text.splitlines() if re.search(r"\d", line)]
    last = lines[-1] if lines else ""
    return re.sub(r"^[^0-9(]*", "", last.strip().strip("`*$\\ ")).strip("`*$ ")


@bw.verifier
def solved(candidate: bw.Candidate) -> bool:
    """Judge an answer exactly, against the whole puzzle."""
    return Countdown.read(str(candidate.task.inputs["puzzle"])).solved_by(expression(candidate.answer or ""))


def agents(model: bw.Model) -> dict[str, bw.Agent]:
    """Return the ways of solving a puzzle."""
    worker = bw.Agent(
        name="worker",
        instructions=WORK,
        model=model,
        form="text",
        verifiers=[solved],
        sampling=bw.Sampling(max_tokens=REPLY_TOKENS, temperature=0.7),
    )
    leader = bw.Agent(
        name="leader",
        instructions=DIVIDE,
        model=model,
        form="json",
        verifiers=[solved],
        spawn=bw.Spawn(agent=worker, width=3, share=1.0),
        search=bw.search.BestOfN(n=1, depth=4),
        sampling=bw.Sampling(max_tokens=REPLY_TOKENS, temperature=0.2),
    )
    several = bw.search.BestOfN(n=3)
    return dict(zip(WAYS, (worker, replace(worker, search=several), leader), strict=True))


def kept(file: Path) -> list[Outcome]:
    """Return the outcomes of earlier runs."""
    return [Outcome(**json.loads(row)) for row in file.read_text().splitlines()] if file.exists() else []


async def compare(model: bw.Model, puzzles: int, state: Path, progress: Progress) -> dict[str, Any]:
    """Have a real model solve puzzles in each way; what was done before is not done again.

    Args:
        model: the model.
        puzzles: how many.
        state: folder of what was done.
        progress: shows it.
    """
    file = state / f"{re.sub(r'[^a-z0-9.-]+', '-', model.name.lower())}.jsonl"
    done = kept(file)
    bar = progress.add_task(model.name, total=puzzles * len(WAYS), completed=len(done))
    runner = LocalRunner(RunStore(state / "runs"))
    for seed in range(puzzles):
        task = Countdown.drawn(seed, NUMBERS, LARGEST).task()
        for way, agent in agents(model).items():
            if any((one.seed, one.way) == (seed, way) for one in done):
                continue
            began = monotonic()
            result = await runner.run(agent, task, bw.Budget(calls=12), seed=1)
            done.append(outcome(seed, way, result, monotonic() - began))
            with file.open("a") as rows:
                rows.write(json.dumps(asdict(done[-1])) + "\n")
            progress.advance(bar)
    ways = {way: figures([o for o in done if o.way == way and o.seed < puzzles]) for way in WAYS}
    return {"model": model.name, "ways": ways}


async def compare_named(name: str, puzzles: int, state: Path, progress: Progress) -> dict[str, Any]:
    """Connect a model, and compare."""
    model = await connect(name, context_tokens=3072, slots=3)
    try:
        return await compare(model, puzzles, state, progress)
    finally:
        await model.aclose()


def outcome(seed: int, way: str, result: bw.Result, seconds: float) -> Outcome:
    """Return what is kept of a run."""
    steps = [node.step for node in result.tree if node.step is not None and node.step.calls]
    told = [o.text for step in steps if step.calls[0].name == "spawn" for o in step.observations if o.ok]
    helpers = sum(len(re.findall(r"^h\d+: ", text, re.MULTILINE)) for text in told)
    sampled = result.usage.completion_tokens + result.usage.cancelled_tokens
    return Outcome(seed, way, result.accepted, sampled, helpers, round(seconds, 1), result.stop_reason)


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what one way came to."""
    return {
        "puzzles": len(outcomes),
        "solved": sum(o.solved for o in outcomes),
        "helpers": sum(o.helpers for o in outcomes),
        "sampled_tokens": sum(o.sampled_tokens for o in outcomes),
        "seconds": round(sum(o.seconds for o in outcomes), 1),
    }


def model_table(row: dict[str, Any]) -> Table:
    """The figures for people."""
    view = Table(title=f"Countdown with {NUMBERS} numbers, {row['model']}, replies of {REPLY_TOKENS} tokens at most")
    for title in ("way", "solved", "helpers", "sampled tokens", "seconds"):
        view.add_column(title, justify="left" if title == "way" else "right")
    for way, found in row["ways"].items():
        solved_of = f"{found['solved']} of {found['puzzles']}"
        view.add_row(way, solved_of, str(found["helpers"]), f"{found['sampled_tokens']:,}", f"{found['seconds']:,}")
    return view
