"""Names and values of what spans, events and metrics say."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.util.types import AttributeValue

from ..core.events import Asked, Cancelled, Denied, Event, Expanded, Failed, Judged
from ..core.types import NO_USAGE, Result, Usage, Verdict

SCOPE = "branchwise"
"""The instrumentation scope, and what our own names begin with."""

# Of the conventions for generative AI; where OpenTelemetry's Python packages have constants for them they are deprecated.
AGENT_NAME = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
EVALUATION_EVENT = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_SCORE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation"

Attributes = dict[str, AttributeValue]


def known(attributes: Mapping[str, AttributeValue | None]) -> Attributes:
    """Return the attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}


def of_usage(usage: Usage) -> Attributes:
    """Return what something cost, as far as it cost anything: tokens, calls, seconds of sandboxes and so on."""
    return {f"branchwise.usage.{name}": value for name, value in usage.to_json().items() if value}


def of_work(event: Event) -> Attributes:
    """Return how a work item ended: what it came to, and what it cost."""
    found: dict[str, AttributeValue | None] = {"branchwise.outcome": outcome(event)}
    match event:
        case Expanded(_, node):
            found["branchwise.node.id"] = node.id
            found["branchwise.node.depth"] = node.depth
            found["branchwise.step.kind"] = None if node.step is None else node.step.kind
        case Denied():
            found["branchwise.limit"] = event.limit
        case _:
            pass
    return {**known(found), **of_usage(usage(event))}


def outcome(event: Event) -> str:
    """Return how a work item ended, in one word."""
    match event:
        case Failed():
            return "failed"
        case Denied():
            return "denied"
        case Cancelled():
            return "cancelled"
        case Asked():
            return "waiting"
        case _:
            return "done"


def usage(event: Event) -> Usage:
    """Return what a work item cost."""
    match event:
        case Expanded():
            return event.node.usage
        case Judged() | Failed() | Denied() | Cancelled():
            return event.usage
        case _:
            return NO_USAGE


def of_result(result: Result, *, words: bool) -> Attributes:
    """Return what a search came to.

    Args:
        result: the result.
        words: whether to say the reason in words too, which can quote what a tool or a model said.
    """
    return known(
        {
            "branchwise.stop_reason": result.stop_reason,
            "branchwise.stop_detail": result.stop_detail if words else None,
            "branchwise.accepted": result.accepted,
            "branchwise.abstained": result.abstained,
            "branchwise.confidence": result.confidence,
            "branchwise.node.selected": result.node,
            "branchwise.nodes": len(result.tree) - 1,
            **of_usage(result.usage),
        }
    )


def of_verdict(verdict: Verdict, *, words: bool) -> Attributes:
    """Return a verdict; `words`: with its feedback, which can quote what was judged."""
    return known(
        {
            EVALUATION_NAME: verdict.verifier,
            EVALUATION_SCORE: verdict.value,
            EVALUATION_LABEL: label(verdict),
            EVALUATION_EXPLANATION: verdict.feedback or None if words else None,
            "branchwise.verdict.semantics": verdict.semantics,
            "branchwise.verdict.integrity": verdict.integrity,
            "branchwise.verdict.calls": verdict.calls,
        }
    )


def label(verdict: Verdict) -> str | None:
    """Return whether a verdict accepts; None where it only scores."""
    return None if verdict.passed is None else "pass" if verdict.passed else "fail"
