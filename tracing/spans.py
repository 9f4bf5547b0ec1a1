"""The spans of one run.

    invoke_workflow coder              the run, as far as this process took it
      invoke_agent coder               a search; one within it lies where it was begun
        expand                         a work item: a new node
          chat gpt-4o                  each attempt at a model call
          execute_tool write           each tool call
          evaluate tests               each verifier, when the node is judged; what models it asks lies below

Those of workflow, agent, model and tool, and their metrics, are the conventions', made by `opentelemetry-util-genai`; the
others, and all attributes that begin with `branchwise.`, are ours. Verdicts are also events of their node's span.
"""

from __future__ import annotations

from time import time_ns

from opentelemetry._logs import LoggerProvider, LogRecord, get_logger
from opentelemetry.context import Context, get_current
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider, get_current_span, get_tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.genai.handler import TelemetryHandler
from opentelemetry.util.genai.invocation import (
    InferenceInvocation,
    LocalAgentInvocation,
    ToolInvocation,
    WorkflowInvocation,
)
from opentelemetry.util.genai.types import ContentCapturingMode, Error
from opentelemetry.util.genai.utils import get_content_capturing_mode

from ..core.budget import Bill
from ..core.events import Event, Expand, Expanded, Failed, Judged, Score
from ..core.observing import Observed
from ..core.protocols import Effects, Meter, Verifier
from ..core.types import ModelRequest, ModelResponse, Result, Task, ToolCall, Verdict
from . import content
from .attributes import EVALUATION_EVENT, EVALUATION_NAME, SCOPE, Attributes, known, of_result, of_verdict, of_work
from .guard import Guard, Watch
from .instruments import Instruments
from .plain import Place, PlainSpan, Searching, close, searching_now

UNKNOWN_TOOL = "unknown"
"""What the span of a tool that does not exist is called: its name is the model's invention, and may be anything."""


