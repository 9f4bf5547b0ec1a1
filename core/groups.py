"""Searches within a search, from Python: a block that starts them, joins them, and leaves none behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, Self

from .errors import UsageError
from .people import Question, Waiting
from .protocols import Children, Context
from .types import Budget, Result, Task

Until = Literal["all", "first", "ready"] | int
"""When a join is over: all have ended; the first has a valid answer; at once; so many have valid answers."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a search within another one came to: all that its parent gets of it."""

    name: str
    task: str
    """Its prompt."""
    answer: str | None
    valid: bool
    """Whether its verifiers accepted the answer; where it has none, whether there is an answer."""
    reason: str
    """Why it stopped; what broke it where it failed."""
    failed: bool = False


class Child:
    """A search that was started within another one.

    Args:
        name: of the search.
        task: what it is to do.
        judged: whether its agent has verifiers.
        running: the search, or what waits for it.
    """

    def __init__(self, name: str, task: Task, *, judged: bool, running: asyncio.Future[Result]) -> None:
        self.name = name
        self.task = task
        self._judged = judged
        self.running = running
        """The search, to wait for. Cancelling it stops it."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.running.done()

    @property
    def questions(self) -> tuple[Question, ...]:
        """What it waits for people to answer; it goes on when its run is resumed with the answers."""
        stopped = None if not self.done or self.running.cancelled() else self.running.exception()
        return stopped.questions if isinstance(stopped, Waiting) else ()

    def conclusion(self) -> Conclusion:
        """Return what it came to.

        Raises:
            UsageError: it has not ended, or waits for people.
        """
        if not self.done or self.questions:
            raise UsageError(f"search {self.name!r} has not ended; join it first")
        if self.running.cancelled():
            return Conclusion(self.name, self.task.prompt, None, valid=False, reason="cancelled", failed=True)
        if (error := self.running.exception()) is not None:
            reason = f"{type(error).__name__}: {error}"
            return Conclusion(self.name, self.task.prompt, None, valid=False, reason=reason, failed=True)
        result = self.running.result()
        valid = result.accepted if self._judged else result.answer is not None
        return Conclusion(self.name, self.task.prompt, result.answer, valid=valid, reason=result.stop_detail)

    def result(self) -> Result:
        """Return the whole result of a search that has ended.

        Raises:
            UsageError: it has not ended, or was cancelled.
            Exception: what broke it.
        """
        if not self.done or self.running.cancelled():
            raise UsageError(f"search {self.name!r} has no result: it {'was cancelled' if self.done else 'goes on'}")
        return self.running.result()


class Group:
    """Searches that one tool call starts: `async with ctx.group() as group: group.spawn(agent, task)`.

    They begin with the files as they are when the block is entered, each in a sandbox of its own. Leaving the block stops
    those that go on and waits until they are gone.

    Args:
        ctx: of the tool call.
        budget: what each of them may spend unless told otherwise.

    Raises:
        UsageError: there is no run in which they could take place.
    """

    def __init__(self, ctx: Context, budget: Budget | None = None) -> None:
        if ctx.children is None:
            raise UsageError("no search can be started here: the call is not part of a run, or only repeats an action")
        self._place: Children = ctx.children
        self._ctx = ctx
        self._budget = budget
        self._origin: str | None = None
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        if self._ctx.environment is not None:
            self._origin = await self._ctx.environment.snapshot()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(self._place.cancel(child.name) for child in self._children))

    def spawn(self, agent: Any, task: str | Task, *, budget: Budget | None = None) -> Child:
        """Start a search and return at once.

        Args:
            agent: an `Agent`.
            task: what is to be done; it sees nothing else of its parent.
            budget: what it may spend of what is left here.

        Raises:
            UsageError: the agent cannot work here, or there are too many searches.
        """
        given = task if isinstance(task, Task) else Task(prompt=task)
        self._ctx.spawned += 1
        name = f"{self._ctx.call}.{self._ctx.spawned}"
        origin = self._origin if getattr(agent, "sandbox", None) is not None else None
        running = self._place.start(name, agent, given, origin=origin, budget=budget or self._budget)
        child = Child(
            name, given, judged=bool(getattr(agent, "verifiers", ()) or getattr(agent, "final", ())), running=running
        )
        self._children.append(child)
        return child

    async def join(
        self, *children: Child, until: Until = "all", seconds: float | None = None, cancel_rest: bool = False
    ) -> list[Conclusion]:
        """Wait, then return what the searches that have ended came to, in the order in which they were started.

        Args:
            children: which ones; all of the group unless given.
            until: when to stop waiting.
            seconds: wait at most so long.
            cancel_rest: stop those that go on after that.

        Raises:
            Waiting: no more can be had before people have answered; the call begins again then.
        """
        waited = list(children) or self._children
        ended = await join(waited, until, seconds)
        if cancel_rest:
            await asyncio.gather(*(self._place.cancel(child.name) for child in waited if not child.done))
        return [child.conclusion() for child in ended]


async def join(children: Sequence[Child], until: Until = "all", seconds: float | None = None) -> list[Child]:
    """Wait for searches as `Group.join` does; return those that have ended, in the order given.

    One that waits for people does not stop the others: they are waited for as if it went on.

    Raises:
        Waiting: all others have ended, and that is not enough.
    """
    deadline = None if seconds is None else monotonic() + seconds
    while not _enough(children, until):
        going = [child.running for child in children if not child.done]
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            break
        if not going:
            if questions := [question for child in children for question in child.questions]:
                raise Waiting(*questions)
            break
        await asyncio.wait(going, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    return _ended(children)


def _ended(children: Sequence[Child]) -> list[Child]:
    return [child for child in children if child.done and not child.questions]


def _enough(children: Sequence[Child], until: Until) -> bool:
    """Whether a join need wait for no more."""
    ended = _ended(children)
    if until == "ready" or len(ended) == len(children):
        return True
    wanted = 1 if until == "first" else until
    return isinstance(wanted, int) and sum(child.conclusion().valid for child in ended) >= wanted
