"""What the pages show is what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from branchwise.agents import Agent
from branchwise.graphs import LocalRunner
from branchwise.graphs.compiled import agent_graph
from branchwise.graphs.machine import search_graph
from branchwise.graphs.solve import solve_graph
from branchwise.graphs.teams.archon import Archon
from branchwise.graphs.teams.components import Critic, Fuser, Generator, Ranker
from branchwise.graphs.teams.constraint_loop import ConstraintLoop
from branchwise.graphs.teams.explorer_prover import ExplorerProver
from branchwise.graphs.teams.logic_blocks import LogicBlocks
from branchwise.graphs.teams.plangen import PlanGEN
from branchwise.graphs.teams.scattered import ScatteredStacked
from branchwise.verifiers import Constraint

PAGE = Path(__file__).parents[1] / "docs" / "graphs.md"

GRAPHS: dict[str, Any] = {
    "Search": search_graph(),
    "Solve: plan, search, verify, refine": solve_graph(),
    "Constraints: check point by point, mend what is violated": ConstraintLoop((Constraint("x"),)).graph(),
    "PlanGEN: choose a search by what suits and what worked": PlanGEN().graph(),
    "Archon: layers that make, criticise, choose and fuse": Archon(
        [Generator(samples=5), Critic(), Ranker(top=3), Fuser()]
    ).graph(),
    "Scattered and stacked: solve, correct, write anew, choose": ScatteredStacked().graph(),
    "Logic blocks: a navigator says what comes next": LogicBlocks().graph(),
    "In a LangGraph graph of one's own": agent_graph(LocalRunner(), Agent(name="a", model="openai:m")),
    "Explorer and prover: a memory, and another way of thinking": ExplorerProver().graph(),
}
"""What is drawn, by the heading that the drawing stands under."""


def drawings() -> dict[str, str]:
    """The page's drawings by the last heading before each."""
    shown: dict[str, str] = {}
    heading = ""
    for found in re.finditer(r"^#+ ([^\n]*)$|^```mermaid\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        if found[2] is None:
            heading = found[1]
        else:
            shown[heading] = found[2]
    return shown


def test_the_drawings_are_those_of_the_compiled_graphs() -> None:
    """Each drawing is what LangGraph draws of the graph, and every graph is drawn."""
    made = {name: graph.compile().get_graph().draw_mermaid(with_styles=False) for name, graph in GRAPHS.items()}
    shown = drawings()
    assert shown.keys() == made.keys()
    for name, drawing in made.items():
        assert shown[name].split() == drawing.split(), name
