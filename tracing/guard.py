"""Telemetry that can neither break a run nor hold it up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Generic, Protocol, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

BLOCKING_SECONDS = 0.01
"""A call that takes longer has waited for something: what it takes counts."""
BLOCKING_CALLS = 0.25
"""Share of the calls that wait where each span is exported as it ends: half of the calls are ends. On a machine with more to do
than it can, some calls wait for the processor; they are far fewer."""
ALLOWED_SECONDS = 1.0
ALLOWED_SHARE = 0.05
"""Tracing ends for a run once it was blocked for longer than `ALLOWED_SECONDS` and this share of the time since it began."""


@dataclass
class Guard:
    """Calls into telemetry on behalf of one run.

    What a user has configured is foreign code on the event loop: a processor may raise, an exporter that is not behind a
    batching processor may wait for its collector each time that a span ends. The first is logged and forgotten; after too
    much of the second the run goes on untraced.
    """

    began: float = field(default_factory=monotonic)
    calls: int = 0
    blocked_calls: int = 0
    blocked_seconds: float = 0.0
    given_up: bool = False
    _complained: bool = False

    def __call__(self, act: Callable[[], T]) -> T | None:
        """Return what `act` returns; None where it raised, or where tracing was given up."""
        if self.given_up:
            return None
        before = monotonic()
        try:
            return act()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the telemetry is no reason to end a branch
            logger.log(logging.DEBUG if self._complained else logging.WARNING, "tracing failed: %r", error)
            self._complained = True
            return None
        finally:
            self._account(before, monotonic())

    def _account(self, before: float, now: float) -> None:
        self.calls += 1
        if now - before < BLOCKING_SECONDS:
            return
        self.blocked_calls += 1
        self.blocked_seconds += now - before
        too_long = self.blocked_seconds > max(ALLOWED_SECONDS, ALLOWED_SHARE * (now - self.began))
        if too_long and self.blocked_calls > BLOCKING_CALLS * self.calls:
            self.given_up = True
            logger.warning(
                "tracing held this run up for %.1f s and ends here; have the exporter called by a batching processor "
                "(BatchSpanProcessor, BatchLogRecordProcessor)",
                self.blocked_seconds,
            )


class Spanlike(Protocol):
    """What is open while an activity goes on."""

    def suspend(self) -> None:
        """Make what was the current span before it so again. Idempotent, and raises nothing."""
        ...


S = TypeVar("S", bound=Spanlike)


class Watch(Generic[S, T]):
    """The block of one activity.

    Args:
        guard: makes the calls.
        begin: opens the span.
        end: closes it, given the outcome or the error, or neither.
    """

    def __init__(
        self, guard: Guard, begin: Callable[[], S], end: Callable[[S, T | None, BaseException | None], None]
    ) -> None:
        self._guard = guard
        self._begin = begin
        self._end = end
        self._open: S | None = None
        self._outcome: T | None = None

    def _note(self, outcome: T) -> None:
        self._outcome = outcome

    def __enter__(self) -> Callable[[T], None]:
        self._open = self._guard(self._begin)
        return self._note

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        opened, outcome = self._open, self._outcome
        if opened is None:
            return
        opened.suspend()  # in any case: what comes after this block is not part of it
        self._guard(lambda: self._end(opened, outcome, error))
