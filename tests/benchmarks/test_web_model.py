"""The benchmark of the small model on pages: what it compares, and what it goes on from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import web_model
from shop import TASKS

from branchwise.web.tasks import MiniWoB

WAYS = list(web_model.WAYS)


def outcome(task: str, way: str, *, done: bool, any_done: bool = True) -> web_model.Outcome:
    """What a way made of a task."""
    return web_model.Outcome(task, way, 9_000, done, any_done, float(done), 8_000, 200, 9, 8, 1.5, "budget")


def test_only_tasks_that_all_ways_have_done_compare(tmp_path: Path) -> None:
    """Kept outcomes are read again; a task that one way has not done yet is left out of all."""
    rows = [outcome("lamp", way, done=way == WAYS[1]) for way in WAYS]
    rows += [outcome("miniwob-click-link-1", way, done=True) for way in WAYS]
    rows.append(outcome("log-in", WAYS[0], done=True))
    (tmp_path / web_model.OUTCOMES).write_text("".join(json.dumps(asdict(row)) + "\n" for row in rows))
    assert web_model.kept(tmp_path / "elsewhere") == []
    found = web_model.finished(web_model.kept(tmp_path), WAYS, 9_000)
    assert {one.task for one in found} == {"lamp", "miniwob-click-link-1"}
    assert web_model.finished(rows, WAYS, 1) == []
    figures = {way: web_model.figures([one for one in found if one.way == way]) for way in WAYS}
    assert [figures[way]["done"] for way in WAYS] == [1, 2, 1]
    assert (figures[WAYS[0]]["any_done"], figures[WAYS[0]]["shop_done"], figures[WAYS[0]]["miniwob_done"]) == (2, 0, 1)
    assert len(web_model.table(figures, 9_000).rows) == 3


def test_the_twenty_are_there() -> None:
    """Twenty different ones, all of the family; no task is in both families."""
    with MiniWoB() as family:
        assert set(web_model.MINIWOB) <= set(family.names)
    assert len(set(web_model.MINIWOB)) == 20
    assert not set(web_model.MINIWOB) & set(TASKS)
