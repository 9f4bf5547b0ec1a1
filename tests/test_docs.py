"""What the pages show is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from branchwise.graphs.machine import search_graph
from branchwise.graphs.solve import solve_graph

PAGE = Path(__file__).parents[1] / "docs" / "graphs.md"


def test_the_drawings_are_those_of_the_compiled_graphs() -> None:
    """Each drawing is what LangGraph draws of the graph."""
    shown = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(), re.DOTALL)
    made = [graph.compile().get_graph().draw_mermaid(with_styles=False) for graph in (search_graph(), solve_graph())]
    assert [drawing.split() for drawing in shown] == [drawing.split() for drawing in made]
