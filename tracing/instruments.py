"""Branchwise's own metrics; those of model calls, tools, agents and workflows are the conventions'."""

from __future__ import annotations

from opentelemetry.metrics import MeterProvider, get_meter

from ..core.events import Event, Expanded, Judged
from .attributes import (
    AGENT_NAME,
    EVALUATION_LABEL,
    EVALUATION_NAME,
    REQUEST_MODEL,
    SCOPE,
    known,
    label,
    outcome,
    usage,
)


class Instruments:
    """What is counted.

    Args:
        provider: where it goes; the process's own meter provider unless given.
        version: of Branchwise.
    """

    def __init__(self, provider: MeterProvider | None, version: str) -> None:
        meter = get_meter(SCOPE, version, provider)
        self._slots = meter.create_up_down_counter(
            "branchwise.slots.in_use", unit="{call}", description="Model calls that are at their endpoint now"
        )
        self._nodes = meter.create_counter("branchwise.nodes", unit="{node}", description="Nodes of search trees")
        self._work = meter.create_counter("branchwise.work", unit="{item}", description="Ended work items of searches")
        self._verdicts = meter.create_counter("branchwise.verdicts", unit="{verdict}", description="Verdicts on nodes")
        self._sandbox = meter.create_counter(
            "branchwise.sandbox.duration", unit="s", description="Time that sandboxes worked"
        )

    def slots(self, model: str, change: int) -> None:
        """A call has come to a model's endpoint (1) or gone from there (-1)."""
        self._slots.add(change, {REQUEST_MODEL: model})

    def ended(self, agent: str, kind: str, event: Event) -> None:
        """A work item of a search has ended."""
        who = {AGENT_NAME: agent}
        self._work.add(1, {**who, "branchwise.work.kind": kind, "branchwise.outcome": outcome(event)})
        if seconds := usage(event).sandbox_seconds:
            self._sandbox.add(seconds, {**who, "branchwise.work.kind": kind})
        if isinstance(event, Expanded) and event.node.step is not None:
            self._nodes.add(1, {**who, "branchwise.step.kind": event.node.step.kind})
        if isinstance(event, Judged):
            for verdict in event.verdicts:
                says = known({EVALUATION_NAME: verdict.verifier, EVALUATION_LABEL: label(verdict)})
                self._verdicts.add(1, {**who, **says})
