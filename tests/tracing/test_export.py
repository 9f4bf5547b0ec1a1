"""What leaves the process: read from a receiver of OpenTelemetry's protocol in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from branchwise.core.errors import UsageError
from branchwise.core.observing import UNOBSERVED
from branchwise.tracing import observer, switch
from branchwise.tracing.export import LAST_SECONDS

AGENT = """
import json, os, pathlib
import branchwise as bw
from branchwise.core.testing import ScriptedModel

def script(request):
    if len(request.messages) <= 2:
        return json.dumps({"thought": "xyzzy-secret", "tool": "add", "args": {"a": 1, "b": 2}})
    return json.dumps({"thought": "so", "tool": "answer", "args": {"text": "3"}})

def latency(request):
    # The first call returns at once; what comes after it takes for ever, until somebody makes the file.
    return 0.0 if len(request.messages) <= 2 or pathlib.Path("go-on").exists() else 3600.0

@bw.tool(effects="pure")
def add(a: int, b: int) -> int:
    '''Add.'''
    return a + b

@bw.verifier(semantics="outcome", scope="answer")
async def right(candidate):
    return bw.Verdict(1.0, "outcome", "right", passed=candidate.answer == "3", feedback="xyzzy-secret")

model = ScriptedModel(script, name="scripted:small", native_tools=False, slots=1, latency_seconds=latency)
adder = bw.Agent(name="adder", model=model, tools=[add], verifiers=[right])
"""


class Collector:
    """What the receiver has been sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bodies(self, signal_name: str) -> list[bytes]:
        """The requests of one kind, in the order of arrival."""
        return [path.read_bytes() for path in sorted(self.folder.glob(f"{signal_name}.*"))]

    @property
    def spans(self) -> list[Any]:
        """All spans."""
        found = [ExportTraceServiceRequest.FromString(body) for body in self.bodies("traces")]
        scopes = [s for request in found for resource in request.resource_spans for s in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]

    @property
    def events(self) -> list[Any]:
        """All log records."""
        found = [ExportLogsServiceRequest.FromString(body) for body in self.bodies("logs")]
        scopes = [s for request in found for resource in request.resource_logs for s in resource.scope_logs]
        return [record for scope in scopes for record in scope.log_records]

    @property
    def metrics(self) -> set[str]:
        """Names of all metrics."""
        found = [ExportMetricsServiceRequest.FromString(body) for body in self.bodies("metrics")]
        scopes = [s for request in found for resource in request.resource_metrics for s in resource.scope_metrics]
        return {metric.name for scope in scopes for metric in scope.metrics}

    @property
    def services(self) -> set[str]:
        """Who sent it."""
        found = [ExportTraceServiceRequest.FromString(body) for body in self.bodies("traces")]
        resources = [resource.resource for request in found for resource in request.resource_spans]
        return {a.value.string_value for r in resources for a in r.attributes if a.key == "service.name"}


