"""Telemetry that is broken, blocked or gone: runs neither end nor wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

import branchwise as bw
from branchwise.core.types import Result, Task
from branchwise.tracing import guard
from branchwise.tracing.guard import Guard

from .conftest import Telescope, adder, adds_then_answers, scripted

NODES = 12


async def run(telescope: Telescope) -> Result:
    """Run an agent whose model takes no time."""
    agent = adder(scripted(adds_then_answers()))
    return await telescope.runner.run(agent, Task(prompt="add"), bw.Budget(nodes=NODES), seed=1)


class Broken(SpanProcessor):
    """Raises whatever one does."""

    def __init__(self) -> None:
        self.asked = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.asked += 1
        raise RuntimeError("no spans today")

    def on_end(self, span: ReadableSpan) -> None:
        self.asked += 1
        raise RuntimeError("no spans today")


class Waiting(SpanExporter):
    """Holds whoever exports up until it is let go, or for a time."""

    def __init__(self, seconds: float | None = None) -> None:
        self.let_go = threading.Event()
        self.exported = 0
        self._seconds = seconds

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.let_go.wait(self._seconds)
        self.exported += len(spans)
        return SpanExportResult.SUCCESS


async def test_a_processor_that_raises_breaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The run is what it would have been; the trouble is told once."""
    processor = Broken()
    telescope = Telescope(tmp_path, processor)
    plain = await run(Telescope(tmp_path / "plain"))
    result = await run(telescope)
    assert processor.asked > NODES
    assert (result.stop_reason, result.usage, len(result.tree)) == (plain.stop_reason, plain.usage, len(plain.tree))
    assert [r.getMessage() for r in caplog.records if r.name == guard.__name__ and r.levelno >= logging.WARNING] == [
        "tracing failed: RuntimeError('no spans today')"
    ]


async def test_an_exporter_that_hangs_in_its_thread_is_not_waited_for(tmp_path: Path) -> None:
    """Behind a batching processor the collector may take for ever: nothing of the run waits for it."""
    exporter = Waiting()
    processor = BatchSpanProcessor(exporter, schedule_delay_millis=1, max_export_batch_size=1)
    telescope = Telescope(tmp_path, processor)
    try:
        result = await run(telescope)
        assert len(result.tree) == NODES + 1
        assert exporter.exported == 0, "it hangs while the run goes on, and after it"
        assert telescope.observers[0].guard.blocked_seconds < guard.ALLOWED_SECONDS
    finally:
        exporter.let_go.set()
        processor.shutdown()


async def test_an_exporter_that_blocks_the_run_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a batching processor each span would wait for its export; after the time that tracing may cost, none does."""
    monkeypatch.setattr(guard, "ALLOWED_SECONDS", 0.2)
    exporter = Waiting(0.03)
    telescope = Telescope(tmp_path, SimpleSpanProcessor(exporter))
    result = await run(telescope)
    assert len(result.tree) == NODES + 1
    watched = telescope.observers[0].guard
    assert watched.given_up
    assert exporter.exported * 0.03 <= watched.blocked_seconds
    assert exporter.exported <= 8, "of more than 30 spans"
    told = [record for record in caplog.records if "BatchSpanProcessor" in record.getMessage()]
    assert len(told) == 1


def test_a_share_of_a_long_run_may_be_spent() -> None:
    """What is given up is tracing that costs more than its share, not tracing of a long run."""
    now = time.monotonic()
    long, short = Guard(began=now - 1000.0), Guard(began=now - 10.0)
    for watched in (long, short):
        for _ in range(100):
            watched._account(now - 0.02, now)
    assert (long.given_up, short.given_up) == (False, True)
    assert long.blocked_seconds == pytest.approx(2.0)
    quick = Guard(began=now)
    for _ in range(10_000):
        quick._account(now - 0.001, now)
    assert quick.blocked_seconds == 0.0


def test_a_busy_machine_is_not_taken_for_a_blocking_exporter() -> None:
    """Where some calls wait for the processor, however long, tracing goes on; where every second call waits it ends."""
    now = time.monotonic()
    busy, blocked = Guard(began=now), Guard(began=now)
    for number in range(300):
        busy._account(now - (0.1 if number % 10 == 0 else 0.0), now)
        blocked._account(now - (0.1 if number % 2 == 0 else 0.0), now)
    assert (busy.given_up, blocked.given_up) == (False, True)
    assert busy.blocked_seconds > 2 * guard.ALLOWED_SECONDS


def test_what_was_given_up_is_not_called_again() -> None:
    """Nothing more is asked of telemetry that was given up."""
    watched = Guard()
    assert watched(lambda: 1) == 1
    watched.given_up = True
    assert watched(lambda: 1) is None
