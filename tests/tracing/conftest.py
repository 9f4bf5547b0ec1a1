"""An agent worth tracing, and what OpenTelemetry got to see of its runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelResponse
from branchwise.graphs import LocalRunner, RunStore
from branchwise.tracing.spans import Tracing

SECRET = "xyzzy-secret"
"""Stands in everything that is said and done."""


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": f"{SECRET} thought", "tool": tool, "args": args})


@bw.tool(effects="pure")
def add(a: int, b: int, why: str = "") -> str:
    """Add two numbers."""
    return f"{SECRET} result {a + b} {why}"


@bw.tool(effects="pure")
def explode(a: int) -> str:
    """Explode."""
    raise RuntimeError(f"{SECRET} boom {a}")


@bw.verifier(semantics="outcome", scope="answer")
async def right(candidate: bw.Candidate) -> bw.Verdict:
    """Whether the answer is 42."""
    found = candidate.answer == "42"
    return bw.Verdict(1.0 if found else 0.25, "outcome", "right", passed=found, feedback=f"{SECRET} feedback")


def scripted(reply: Callable[[int, int], ModelResponse | str | Exception], **options: Any) -> ScriptedModel:
    """A model whose reply is a function of the call's number and of the number of messages that it was sent."""
    numbers = itertools.count()
    return ScriptedModel(
        lambda request: reply(next(numbers), len(request.messages)),
        name="scripted:small",
        native_tools=False,
        **{"slots": 2, **options},
    )


def adds_then_answers(right_from: int = 10**6) -> Callable[[int, int], ModelResponse | str | Exception]:
    """A tool call first, then an answer, which is right from one call on."""

    def reply(number: int, messages: int) -> str:
        if messages <= 2:
            return turn("add", a=number, b=2, why=f"{SECRET} argument")
        return turn("answer", text="42" if number >= right_from else f"{SECRET} {number}")

    return reply


def adder(model: bw.Model, **changes: Any) -> bw.Agent:
    """An agent with tools and a verifier, and no need of a sandbox."""
    options: dict[str, Any] = {
        "name": "adder",
        "instructions": f"{SECRET} instructions",
        "model": model,
        "tools": [add, explode],
        "verifiers": [right],
        "search": bw.search.BestFirst(width=2, depth=3),
        **changes,
    }
    return bw.Agent(**options)


class Telescope:
    """Where the telemetry of a test goes, and a runner whose runs are seen in it."""

    def __init__(self, folder: Path, *processors: SpanProcessor) -> None:
        self._spans, self._events, self._metrics = (
            InMemorySpanExporter(),
            InMemoryLogRecordExporter(),
            InMemoryMetricReader(),
        )
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        for processor in processors:
            self.tracers.add_span_processor(processor)
        self.meters = MeterProvider([self._metrics], shutdown_on_exit=False)
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self._events))
        self.observers: list[Tracing] = []
        self.runner = LocalRunner(RunStore(folder / "runs"), observe=self.observe)

    def observe(self) -> Tracing:
        """What looks on at one run."""
        self.observers.append(Tracing(self.tracers, self.meters, self.loggers))
        return self.observers[-1]

    @property
    def spans(self) -> list[ReadableSpan]:
        """All that ended."""
        return list(self._spans.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those whose name begins with a word."""
        return [span for span in self.spans if span.name.split()[0] == name]

    def parent(self, span: ReadableSpan) -> ReadableSpan | None:
        """The span that another lies in."""
        inside = span.parent
        return None if inside is None else next((s for s in self.spans if s.context.span_id == inside.span_id), None)

    def children(self, span: ReadableSpan) -> list[ReadableSpan]:
        """The spans that lie in one, in the order in which they began."""
        inside = [s for s in self.spans if s.parent is not None and s.parent.span_id == span.context.span_id]
        return sorted(inside, key=lambda s: s.start_time or 0)

    @property
    def events(self) -> list[Any]:
        """All log records."""
        return [data.log_record for data in self._events.get_finished_logs()]

    def points(self) -> dict[str, list[tuple[dict[str, Any], float]]]:
        """All metrics: what each is about, and its value or, of a histogram, its sum."""
        found: dict[str, list[tuple[dict[str, Any], float]]] = {}
        data = self._metrics.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        for metric in (metric for scope in scopes for metric in scope.metrics):
            rows = [
                (dict(p.attributes or {}), getattr(p, "value", getattr(p, "sum", 0))) for p in metric.data.data_points
            ]
            found[metric.name] = rows
        return found

    def text(self) -> str:
        """Everything that was recorded, as text."""
        return "\n".join([*(span.to_json() for span in self.spans), *map(repr_of, self.events), repr(self.points())])


def repr_of(event: Any) -> str:
    """A log record as text."""
    return repr((event.event_name, event.body, dict(event.attributes or {})))


def told(of: ReadableSpan | Any) -> Mapping[str, Any]:
    """What a span or an event says."""
    return dict(of.attributes or {})


@pytest.fixture
def telescope(tmp_path: Path) -> Iterator[Telescope]:
    """Somewhere for the telemetry to go."""
    found = Telescope(tmp_path)
    yield found
    found.tracers.shutdown()
    found.meters.shutdown()
    found.loggers.shutdown()
