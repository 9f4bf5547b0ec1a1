"""The page of methods names every method, and its lines of code and names are what the library takes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.search import parse_selector, parse_strategy
from branchwise.search.named import SELECTORS, STRATEGIES
from branchwise.verifiers.named import parse_verifier

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
ROW = re.compile(r"^\| [^|]+ \| ([^|]*`[^|]*) \|", re.MULTILINE)
CELLS = [
    (section.startswith("Verifying"), cell)
    for section in PAGE.read_text().split("\n## ")
    for cell in ROW.findall(section)
]
"""The second column of every table, and whether it is about verifiers."""

TEAMS = {name: getattr(bw.teams, name) for name in bw.teams.__all__}

KNOWN: dict[str, Any] = {"bw": bw, **vars(bw.verifiers), **vars(bw.search), **TEAMS}
"""What the page's lines of code may use; a line that uses anything else needs what only a user has."""

LINES = [
    line
    for _, cell in CELLS
    for line in re.findall(r"`([A-Z]\w*\([^`]*\))`", cell)
    if "..." not in line
    if {node.id for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Name)} <= set(KNOWN)
]
NAMES = [
    (judging and not option, name)
    for judging, cell in CELLS
    for option, name in re.findall(r"`(--search |--select )?([a-z][\w-]*(?::[^`]+)?)`", cell)
    if ".json" not in name
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_code_makes_a_method(line: str) -> None:
    """What is written there makes a strategy, a selector, a verifier or a team."""
    made = eval(line, KNOWN)
    assert any(hasattr(made, name) for name in ("fresh", "choose", "judge", "graph"))


@pytest.mark.parametrize(("judging", "name"), NAMES, ids=[name for _, name in NAMES])
def test_a_name_is_taken(judging: bool, name: str) -> None:
    """Every name is one of a verifier, of a selector, or of a strategy with the controllers around it."""
    first = name.partition(":")[0]
    parse = parse_verifier if judging else parse_selector if first in SELECTORS else parse_strategy
    assert parse(name) is not None


def test_every_method_is_on_the_page() -> None:
    """Whatever the command line knows has a row."""
    there = {name.partition(":")[0] for judging, name in NAMES if not judging}
    assert set(STRATEGIES) | set(SELECTORS) <= there
