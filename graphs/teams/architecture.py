"""Which Archon suits an agent's tasks: searched for on exercises, under a cost cap."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from pydantic import ValidationError

from ...agents.agent import Agent
from ...core.errors import JournalError, UsageError
from ...core.keys import derive_seed
from ...core.types import JSON, Budget, Result, Task
from ...search.equivalence import Named, equal
from ..journal import RunStore
from ..runner import LocalRunner
from ..running import Running
from .archon import Archon
from .archon_space import Space
from .tuning import Measured, Notes, Row, Tuned, Tuner

Score: TypeAlias = Callable[["Exercise", Result], float]
"""What a result of an exercise is worth, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Exercise:
    """A task to measure by."""

    task: Task
    answer: str | None = None
    """The right answer; None where the agent's verifiers say whether a result is right."""


def read_exercises(path: str | Path) -> list[Exercise]:
    """Return the exercises of a file: one JSON object per line, with `prompt`, and `answer`, `files` and `inputs` where there are any.

    Raises:
        UsageError: the file does not hold exercises.
    """
    found: list[Exercise] = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the exercises {str(path)!r} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = dict(json.loads(line))
            answer = row.pop("answer", None)
            found.append(Exercise(Task(**row), None if answer is None else str(answer)))
        except (ValueError, TypeError, ValidationError) as error:
            raise UsageError(
                f'{path}, line {number} is no exercise; write {{"prompt": ..., "answer": ...}}, with files and inputs where there are any: {error}'
            ) from error
    return found


def score_by(same: Named) -> Score:
    """Return what says whether a result is right: its answer is the known one, or the agent's verifiers accepted it."""

    def score(exercise: Exercise, result: Result) -> float:
        right = result.accepted if exercise.answer is None else equal(result.answer, exercise.answer, same)
        return float(right)

    return score


async def architecture_search(
    agent: Agent,
    exercises: Iterable[Exercise | tuple[str, str]],
    *,
    budget: Budget | None = None,
    trials: int | None = None,
    space: Space | None = None,
    score: Score | Named = "text",
    task_budget: Budget | None = None,
    fresh: float = 0.4,
    at_once: int = 4,
    seed: int = 0,
    folder: str | Path | None = None,
    listener: Callable[[Row], None] = lambda _row: None,
) -> Tuned[Archon]:
    """Search for the Archon that suits an agent's tasks: `replace(agent, team=found.best)` is the agent with it.

    Saad-Falcon et al. (2024), inference-time architecture search. Begins with the plainest Archons (`Space.single_layers`), goes on with what an
    optimiser proposes, stops the worse ones after a few exercises (`Tuner`), and measures the best five, and the best three of the plainest,
    on exercises that were kept back. Every configuration gets the same exercises with the same seeds. Needs the extra `tune`.

    Args:
        agent: the agent; a team that it has is replaced.
        exercises: tasks with right answers; of an `Exercise` without one the agent's verifiers decide.
        budget: cap over all runs together: tokens, calls, usd.
        trials: proposals at most.
        space: the Archons to choose from.
        score: what a result is worth: a function, or when answers are the same (`search.equivalence`).
        task_budget: of each run.
        fresh: part of the exercises that is kept back for the last comparison, in [0, 1).
        at_once: runs in progress at once, >= 1.
        seed: makes the search repeatable, and is what runs of one exercise have in common.
        folder: where the search is kept; given again, also after a kill, it goes on. None forgets.
        listener: told every row of the log.

    Raises:
        UsageError: too few exercises, no end was set, or the folder holds another search.
    """
    given = [one if isinstance(one, Exercise) else Exercise(Task(prompt=one[0]), one[1]) for one in exercises]
    kept_back = round(fresh * len(given))
    if not 0 <= fresh < 1 or len(given) - kept_back < 1:
        raise UsageError(
            f"{len(given)} exercises, fresh={fresh}: at least one must be there to search by, and fresh in [0, 1)"
        )
    among = space or Space()
    with TemporaryDirectory(prefix="branchwise-") as nowhere:
        place = Path(nowhere if folder is None else folder)
        right = score if callable(score) else score_by(score)
        measure = _Runs(agent, shuffled(given, seed), right, LocalRunner(RunStore(place / "runs")), seed, task_budget)
        tuner = Tuner(
            among.choices,
            among.archon,
            measure,
            items=len(given) - kept_back,
            fresh=kept_back,
            budget=budget or Budget(),
            trials=trials,
            first=among.single_layers(),
            at_once=at_once,
            seed=seed,
            store=None if folder is None else place / "search.sqlite",
            listener=listener,
            about=_about(agent, given),
        )
        return await tuner.run()


def _about(agent: Agent, exercises: Sequence[Exercise]) -> dict[str, JSON]:
    """Return what tells this search from one for another agent, or with other exercises."""
    model = agent.model if isinstance(agent.model, str) else agent.model.name
    tasks = [[one.task.model_dump(mode="json"), one.answer] for one in exercises]
    return {"agent": agent.name, "instructions": agent.instructions, "model": model, "exercises": tasks}


def shuffled(exercises: Sequence[Exercise], seed: int) -> list[Exercise]:
    """Return exercises in an order that the seed decides: files often begin with the easy ones."""
    order = list(exercises)
    random.Random(seed).shuffle(order)  # noqa: S311 - chance, not secrecy
    return order


@dataclass(frozen=True)
class _Runs:
    """Measures an Archon on an exercise by a run, which is gone on with where a kill cut it off."""

    agent: Agent
    exercises: Sequence[Exercise]
    score: Score
    runner: LocalRunner
    seed: int
    task_budget: Budget | None

    async def __call__(self, configuration: Archon, item: int, budget: Budget, notes: Notes) -> Measured:
        """Run the agent with the Archon."""
        agent, exercise = replace(self.agent, team=configuration), self.exercises[item]
        allowed = _tighter(self.task_budget, budget)
        result = None if notes.known is None else await self._gone_on(agent, notes.known, allowed)
        if result is None:

            def started(running: Running) -> None:
                notes.note(running.run_id)

            seed = derive_seed(self.seed, f"item {item}")
            result = await self.runner.begin(agent, exercise.task, allowed, seed=seed, started=started)
        self.runner.store.open(result.run_id).remove()
        # Its own budget may end a run like any other; what is left of the cap may not.
        short = result.stop_reason == "budget" and allowed != self.task_budget
        return Measured(self.score(exercise, result), result.usage, short)

    async def _gone_on(self, agent: Agent, run_id: str, budget: Budget) -> Result | None:
        """Return what a run comes to that an earlier process began; None where nothing of it can be used."""
        with suppress(UsageError, JournalError):
            return await self.runner.go_on(agent, run_id, budget=budget)
        return None


def _tighter(one: Budget | None, other: Budget) -> Budget:
    """Return the limits that keep both budgets; `one` itself where the other adds nothing to it."""
    if one is None:
        return other
    limits = {name: value for name, value in other if value is not None and name != "snapshot_bytes"}
    tighter = {name: value for name, value in limits.items() if (mine := getattr(one, name)) is None or value < mine}
    return one.model_copy(update=tighter) if tighter else one
