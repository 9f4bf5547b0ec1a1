"""Traces and metrics by OpenTelemetry's conventions for generative AI, where they are wanted; see docs/tracing.md.

Nothing here imports OpenTelemetry before tracing is on.
"""

from .switch import observer, turn_on

__all__ = ["observer", "turn_on"]
