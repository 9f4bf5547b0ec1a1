"""A web task as data: a goal, where it begins, and what tells whether it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..browser import Browser
from ..environment import WebEnvironment
from ..site import Site


@dataclass(frozen=True, slots=True)
class Ending:
    """What a trajectory came to, as checks see it."""

    env: WebEnvironment
    """The pages, in the state that is judged. A check may leave them: give it an environment that nobody goes on with."""
    answer: str = ""
    """What the agent answered; empty where it did not."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a check thinks of an ending."""

    value: float
    """In [0, 1]; 1 is done."""
    why: str = ""
    """In words, for whoever reads it: what is missing."""

    @property
    def done(self) -> bool:
        """Whether the task was done, all of it."""
        return self.value >= 1.0


DONE = Mark(1.0)


class Check(Protocol):
    """Tells whether a task was done. Any async function of an ending will do."""

    async def __call__(self, ending: Ending, /) -> Mark:
        """Return what it thinks.

        Raises:
            ActionFailed: the page does not answer.
            StateDiverged, SandboxLost: the state cannot be looked at.
        """
        ...


@dataclass(frozen=True)
class WebTask:
    """Something to be done on pages.

    Attributes:
        name: unique among its family.
        goal: what the agent is told.
        start: the page where it begins, or the site that every branch gets afresh.
        check: tells from the end alone whether it was done; the agent never sees it.
        settings: what it needs of the browser beside its start, such as the hosts that it reaches.
    """

    name: str
    goal: str
    start: str | Site
    check: Check
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def browser(self, **settings: Any) -> Browser:
        """Return the browser that an agent needs for it.

        Args:
            **settings: further settings of `Browser`; they go before the task's own.
        """
        given = {**self.settings, **settings}
        if isinstance(self.start, str):
            return Browser(self.start, **given)
        return Browser(site=self.start, **given)

    async def mark(self, env: WebEnvironment, answer: str = "") -> Mark:
        """Return what the task's check thinks of a state and an answer; see `Check` for what it raises."""
        return await self.check(Ending(env, answer))


class TaskFamily(Protocol):
    """Tasks that can be had by name, each in as many variants as there are seeds."""

    @property
    def names(self) -> Sequence[str]:
        """What there is."""
        ...

    async def task(self, name: str, seed: int = 0) -> WebTask:
        """Return a task; the same seed gives the same task.

        Raises:
            UsageError: there is none of that name.
        """
        ...
