"""What is checked and kept around a run: its record, who holds it, what people answered."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import IO

from ..agents.agent import Agent
from ..core.budget import LIMITS
from ..core.errors import UsageError
from ..core.people import Approval
from ..core.protocols import Strategy
from ..core.types import JSON, Budget, Task
from ..models.accounts import CallLog
from .journal import Run, RunRecord, new_run_id, new_seed


def new_record(
    agent: Agent, strategy: Strategy, task: Task, budget: Budget, *, seed: int | None, run_id: str | None
) -> RunRecord:
    """Return the record of a new run."""
    seed = new_seed() if seed is None else seed
    return RunRecord(
        run_id=run_id or new_run_id(),
        agent=agent.name,
        task=task.model_dump(mode="json"),
        budget=budget.model_dump(mode="json", exclude_defaults=True),
        seed=seed,
        strategy=repr(strategy.fresh(seed)),
        selector=repr(agent.select),
        team=repr(agent.team),
        variants=[variant.name for variant in agent.variants],
        model=agent.model if isinstance(agent.model, str) else agent.model.name,
    )


def differing(record: RunRecord, agent: Agent, strategy: str) -> list[str]:
    """Return what a run was begun with where the agent is another now."""
    now = {
        "agent": agent.name,
        "strategy": strategy,
        "selector": repr(agent.select),
        "team": repr(agent.team),
        "variants": [variant.name for variant in agent.variants],
    }
    return [f"{name} {getattr(record, name)}, not {it}" for name, it in now.items() if getattr(record, name) != it]


def more_than(new: Budget, old: Budget) -> bool:
    """Whether one budget allows more of something than another one."""
    pairs = [(getattr(new, name), getattr(old, name)) for name in (*LIMITS, "seconds")]
    return any(before is not None and (now is None or now > before) for now, before in pairs)


def questions_of(record: RunRecord) -> dict[str, str]:
    """Return the kinds of the questions that a run waits for, by their ids."""
    rows: list[dict[str, JSON]] = record.summary.get("questions", [])
    return {str(row["id"]): str(row["kind"]) for row in rows}


def take_answers(run: Run, record: RunRecord, answers: Mapping[str, JSON]) -> None:
    """Keep what people answered where the run will find it.

    Raises:
        UsageError: a question is not open, or the answer is none to it.
    """
    kinds = questions_of(record)
    for question, answer in answers.items():
        if question not in kinds:
            raise UsageError(
                f"run {record.run_id} has no question {question!r}; open are: {', '.join(kinds) or 'none'}"
            )
        if kinds[question] == "approve":
            Approval.read(answer)
        if answer is None:
            raise UsageError(f"None is no answer to question {question!r}")
    with locked(run), CallLog(run.calls_path) as log:
        for question, answer in answers.items():
            log.give_answer(question, answer)


@contextmanager
def locked(run: Run) -> Generator[IO[str]]:
    """Hold the run for this process; the kernel lets it go if the process dies.

    Raises:
        UsageError: another process is running it.
    """
    with (run.folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UsageError(f"run {run.folder.name} is going on in process {file.read().strip() or '?'}") from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield file
