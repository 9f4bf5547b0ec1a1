"""What the options of the command line mean, and earlier runs as they were begun from there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UsageError

if TYPE_CHECKING:
    from ..agents import Agent
    from ..core.protocols import Strategy
    from ..core.types import Budget, Task
    from ..graphs import RunRecord
    from .running import Session


def read_goal(agent: str, task: str | None, web: str | None) -> tuple[str, str]:
    """Return an agent's source and its task: with `--url` the one argument is the task.

    Raises:
        UsageError: one of them is missing, or too many were given.
    """
    if web is not None and task is not None:
        raise UsageError(f"with --url there is no agent's file: leave out {agent!r}, and give what is to be done alone")
    source, goal = (agent, task) if web is None else (web, agent)
    if goal is None:
        raise UsageError(
            f"what is to be done is missing: branchwise run {agent} TASK; for an agent in a browser give --url as well"
        )
    if not goal.strip():
        raise UsageError("the task is empty; say what is to be done")
    return source, goal


def read_budget(**limits: Any) -> Budget:
    """Return the budget that options say.

    Raises:
        UsageError: one is out of range.
    """
    from pydantic import ValidationError

    from ..core.types import Budget

    try:
        # None says that nothing was given, except where it takes a default limit away.
        given = {name: value for name, value in limits.items() if value is not None or name == "snapshot_bytes"}
        return Budget(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"budget {first['loc'][0]}={first['input']!r}: {first['msg'].lower()}") from error


def disk(gigabytes: float | None) -> dict[str, int]:
    """Return the limit of what states take on disk, where one was given."""
    return {} if gigabytes is None else {"snapshot_bytes": int(gigabytes * 1e9)}


def with_verifiers(agent: Agent, added: Sequence[str]) -> Agent:
    """Return the agent with further verifiers."""
    if not added:
        return agent
    from ..verifiers.named import parse_verifier

    return dataclasses.replace(agent, verifiers=[*agent.verifiers, *map(parse_verifier, added)])


def read_strategy(search: str) -> Strategy | None:
    """Return the strategy that a text names.

    Raises:
        UsageError: it names none.
    """
    from ..search.named import parse_strategy

    return parse_strategy(search)


def read_action(text: str | None) -> dict[str, Any] | None:
    """Return the action that `TOOL={JSON}` says.

    Raises:
        UsageError: it is not of that form.
    """
    if text is None:
        return None
    tool, _, arguments = text.partition("=")
    try:
        return {"tool": tool, "arguments": json.loads(arguments or "{}")}
    except ValueError as error:
        raise UsageError(f"--action {text!r} must be TOOL={{JSON}}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Began:
    """An earlier run, with the agent as it was begun: the file's, with what the command line had added."""

    record: RunRecord
    agent: Agent
    source: str
    strategy: Strategy | None
    """Where it is not the agent's own, so that `--search` need not be repeated."""
    task: Task

    @classmethod
    def load(cls, run_id: str, moved: str | None) -> Began:
        """Load a run's record and its agent.

        Args:
            run_id: the run, or a unique beginning of its id.
            moved: `file.py:name` of the agent, where it is not where it was.

        Raises:
            UsageError: no such run, or nobody knows its agent.
        """
        from ..core.types import Task
        from ..graphs import RunStore
        from ..search.named import recorded_selector, recorded_strategy
        from .loading import load_agent

        record = RunStore().open(run_id).load()
        source = moved or record.source
        if source is None:
            raise UsageError(
                f"run {record.run_id} was not begun from the command line; say its agent: --agent file.py:name"
            )
        agent, source = load_agent(source)
        own = record.strategy == repr(agent.strategy.fresh(record.seed))
        if record.selector != repr(agent.select) and (selector := recorded_selector(record.selector)) is not None:
            agent = dataclasses.replace(agent, select=selector)
        agent = with_verifiers(agent, record.added)
        return cls(record, agent, source, None if own else recorded_strategy(record.strategy), Task(**record.task))

    def session(
        self, task: Task, strategy: Strategy | None, *, apply: bool, as_json: bool, log: Path | None
    ) -> Session:
        """Return what takes a run of the agent to its end at the terminal."""
        from .running import Session

        return Session(self.agent, task, strategy, apply, as_json, log)
