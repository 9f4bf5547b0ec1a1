"""JSON schemas of the replies that models are asked for."""

from __future__ import annotations

from typing import Any

from .types import JSON


def form_of_object(**properties: Any) -> dict[str, JSON]:
    """Return the schema of an object that has all of these properties, in this order, and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
