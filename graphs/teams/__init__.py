"""Teams: graphs of several searches and calls that make one answer together (`Agent(team=...)`)."""

from typing import TYPE_CHECKING

from ...core.lazy import lazily

if TYPE_CHECKING:
    from .architecture import Exercise, architecture_search
    from .archon import Archon
    from .archon_space import Space
    from .components import Checker, Critic, Fuser, Generator, Ranker, UnitTestEvaluator, UnitTestWriter
    from .constraint_loop import ConstraintLoop
    from .explorer_prover import META_PROMPTS, ExplorerProver
    from .logic_blocks import LogicBlocks
    from .plangen import PlanGEN
    from .scattered import ScatteredStacked
else:
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "architecture": "Exercise architecture_search",
            "archon": "Archon",
            "archon_space": "Space",
            "components": "Checker Critic Fuser Generator Ranker UnitTestEvaluator UnitTestWriter",
            "constraint_loop": "ConstraintLoop",
            "explorer_prover": "META_PROMPTS ExplorerProver",
            "logic_blocks": "LogicBlocks",
            "plangen": "PlanGEN",
            "scattered": "ScatteredStacked",
        },
    )

__all__ = [  # noqa: RUF022 - in plain order, which a test checks
    "Archon",
    "Checker",
    "ConstraintLoop",
    "Critic",
    "Exercise",
    "ExplorerProver",
    "Fuser",
    "Generator",
    "LogicBlocks",
    "META_PROMPTS",
    "PlanGEN",
    "Ranker",
    "ScatteredStacked",
    "Space",
    "UnitTestEvaluator",
    "UnitTestWriter",
    "architecture_search",
]
