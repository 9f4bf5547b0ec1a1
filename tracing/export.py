"""OpenTelemetry for a process that has not set it up for itself: from the standard variables `OTEL_*`."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from time import monotonic
from typing import Any, Literal

from opentelemetry import metrics, trace

from ..core.errors import UsageError

logger = logging.getLogger(__name__)

Signal = Literal["traces", "metrics", "logs"]

LAST_SECONDS = 3.0
"""How long the end of the process waits for what was not exported yet."""

_PROTOCOLS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_lock = threading.Lock()


def is_set_up() -> bool:
    """Whether the process has a provider of spans or of metrics."""
    tracer, meter = trace.get_tracer_provider(), metrics.get_meter_provider()
    nobody = (trace.ProxyTracerProvider, trace.NoOpTracerProvider, metrics.NoOpMeterProvider)
    # The default of metrics is a proxy of a class that is not public.
    return not (isinstance(tracer, nobody) and (isinstance(meter, nobody) or type(meter).__name__.startswith("_Proxy")))


def set_up() -> None:
    """Give the process its providers, as `opentelemetry-instrument` would; does nothing where it has some.

    Exporters are `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` and `OTEL_LOGS_EXPORTER`: `otlp` unless set, `console`, `none`, or
    any that is installed. They read their own settings, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. All work in batches in the background.

    Raises:
        UsageError: an exporter is not installed.
    """
    with _lock:
        if is_set_up():
            return
        _set_up()


def _set_up() -> None:
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    of_spans, of_metrics, of_events = (_exporters(signal) for signal in ("traces", "metrics", "logs"))
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {"service.name": "branchwise"})
    spans = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in of_spans:
        spans.add_span_processor(BatchSpanProcessor(exporter))
    readers = [PeriodicExportingMetricReader(exporter) for exporter in of_metrics]
    meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    events = LoggerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in of_events:
        events.add_log_record_processor(BatchLogRecordProcessor(exporter))
    trace.set_tracer_provider(spans)
    metrics.set_meter_provider(meters)
    set_logger_provider(events)
    _close_at_exit([spans.shutdown, events.shutdown, meters.shutdown])


def _exporters(signal: Signal) -> list[Any]:
    names = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() or "otlp"
    return [_exporter(signal, name.strip()) for name in names.split(",") if name.strip() != "none"]


def _exporter(signal: Signal, name: str) -> Any:
    variables = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if name == "otlp":
        protocol = next(filter(None, map(os.environ.get, variables)), "http/protobuf")
        name = _PROTOCOLS.get(protocol, protocol)
    found = entry_points(group=f"opentelemetry_{signal}_exporter")
    for entry in found.select(name=name):
        return entry.load()()
    known = ", ".join(sorted({"otlp", "none", *found.names}))
    raise UsageError(
        f"no exporter of {signal} is called {name!r}; there are {known}. Set OTEL_{signal.upper()}_EXPORTER to one of them, or "
        "install the package that brings it"
    )


def _close_at_exit(closers: list[Callable[[], Any]]) -> None:
    """Export what is left when the process ends, for a while and no longer: the collector may be gone.

    The threads begin now, for none can be begun when the interpreter is about to end. What the exporters say while they try
    again is left out; what they give up on is not.
    """
    for name in ("opentelemetry.exporter", "opentelemetry.sdk"):
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.ERROR)
    ending = threading.Event()
    closed = [threading.Event() for _ in closers]

    def close(closer: Callable[[], Any], done: threading.Event) -> None:
        ending.wait()
        closer()
        done.set()

    for closer, done in zip(closers, closed, strict=True):
        threading.Thread(target=close, args=(closer, done), name="close tracing", daemon=True).start()

    def end() -> None:
        ending.set()
        deadline = monotonic() + LAST_SECONDS
        if not all(done.wait(max(0.0, deadline - monotonic())) for done in closed):
            logger.warning(
                "tracing: what was recorded last could not be exported within %g s; is the collector there? "
                "OTEL_EXPORTER_OTLP_ENDPOINT=%s",
                LAST_SECONDS,
                os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318 (unless set)"),
            )

    atexit.register(end)
