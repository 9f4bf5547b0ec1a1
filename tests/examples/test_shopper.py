"""The example that shops, and the demonstration on pages, with a scripted model in the place of the real one."""

from __future__ import annotations

import io
import json
import re
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rich.console import Console

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Node, NodeId, Observation, Place, Step, Task, ToolCall

EXAMPLES = Path(__file__).parents[2] / "examples"


def buy(request: ModelRequest) -> str:
    """A model that looks for the lamp by its name, and goes astray first where it is let."""
    seen = request.messages[-1].content
    for on in ('button "Add to cart"', 'link "Walnut Desk Lamp"'):
        if found := re.search(rf"\[(e\d+)\] {re.escape(on)}", seen):
            return turn("click", ref=found[1])
    found = re.search(r'\[(e\d+)\] searchbox "Search the shop"', seen)
    assert found is not None
    return turn("fill", ref=found[1], text="walnut", enter=True)


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def test_the_guide_of_the_shopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """It values a page with the task's names above one without, in its title most, and what came to nothing least."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    guide = runpy.run_path(str(EXAMPLES / "shopper.py"))["on_the_way"]
    task = Task(prompt="Put one Walnut Desk Lamp into the cart.")
    root = Node(NodeId(0), None, None)

    @asynccontextmanager
    async def nowhere(_ref: str | None) -> AsyncIterator[None]:
        yield None

    def value(text: str, *, title: str = "", ok: bool = True) -> float:
        step = Step("tool", "", (ToolCall("c", "click", {}),), (Observation("c", text, ok),))
        path = [root, Node(NodeId(1), root.id, step, place=Place(title, "http://x/", "click"))]
        return float(guide(bw.Candidate(task, path, None, nowhere, lambda _old, _new: ({}, []))))  # type: ignore[arg-type]

    assert value("a Walnut Desk Lamp") > value("a Desk") > value("nothing") > value("Walnut Desk Lamp", ok=False)
    assert value("a Walnut Desk Lamp", title="Walnut Desk Lamp") > value("a Walnut Desk Lamp")
    assert value("Walnut Desk Lamp; nothing has changed") == value("x", ok=False)


@pytest.mark.browser
async def test_the_demonstration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does a task in both ways, tells of its progress, and ends with a table and a tree."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path))
    demo = runpy.run_path(str(EXAMPLES / "demo_web.py"))
    model = ScriptedModel(buy, native_tools=False, slots=2)
    console = Console(width=140, force_terminal=False, file=io.StringIO())
    assert await demo["main"](["lamp"], 30_000, console, model) == 0
    said = console.file.getvalue()  # type: ignore[attr-defined]  # the one that was given
    assert "lamp, one trajectory: ✔ done" in said
    assert "One trajectory did 1 of 1 tasks, search 1 of 1" in said
    assert "The tree of one search" in said
