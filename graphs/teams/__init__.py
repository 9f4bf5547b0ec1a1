"""Teams: graphs of several searches and calls that make one answer together (`Agent(team=...)`)."""

from typing import TYPE_CHECKING

from ...core.lazy import lazily

if TYPE_CHECKING:
    from .constraint_loop import ConstraintLoop
else:
    __getattr__, __dir__ = lazily(__name__, {"constraint_loop": "ConstraintLoop"})

__all__ = ["ConstraintLoop"]