class Tracing:
    """Makes spans, events and metrics of one run; implements `core.observing.Observer`.

    What was said and done (prompts, replies, arguments and results of tools, feedback, messages of errors) is recorded only where
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` asks for it.

    Args:
        tracer_provider: where spans go; the process's own unless given. Likewise the others.
        meter_provider: where metrics go.
        logger_provider: where events go.
        version: of Branchwise.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        *,
        version: str = "",
    ) -> None:
        self.guard = Guard()
        self._handler = TelemetryHandler(
            tracer_provider,
            meter_provider,
            logger_provider,
            instrumentation_scope_name=SCOPE,
            instrumentation_scope_version=version,
        )
        self._tracer = get_tracer(SCOPE, version, tracer_provider)
        self._events = get_logger(SCOPE, version, logger_provider)
        self._instruments = Instruments(meter_provider, version)
        mode = get_content_capturing_mode()
        self._content = self._handler.should_capture_content()
        self._words = mode in (ContentCapturingMode.SPAN_ONLY, ContentCapturingMode.SPAN_AND_EVENT)
        self._words_in_events = mode in (ContentCapturingMode.EVENT_ONLY, ContentCapturingMode.SPAN_AND_EVENT)

    # --- runs and searches ---

    def running(self, run_id: str, agent: str, task: Task, earlier: str | None) -> Observed[Result]:
        """A process takes a run to its end; linked to what the process before it was doing."""

        def begin() -> WorkflowInvocation:
            workflow = self._handler.workflow(agent, conversation_id=run_id)
            workflow.attributes["branchwise.run.id"] = run_id
            workflow.attributes["branchwise.run.resumed"] = earlier is not None
            if earlier is not None:
                before = TraceContextTextMapPropagator().extract({"traceparent": earlier})
                workflow.span.add_link(get_current_span(before).get_span_context(), {"branchwise.run.id": run_id})
            if self._content:
                workflow.input_messages = [content.said("user", task.prompt)]
            return workflow

        return Watch(self.guard, begin, self._finished)

    def mark(self) -> str | None:
        """Return the current span in the form of the `traceparent` header."""
        carrier: dict[str, str] = {}
        self.guard(lambda: TraceContextTextMapPropagator().inject(carrier))
        return carrier.get("traceparent")

    def searching(self, path: str, *, agent: str, model: str, strategy: str, task: Task) -> Observed[Result]:
        """A search takes place."""

        def begin() -> LocalAgentInvocation:
            invoked = self._handler.invoke_local_agent(
                request_model=_split(model)[1], agent_name=agent, context=Searching(agent).put()
            )
            invoked.attributes["branchwise.search.path"] = path
            invoked.attributes["branchwise.search.strategy"] = strategy
            if self._content:
                invoked.input_messages = [content.said("user", task.prompt)]
            return invoked

        return Watch(self.guard, begin, self._finished)

    def _finished(
        self, span: WorkflowInvocation | LocalAgentInvocation, result: Result | None, error: BaseException | None
    ) -> None:
        if result is not None:
            span.attributes.update(of_result(result, words=self._words))
            if self._content and result.answer is not None:
                span.output_messages = content.answered(result.answer)
            if result.stop_reason == "failed" and error is None:
                span.fail(Error(result.stop_detail if self._words else None, "failed"))
                return
        close(span, error, words=self._words)

    # --- work items ---

    def working(self, work: Expand | Score) -> Observed[Event]:
        """A work item is done. An expansion has a span; judging a node lies in the span in which the node was made."""
        return self._expanding(work) if isinstance(work, Expand) else self._scoring(work)

    def _expanding(self, work: Expand) -> Observed[Event]:
        def begin() -> PlainSpan:
            span = PlainSpan(self._tracer, "expand")
            span.attributes["branchwise.work.id"] = work.id
            span.attributes["branchwise.node.parent"] = work.node
            return span

        def end(span: PlainSpan, event: Event | None, error: BaseException | None) -> None:
            if event is None:
                close(span, error, words=self._words)
                return
            search = searching_now()
            if isinstance(event, Expanded):
                search.nodes[event.node.id] = span.span.get_span_context()
            self._instruments.ended(search.agent, "expand", event)
            self._close(span, event)

        return Watch(self.guard, begin, end)

    def _scoring(self, work: Score) -> Observed[Event]:
        def end(_place: Place, event: Event | None, _error: BaseException | None) -> None:
            search = searching_now()
            around = search.around(work.node) or get_current()
            if isinstance(event, Judged):
                self._tell(event, around)
            elif isinstance(event, Failed):
                # What failed may not have been a verifier, which has a span: bringing back the state, for example.
                span = PlainSpan(self._tracer, "score", around)
                span.suspend()
                span.attributes["branchwise.node.id"] = work.node
                self._close(span, event)
            if event is not None:
                self._instruments.ended(search.agent, "score", event)

        return Watch(self.guard, lambda: Place(searching_now().around(work.node)), end)

    def _close(self, span: PlainSpan, event: Event) -> None:
        """End the span of a work item."""
        span.attributes.update(of_work(event))
        if isinstance(event, Failed):
            span.fail(Error(event.message if self._words else None, event.error))
        else:
            span.stop()

    def _tell(self, event: Judged, where: Context) -> None:
        """Enter verdicts as events of the span in which their node was made; where that is unknown, of the search's."""
        for verdict in event.verdicts:
            self._events.emit(
                LogRecord(
                    timestamp=time_ns(),
                    context=where,
                    event_name=EVALUATION_EVENT,
                    attributes={
                        "branchwise.node.id": event.node,
                        **of_verdict(verdict, words=self._words_in_events),
                    },
                )
            )

    # --- what a work item does ---

    def calling(self, model: str, request: ModelRequest, meter: Meter) -> Observed[ModelResponse]:
        """One attempt at a model call."""
        provider, name = _split(model)

        def begin() -> InferenceInvocation:
            messages = content.asked(request) if self._content else []
            call = self._handler.inference(provider, request_model=name)
            _set_request(call, request)
            if self._content:
                call.input_messages = messages
                call.system_instruction = content.instructions(request)
                call.tool_definitions = content.offered(request)
            self._instruments.slots(name, 1)
            return call

        def end(call: InferenceInvocation, reply: ModelResponse | None, error: BaseException | None) -> None:
            self._instruments.slots(name, -1)
            call.input_tokens, call.output_tokens = meter.prompt_tokens, meter.completion_tokens
            call.cache_read_input_tokens = meter.cached_tokens
            if reply is not None:
                call.finish_reasons = [reply.finish_reason]
                call.response_model_name = reply.model or None
                if self._content:
                    call.output_messages = content.replied(reply)
            close(call, error, words=self._words)

        return Watch(self.guard, begin, end)

    def acting(self, call: ToolCall, effects: Effects | None, bill: Bill) -> Observed[str]:
        """A tool runs."""
        before = bill.usage.sandbox_seconds

        def begin() -> ToolInvocation:
            name = UNKNOWN_TOOL if effects is None else call.name
            tool = self._handler.tool(name, tool_type="function", agent_name=searching_now().agent or None)
            tool.tool_call_id = call.id
            tool.attributes.update(known({"branchwise.tool.effects": effects}))
            if self._content:
                tool.arguments = dict(call.arguments)
            return tool

        def end(tool: ToolInvocation, result: str | None, error: BaseException | None) -> None:
            tool.attributes.update(_sandbox(bill, before))
            if self._content:
                tool.tool_result = result
            close(tool, error, words=self._words)

        return Watch(self.guard, begin, end)

    def judging(self, verifier: Verifier, bill: Bill) -> Observed[Verdict]:
        """A verifier judges a node."""
        before = bill.usage.sandbox_seconds

        def begin() -> PlainSpan:
            span = PlainSpan(self._tracer, f"evaluate {verifier.name}")
            span.attributes[EVALUATION_NAME] = verifier.name
            return span

        def end(span: PlainSpan, verdict: Verdict | None, error: BaseException | None) -> None:
            span.attributes.update(_sandbox(bill, before))
            if verdict is not None:
                span.attributes.update(of_verdict(verdict, words=self._words))
            close(span, error, words=self._words)

        return Watch(self.guard, begin, end)


def _split(model: str) -> tuple[str, str]:
    """Return provider and name of a model that is called `provider:name`."""
    provider, _, name = model.partition(":")
    return provider, name or model


def _sandbox(bill: Bill, before_seconds: float) -> Attributes:
    """Return what a bill's sandboxes have worked since."""
    seconds = bill.usage.sandbox_seconds - before_seconds
    return {"branchwise.usage.sandbox_seconds": seconds} if seconds > 0 else {}


def _set_request(call: InferenceInvocation, request: ModelRequest) -> None:
    sampling = request.sampling
    call.temperature = sampling.temperature
    call.top_p, call.top_k, call.seed = sampling.top_p, sampling.top_k, sampling.seed
    call.max_tokens = sampling.max_tokens
    call.stop_sequences = list(sampling.stop) or None
    call.output_type = None if request.response_schema is None else "json"