def until(met: Callable[[], object]) -> None:
    """Wait for something, for half a minute at most."""
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A receiver in a process of its own."""
    folder = tmp_path / "received"
    folder.mkdir()
    with subprocess.Popen([sys.executable, Path(__file__).with_name("receiver.py"), folder]) as process:
        until((folder / "address").exists)
        yield Collector(folder)
        process.kill()


def environment(folder: Path, endpoint: str, **more: str) -> dict[str, str]:
    """The environment of a process that exports quickly."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "BRANCHWISE_"))}
    return {
        **clean,
        "BRANCHWISE_HOME": str(folder / "home"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_BLRP_SCHEDULE_DELAY": "20",
        **more,
    }


def told(span: Any) -> dict[str, Any]:
    """The attributes of a span, as they were sent."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_a_killed_run_leaves_its_finished_spans_and_the_next_process_refers_to_them(
    tmp_path: Path, collector: Collector
) -> None:
    """`--trace` sends spans as they end: kill -9 loses the unfinished ones only.

    `resume --trace` sends the rest, with metrics and events, linked to the trace of the killed process. Nothing of the content is in
    any of it.
    """
    (tmp_path / "agents.py").write_text(AGENT)
    env = environment(tmp_path, (collector.folder / "address").read_text())
    command = [sys.executable, "-m", "branchwise.cli"]
    run = [*command, "run", "agents.py:adder", "add xyzzy-secret", "--seed", "1", "--trace", "--json"]
    with subprocess.Popen(run, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL) as process:
        until(lambda: collector.named("execute_tool add"))
        until(lambda: collector.named("expand"))
        process.send_signal(signal.SIGKILL)
    killed = collector.spans
    assert sorted(span.name for span in killed) == ["chat small", "execute_tool add", "expand"]
    assert not collector.named("invoke_workflow adder")
    (tmp_path / "go-on").touch()
    (run_id,) = [path.name for path in (tmp_path / "home" / "runs").iterdir()]
    resume = [*command, "resume", run_id, "--trace", "--json"]
    done = subprocess.run(resume, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (workflow,) = collector.named("invoke_workflow adder")
    (search,) = collector.named("invoke_agent adder")
    # Where the kill came before its checkpoint, the first node was made once more, from the log of calls.
    (node,) = [span for span in collector.named("expand") if told(span).get("branchwise.step.kind") == "answer"]
    assert node.parent_span_id == search.span_id
    assert search.parent_span_id == workflow.span_id
    assert told(workflow)["branchwise.run.id"] == run_id
    assert [link.trace_id for link in workflow.links] == [killed[0].trace_id]
    assert workflow.trace_id != killed[0].trace_id
    (event,) = collector.events
    assert event.event_name == "gen_ai.evaluation.result"
    assert (event.trace_id, event.span_id) == (node.trace_id, node.span_id)
    assert told(event)["gen_ai.evaluation.score.label"] == "pass"
    assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration", "branchwise.nodes"} <= collector.metrics
    assert collector.services == {"branchwise"}
    everything = b"".join(path.read_bytes() for path in collector.folder.iterdir())
    assert b"xyzzy-secret" not in everything


def test_the_end_of_a_process_waits_for_its_collector_only_so_long(tmp_path: Path) -> None:
    """Nobody listens, or somebody listens and never answers: the process says so and ends."""
    program = """
        import atexit, time
        from branchwise.tracing.export import set_up
        from opentelemetry import trace
        atexit.register(lambda: print(time.monotonic() - began))  # what was registered first comes last
        set_up()
        trace.get_tracer("test").start_span("one").end()
        began = time.monotonic()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with socket.socket() as dead, socket.socket() as hanging:
        dead.bind(("127.0.0.1", 0))
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        ends: list[tuple[str, subprocess.Popen[str]]] = []
        for listening in (dead, hanging):
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            env = environment(tmp_path, address)
            process = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            ends.append((address, process))
        for address, process in ends:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0
            assert LAST_SECONDS <= float(out) < LAST_SECONDS + 2
            assert f"could not be exported within {LAST_SECONDS:g} s" in err
            assert address in err


def test_a_program_with_opentelemetry_of_its_own_needs_no_switch(tmp_path: Path) -> None:
    """Runs go to the program's provider; spans of its own lie around the run and in its tools."""
    (tmp_path / "agents.py").write_text(AGENT)
    (tmp_path / "go-on").touch()
    program = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        import dataclasses
        import branchwise as bw
        import agents

        exporter = InMemorySpanExporter()
        trace.set_tracer_provider(TracerProvider())
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
        tracer = trace.get_tracer("program")

        @bw.tool(effects="pure")
        def add(a: int, b: int) -> int:
            "Add."
            with tracer.start_as_current_span("adding"):
                return a + b

        with tracer.start_as_current_span("program"):
            dataclasses.replace(agents.adder, tools=[add]).run_sync("add")
        spans = {span.context.span_id: span for span in exporter.get_finished_spans()}
        for span in spans.values():
            print(span.name, "in", spans[span.parent.span_id].name if span.parent else "nothing")
    """
    env = environment(tmp_path, "http://127.0.0.1:9")
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert "program in nothing" in lines
    assert "invoke_workflow adder in program" in lines
    assert "adding in execute_tool add" in lines
    assert "evaluate right in expand" in lines


def test_nothing_is_loaded_unless_it_is_wanted(tmp_path: Path) -> None:
    """Importing and describing agents loads nothing of OpenTelemetry, whatever OTEL_* says, and looks on at nothing."""
    program = """
        import sys
        import branchwise
        from branchwise.core.observing import UNOBSERVED
        from branchwise.tracing import observer
        assert observer() is UNOBSERVED
        print([name for name in sys.modules if name.startswith(("opentelemetry", "branchwise.tracing."))])
    """
    env = environment(tmp_path, "http://127.0.0.1:9")
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "['branchwise.tracing.switch']\n"


@pytest.mark.parametrize("value", ["0", "off", "False"])
def test_the_switch_turns_it_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is off is off."""
    monkeypatch.setenv(switch.VARIABLE, value)
    assert observer() is UNOBSERVED


def test_a_switch_that_is_neither_on_nor_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error does not silently leave runs untraced."""
    monkeypatch.setenv(switch.VARIABLE, "ja")
    with pytest.raises(UsageError, match="'ja'; allowed are 1 and 0"):
        observer()


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for tracing without the extra is told how to get it."""
    monkeypatch.setenv(switch.VARIABLE, "1")
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai", None)
    with pytest.raises(UsageError, match=r"pip install 'branchwise\[tracing\]'"):
        observer()


def test_an_exporter_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists what there is."""
    monkeypatch.setenv(switch.VARIABLE, "1")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(UsageError, match="no exporter of traces is called 'pigeon'; there are console, none, otlp"):
        observer()
