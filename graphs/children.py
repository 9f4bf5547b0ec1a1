"""The searches within a search: started by tool calls, ended with their parent at the latest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..agents.agent import Agent
from ..core.errors import UsageError
from ..core.events import Joined, Spawned
from ..core.people import Question, Waiting
from ..core.types import Budget, Result, Task
from .checks import check

if TYPE_CHECKING:
    from ..core.budget import Ledger
    from .scope import Scope

MOST_CHILDREN: Final = 256
"""Searches that may be started within one search, over its whole life."""

MOST_LEVELS: Final = 4
"""Searches that may be within one another."""


@dataclass
class ScopeChildren:
    """Implements `core.protocols.Children` for one search.

    Args:
        scope: where the parent takes place.
        report: told of beginnings and ends, for the parent's journal.
    """

    scope: Scope
    report: Callable[[Spawned | Joined], None]
    _running: dict[str, asyncio.Task[Result]] = field(default_factory=dict[str, "asyncio.Task[Result]"], init=False)
    _interrupted: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def depth(self) -> int:
        """How many searches that started others the parent is within."""
        return self.scope.level

    def share(self, part: float) -> Budget:
        """Return a part of what is left of every limit; the deadline stays."""
        if not 0 < part <= 1:
            raise UsageError(f"a share of {part!r} of the budget; it must be more than 0 and at most 1")
        return self.scope.share(part)

    def start(
        self,
        name: str,
        agent: Agent,
        task: Task,
        *,
        origin: str | None = None,
        budget: Budget | None = None,
        payer: Ledger | None = None,
    ) -> asyncio.Future[Result]:
        """Start a search unless it was started before."""
        if name not in self._running:
            if self.depth + 1 > MOST_LEVELS:
                raise UsageError(f"searches within searches go {MOST_LEVELS} levels deep at most")
            if len(self._running) >= MOST_CHILDREN:
                raise UsageError(f"a search may start {MOST_CHILDREN} searches within it at most")
            check(agent, agent.strategy, task)
            scope = self.scope.within(name, budget, deeper=True, payer=payer)
            scope.own = origin  # what its parent gives it are its task's own files
            self.report(Spawned(name, agent.name, task.prompt))
            self._running[name] = asyncio.create_task(
                self._run(scope, name, agent, task, origin), name=f"search {name}"
            )
        return self._running[name]

    async def _run(self, scope: Scope, name: str, agent: Agent, task: Task, origin: str | None) -> Result:
        try:
            result = await scope.work(agent, task, strategy=agent.strategy, origin=origin, once=True)
        except asyncio.CancelledError:
            self.report(Joined(name, "cancelled"))
            raise
        except Exception as error:
            self.report(Joined(name, f"{type(error).__name__}: {error}"))
            raise
        if result.stop_reason == "waiting":
            raise Waiting(*result.questions)
        if result.stop_reason == "interrupted":
            self._interrupted.set()
            await asyncio.Event().wait()  # the whole run is: the parent must not take it for a conclusion and stops us
        self.report(Joined(name, result.stop_reason, result.answer, result.accepted))
        return result

    async def cancel(self, name: str) -> None:
        """Stop a search and wait until it is gone."""
        if (task := self._running.get(name)) is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def settle(self) -> tuple[Question, ...]:
        """Wait until each has ended or waits for people, or the run is interrupted; return what they wait for.

        A parent that waits for people stops no search for that: it would have to be paid for again.
        """
        interrupted = asyncio.create_task(self._interrupted.wait())
        try:
            while not interrupted.done() and (going := [task for task in self._running.values() if not task.done()]):
                await asyncio.wait([*going, interrupted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted.cancel()
        ended = [task for task in self._running.values() if task.done() and not task.cancelled()]
        waiting = [error for task in ended if isinstance(error := task.exception(), Waiting)]
        return tuple(question for error in waiting for question in error.questions)

    async def close(self) -> None:
        """Stop all of them and wait until they are gone."""
        await asyncio.gather(*(self.cancel(name) for name in self._running))
        for task in self._running.values():
            if not task.cancelled():
                task.exception()  # whoever joined it has seen it; nobody else needs to hear of it
