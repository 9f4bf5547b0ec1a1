"""Teams: graphs of several searches and calls that make one answer together (`Agent(team=...)`)."""

from typing import TYPE_CHECKING

from ...core.lazy import lazily

if TYPE_CHECKING:
    from .archon import Archon
    from .components import Checker, Critic, Fuser, Generator, Ranker, UnitTestEvaluator, UnitTestWriter
    from .constraint_loop import ConstraintLoop
    from .logic_blocks import LogicBlocks
    from .plangen import PlanGEN
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "archon": "Archon",
            "components": "Checker Critic Fuser Generator Ranker UnitTestEvaluator UnitTestWriter",
            "constraint_loop": "ConstraintLoop",
            "logic_blocks": "LogicBlocks",
            "plangen": "PlanGEN",
        },
    )

__all__ = [
    "Archon",
    "Checker",
    "ConstraintLoop",
    "Critic",
    "Fuser",
    "Generator",
    "LogicBlocks",
    "PlanGEN",
    "Ranker",
    "UnitTestEvaluator",
    "UnitTestWriter",
]
