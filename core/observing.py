"""Looking on while a run goes on. Traces and metrics are made by observers; the rest of the code knows no more of them than this.

An activity is observed as a `with` block that yields a function for its outcome. An error leaves through the block::

    with observer.calling(model, request, meter) as replied:
        reply = await ...
        replied(reply)

Activities nest as the blocks do, also across the tasks that are started inside of them: an observer finds what is around an
activity in context variables, which tasks inherit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from .budget import Bill
from .events import Event, Expand, Score
from .protocols import Effects, Meter, Verifier
from .types import ModelRequest, ModelResponse, Result, Task, ToolCall, Verdict

T = TypeVar("T")

Observed = AbstractContextManager[Callable[[T], None]]
"""The block of an activity; what it yields is told the outcome, at most once."""


class Observer(Protocol):
    """Looks on at one run. It changes nothing, never raises and never blocks: it is called on the event loop."""

    def running(self, run_id: str, agent: str, task: Task, earlier: str | None) -> Observed[Result]:
        """A process takes a run to its end.

        Args:
            run_id: the run.
            agent: name of its agent.
            task: what is to be done.
            earlier: what `mark` returned in the process that had the run before.
        """
        ...

    def mark(self) -> str | None:
        """Return what a later process of the run needs to refer to this one; called within `running`."""
        ...

    def searching(self, path: str, *, agent: str, model: str, strategy: str, task: Task) -> Observed[Result]:
        """A search takes place, the run's own or one within it.

        Args:
            path: its path within the run, empty for the run's own.
            agent: name of the agent.
            model: name of its model.
            strategy: name of the strategy.
            task: what is to be done.
        """
        ...

    def working(self, work: Expand | Score) -> Observed[Event]:
        """A work item of the search is done. Failures are among the outcomes."""
        ...

    def calling(self, model: str, request: ModelRequest, meter: Meter) -> Observed[ModelResponse]:
        """One attempt at a model call is at the server; `meter` counts along."""
        ...

    def acting(self, call: ToolCall, effects: Effects | None, bill: Bill) -> Observed[str]:
        """A tool runs. `effects` is None where there is no such tool; `bill` is that of the work item."""
        ...

    def judging(self, verifier: Verifier, bill: Bill) -> Observed[Verdict]:
        """A verifier judges a node; those that it is made of judge within. `bill` is that of the work item."""
        ...


def _ignore(_outcome: object) -> None:
    pass


_NOTHING: Observed[Any] = nullcontext(_ignore)


class Unobserved:
    """The observer that looks away."""

    def running(self, run_id: str, agent: str, task: Task, earlier: str | None) -> Observed[Result]:  # noqa: ARG002
        """Do nothing."""
        return _NOTHING

    def mark(self) -> str | None:
        """Return nothing."""
        return None

    def searching(self, path: str, *, agent: str, model: str, strategy: str, task: Task) -> Observed[Result]:  # noqa: ARG002
        """Do nothing."""
        return _NOTHING

    def working(self, work: Expand | Score) -> Observed[Event]:  # noqa: ARG002
        """Do nothing."""
        return _NOTHING

    def calling(self, model: str, request: ModelRequest, meter: Meter) -> Observed[ModelResponse]:  # noqa: ARG002
        """Do nothing."""
        return _NOTHING

    def acting(self, call: ToolCall, effects: Effects | None, bill: Bill) -> Observed[str]:  # noqa: ARG002
        """Do nothing."""
        return _NOTHING

    def judging(self, verifier: Verifier, bill: Bill) -> Observed[Verdict]:  # noqa: ARG002
        """Do nothing."""
        return _NOTHING


UNOBSERVED = Unobserved()
