"""The benchmark of the small model on pages, with a scripted one in its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import web_model
from shop import TASKS, Shop

from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest
from branchwise.web.tasks import MiniWoB

WAYS = ["tree search"]


def buys(request: ModelRequest) -> str:
    """A model that buys the lamp, and judges a page by its cart."""
    if "how it stands" in request.messages[0].content:
        said = request.messages[1].content
        stands = (
            "success"
            if "Cart (1)" in said
            else "progress"
            if "walnut" in said.lower().partition("work so far")[2]
            else "failure"
        )
        return json.dumps({"verdict": stands})
    seen = request.messages[-1].content
    if "Cart (1)" in seen:
        return json.dumps({"thought": "", "tool": "answer", "args": {"text": "done"}})
    for on in ('button "Add to cart"', 'link "Walnut Desk Lamp"'):
        if found := re.search(rf"\[(e\d+)\] {on}", seen):
            return json.dumps({"thought": "", "tool": "click", "args": {"ref": found[1]}})
    found = re.search(r"\[(e\d+)\] searchbox", seen)
    assert found is not None
    args = {"ref": found[1], "text": "walnut", "enter": True}
    return json.dumps({"thought": "", "tool": "fill", "args": args})


@pytest.mark.browser
async def test_ways_are_scored_at_the_end_and_kept(tmp_path: Path) -> None:
    """The shop's state decides, of the chosen trajectory and of any; a second benchmark needs no new runs."""
    model = ScriptedModel(buys, native_tools=False, slots=2)
    bench = web_model.Bench(model, tmp_path, tokens=12_000)
    with Shop() as shop:
        task = TASKS["lamp"].on(shop)
        found = {way: await bench.measure(task, way) for way in WAYS}
        asked = len(model.requests)
        again = web_model.Bench(model, tmp_path, tokens=12_000)
        assert [await again.measure(task, way) for way in WAYS] == list(found.values())
    assert len(model.requests) == asked
    assert all(one.any_done for one in found.values())
    assert found["tree search"].steps >= 3
    assert all(one.any_done or not one.done for one in found.values())
    assert all(0 < one.tokens <= 12_000 for one in found.values())
    assert web_model.finished(web_model.kept(tmp_path), WAYS, 12_000) == list(found.values())
    assert web_model.finished(web_model.kept(tmp_path), ["tree search"], 1) == []
    rows = {way: web_model.figures([one]) for way, one in found.items()}
    assert rows["tree search"]["any_done"] == 1
    assert len(web_model.table(rows, 12_000).columns) == 9


def test_the_twenty_are_there() -> None:
    """Twenty different ones, all of the family; no task is in both families."""
    with MiniWoB() as family:
        assert set(web_model.MINIWOB) <= set(family.names)
    assert len(set(web_model.MINIWOB)) == 20
    assert not set(web_model.MINIWOB) & set(TASKS)
