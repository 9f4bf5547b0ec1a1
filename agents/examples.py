"""Examples that a model solved itself: kept where its answer was right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core.errors import BranchwiseError, UsageError
from ..core.types import Budget, Result
from ..search.best_of_n import BestOfN
from ..search.equivalence import Same, equal
from .agent import Agent


@dataclass(frozen=True, slots=True)
class Example:
    """A solved task."""

    prompt: str
    solution: str
    """How the model came to the answer, in its own words, the answer included."""
    answer: str

    def shown(self) -> str:
        """Return it as a prompt shows it."""
        return f"Task: {self.prompt.strip()}\nSolution: {self.solution.strip()}"


async def solved_examples(
    agent: Agent,
    tasks: Iterable[tuple[str, str]],
    *,
    same: Same = "text",
    budget: Budget | None = None,
    at_once: int = 4,
    seed: int | None = None,
) -> list[Example]:
    """Have an agent solve tasks whose answers are known, and return those that it solved as examples for `FewShot`.

    One trajectory each. What it got wrong, or could not do, is left out: a right answer is what vouches for the reasoning before
    it (Nori et al. 2023).

    Args:
        agent: solves them, without search and without its variants.
        tasks: prompts with their right answers.
        same: when an answer is the right one (`search.equivalence`).
        budget: of each task.
        at_once: tasks in progress at once, >= 1.
        seed: makes it repeatable.

    Raises:
        UsageError: the agent cannot work as it is.
    """
    if at_once < 1:
        raise UsageError(f"at_once={at_once!r}; at least one task must be in progress")
    room = asyncio.Semaphore(at_once)

    async def solve(prompt: str, right: str) -> Example | None:
        async with room:
            try:
                result = await agent.run(prompt, budget=budget, seed=seed, search=BestOfN(n=1))
            except UsageError:
                raise
            except BranchwiseError:  # this task could not be done; others can
                return None
        answer = result.answer
        if answer is None or not equal(answer, right, same):
            return None
        return Example(prompt, _solution(result), answer)

    jobs = [asyncio.create_task(solve(prompt, right)) for prompt, right in tasks]
    try:
        solved = await asyncio.gather(*jobs)
    finally:
        for job in jobs:
            job.cancel()
    return [example for example in solved if example is not None]


def save_examples(examples: Iterable[Example], path: str | Path) -> None:
    """Write examples, one JSON object per line."""
    lines = [json.dumps(asdict(example), ensure_ascii=False) + "\n" for example in examples]
    Path(path).write_text("".join(lines), encoding="utf-8")


def load_examples(path: str | Path) -> list[Example]:
    """Return the examples that `save_examples` wrote.

    Raises:
        UsageError: the file does not hold examples.
    """
    examples: list[Example] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            examples.append(Example(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path}, line {number} is no example; save_examples writes them: {error}") from error
    return examples


def _solution(result: Result) -> str:
    """Return what the model said on the way to its answer, and the answer."""
    assert result.node is not None
    said = [node.step.text.strip() for node in result.tree.path(result.node) if node.step is not None]
    answer = (result.answer or "").strip()
    return "\n".join(filter(None, [*said, "" if said and answer in said[-1] else answer]))
