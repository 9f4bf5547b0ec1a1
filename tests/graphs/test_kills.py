"""`kill -9` in each state of each graph, and on: the same end, no finished call made again, no effect outside repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from .killing import Killing

PLAN = {"parts": [{"task": "first half", "share": 1}, {"task": "second half", "share": 1}], "constraints": []}


def turn(tool: str, **args: Any) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def solves(task: str, turns: int) -> str:
    """Notes what it is about to do, and answers: with a c only once it was told that there is none."""
    if task.startswith("You plan"):
        return json.dumps(PLAN)
    name = "refined" if "not accepted" in task else task.splitlines()[0]
    if turns == 0:
        return turn("note", text=name)
    return turn("answer", text="c" if name == "refined" else "ab")


def leads(task: str, turns: int) -> str:
    """Has two helpers note something twice each, and joins them."""
    if task == "top":
        return [turn("spawn", tasks=["a", "b"]), turn("join"), turn("answer", text="end")][turns]
    return turn("note", text=f"{task}{turns}") if turns < 2 else turn("answer", text=task.upper())


@pytest.fixture
def killing(tmp_path: Path) -> Iterator[Callable[..., Killing]]:
    """Makes runs to be killed, each with its server."""
    with ExitStack() as stack:

        def make(agent: str, says: Any) -> Killing:
            made = Killing(tmp_path / "run", agent, says)
            stack.enter_context(made.serving())
            return made

        yield make


SOLVED = {"plan/0", *(f"{name}/{n}" for name in ("part1", "part2", "top", "refine") for n in (0, 1))}


@pytest.mark.parametrize(
    ("held", "hold"),
    [
        pytest.param(["plan/0"], "", id="planning"),
        pytest.param(["part2/1"], "", id="searching a part"),
        pytest.param(["top/0"], "", id="searching the whole"),
        pytest.param([], "effect:top", id="in an effect"),
        pytest.param([], "judge", id="verifying"),
        pytest.param(["refine/1"], "", id="refining"),
    ],
)
def test_solving(killing: Callable[..., Killing], held: list[str], hold: str) -> None:
    """Only the call that was held is made again; what was begun outside is not begun again."""
    run = killing("solve", solves)
    finished = run.kill(*held, hold=hold)
    result = run.go_on()
    assert (result["answer"], result["accepted"], result["stop_reason"]) == ("c", True, "accepted")
    assert [row["passed"] for row in result["report"]["tries"]] == [False, True]
    assert run.times.keys() == SOLVED
    assert {name for name, times in run.times.items() if times > 1} == set(held)
    assert all(run.times[name] == 1 for name in finished)
    assert result["usage"]["calls"] == len(run.calls), "both attempts are charged"
    assert run.effects == ["first half", "second half", "top", "refined"]


HELPED = {f"{name}/{n}" for name in ("top", "a", "b") for n in range(3)}


@pytest.mark.parametrize(
    ("held", "after"),
    [
        pytest.param(["top/0"], 0, id="before they begin"),
        pytest.param(["a/1", "b/0"], 3, id="waiting for both"),
        pytest.param(["b/2"], 7, id="waiting for the second"),
        pytest.param(["top/2"], 8, id="after the join"),
    ],
)
def test_waiting_for_helpers(killing: Callable[..., Killing], held: list[str], after: int) -> None:
    """The parent joins the searches that an earlier process had begun."""
    run = killing("spawn", leads)
    finished = run.kill(*held, after=after)
    assert len(finished) == after
    result = run.go_on()
    assert (result["answer"], result["stop_reason"]) == ("end", "exhausted")
    assert run.times.keys() == HELPED
    assert {name for name, times in run.times.items() if times > 1} == set(held)
    assert result["usage"]["calls"] == len(run.calls)
    assert sorted(run.effects) == ["a0", "a1", "b0", "b1"]


def test_waiting_for_a_person(killing: Callable[..., Killing]) -> None:
    """Killed while one helper waits for a person; again when the person has answered, once the effect has happened."""
    run = killing("person", leads)
    run.kill("b/0", after=3)
    waiting = run.go_on()
    assert waiting["stop_reason"] == "waiting"
    assert run.effects == []
    asked = {question["arguments"]["text"]: question["id"] for question in waiting["questions"]}
    assert asked.keys() == {"a0", "b0"}
    run.kill("a/1", after=4, answers={asked["a0"]: True})
    assert run.effects == ["a0"]
    result = run.go_on(answers={})
    rounds = 0
    while result["stop_reason"] == "waiting":
        result = run.go_on(answers={question["id"]: True for question in result["questions"]})
        rounds += 1
    assert rounds == 2
    assert result["answer"] == "end"
    assert {name for name, times in run.times.items() if times > 1} == {"a/1", "b/0"}
    assert sorted(run.effects) == ["a0", "a1", "b0", "b1"]
