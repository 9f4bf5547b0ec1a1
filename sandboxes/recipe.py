"""What an image is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """What `docker build` would be told."""

    context: Path
    dockerfile: Path
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str | None = None
