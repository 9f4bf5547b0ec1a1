"""Spans that the conventions have no kind for, and what a search's spans have to know of each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.genai.invocation import GenAIInvocation
from opentelemetry.util.genai.types import Error

from ..core.people import Waiting
from ..core.types import NodeId
from .attributes import Attributes

_SEARCHING = contexts.create_key("branchwise-searching")


@dataclass
class Searching:
    """The search that is around an activity."""

    agent: str
    """Name of its agent."""
    nodes: dict[NodeId, SpanContext] = field(default_factory=dict[NodeId, SpanContext])
    """The spans in which its nodes were made; those of an earlier process are not among them."""

    def put(self) -> Context:
        """Return the current context with this search in it."""
        return contexts.set_value(_SEARCHING, self)

    def around(self, node: NodeId) -> Context | None:
        """Return the context of the span in which a node was made; None where it was not made here."""
        made = self.nodes.get(node)
        return None if made is None else set_span_in_context(NonRecordingSpan(made))


def searching_now() -> Searching:
    """Return the search around the present activity; a nameless one outside of any."""
    return cast("Searching | None", contexts.get_value(_SEARCHING)) or Searching("")


class Place:
    """Where an activity lies, without a span of its own.

    Args:
        around: what is current from now on; what is anyway unless given.
    """

    def __init__(self, around: Context | None = None) -> None:
        self._token = None if around is None else contexts.attach(around)

    def suspend(self) -> None:
        """Make what was current before it so again."""
        token, self._token = self._token, None
        if token is not None:
            contexts.detach(token)


class PlainSpan(Place):
    """A span that is used like the invocations of `opentelemetry-util-genai`.

    Args:
        tracer: makes it.
        name: what it is called.
        around: what it lies in; the current span unless given.
    """

    def __init__(self, tracer: Tracer, name: str, around: Context | None = None) -> None:
        self.attributes: Attributes = {}
        self.span = tracer.start_span(name, context=around)
        super().__init__(set_span_in_context(self.span, around))

    def stop(self) -> None:
        """End it well."""
        self.span.set_attributes(self.attributes)
        self.span.end()

    def fail(self, error: Error) -> None:
        """End it with an error."""
        self.attributes["error.type"] = error.type
        self.span.set_status(Status(StatusCode.ERROR, error.message))
        self.stop()


def close(span: PlainSpan | GenAIInvocation, error: BaseException | None, *, words: bool) -> None:
    """End a span as its activity ended.

    What was cancelled has not failed: a search cancels what it no longer needs. Nor has what waits for a person.

    Args:
        span: the span.
        error: what left the activity, if anything did.
        words: whether to say the error's message, which can quote what a tool or a model said.
    """
    if error is None:
        span.stop()
    elif isinstance(error, Waiting):
        span.attributes["branchwise.outcome"] = "waiting"
        span.stop()
    elif isinstance(error, Exception):
        span.fail(Error(str(error) if words else None, type(error).__name__))
    else:
        span.attributes["branchwise.outcome"] = "cancelled"
        span.stop()
