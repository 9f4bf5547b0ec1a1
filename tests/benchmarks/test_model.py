"""The benchmark with a real model, without one: what it reads, what it runs, what it keeps, what it reports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import humaneval
import model
import pytest
from metered import Clocked
from rich.console import Console

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest
from branchwise.models import RecordedModel

ROW = {
    "task_id": "Test/0",
    "prompt": 'from typing import List\n\n\ndef total(numbers: List[int]) -> int:\n    """Return the sum.\n    >>> total([1, 2])\n    3\n    """\n',
    "entry_point": "total",
    "test": "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n    assert candidate([5]) == 5\n",
}
TESTS = "```python\nassert total([1, 2]) == 3\nassert total([]) == 0\nassert total(5) == five\nassert other([]) == 0\n"
WRONG = "```python\ndef total(numbers: List[int]) -> int:\n    return numbers[0]\n"
RIGHT = "```python\ndef total(numbers: List[int]) -> int:\n    return sum(numbers)  # all of them\n"


@pytest.fixture
def problem(tmp_path: Path) -> humaneval.Problem:
    """The problem, read from a file."""
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    (problem,) = humaneval.problems(path)
    return problem


def scripted() -> ScriptedModel:
    """A model that writes tests, is wrong at first and right from its second attempt on."""
    attempts: dict[str, int] = {}

    def script(request: ModelRequest) -> str:
        kind = request.messages[0].content.splitlines()[0]
        if kind.startswith("You write tests"):
            return TESTS
        attempts[kind] = attempts.get(kind, 0) + 1
        right = attempts[kind] > 1
        if request.response_schema is None:
            return RIGHT if right else WRONG
        lines = ["def total(numbers: List[int]) -> int:", f"    return {'sum(numbers)' if right else 'numbers[0]'}"]
        args = {"path": humaneval.FILE, "name": "total", "lines": lines}
        return json.dumps({"thought": "", "tool": "rewrite", "args": args})

    return ScriptedModel(script, slots=4, native_tools=False)


def test_usable_tests_are_found() -> None:
    """Calls with literal arguments compared with literals, each once; everything else is left out."""
    found = humaneval.cases_of(TESTS + "assert total([1, 2]) == 4\nassert not total([0])\nassert total([7])\n", "total")
    assert [(case.args, case.expected) for case in found] == [
        (([1, 2],), 3),
        (([],), 0),
        (([0],), False),
        (([7],), True),
    ]


def test_programs_are_compared_bare() -> None:
    """Comments, docstrings and layout make no difference, code does."""
    assert model.same_program(
        RIGHT, '```python\ndef total(numbers: List[int]) -> int:\n  "Sum."\n  return sum( numbers )\n```'
    )
    assert not model.same_program(RIGHT, WRONG)
    assert model.same_program("no code", "no code")


def test_absent_problems_say_where_to_get_them(tmp_path: Path) -> None:
    """The message names the source."""
    with pytest.raises(FileNotFoundError, match="github.com/openai/human-eval"):
        humaneval.problems(tmp_path / "none.jsonl")


METHODS = ("one sample", "best-of-n", "best-first")
"""One without tests, one whose attempts are answers, one that mends a file."""


async def test_runs_are_scored_and_kept(problem: humaneval.Problem, tmp_path: Path) -> None:
    """Methods with a second attempt solve it, one sample does not; a second benchmark needs neither the model nor new runs."""
    inner = scripted()
    clock = Clocked(inner, tmp_path / "seconds.jsonl")
    kept = RecordedModel(tmp_path / "replies.jsonl", clock)
    supply = await bw.sandboxes.Auto().start("test", tmp_path / "snapshots")
    bench = model.Bench(kept, clock, tmp_path, supply, calls=4, pace_seconds=0.0)
    found = {name: await bench.measure(problem, name) for name in METHODS}
    assert not found["one sample"].solved
    assert all(found[name].solved and found[name].accepted for name in METHODS[1:])
    assert found["best-of-n"].tokens > found["one sample"].tokens
    assert all(outcome.seconds >= 0 for outcome in found.values())

    assert model.finished(model.kept(tmp_path), METHODS, 4) == list(found.values())
    assert model.finished(model.kept(tmp_path), [*METHODS, "self-consistency"], 4) == []

    asked = len(inner.requests)
    kept = RecordedModel(tmp_path / "replies.jsonl", clock)
    again = model.Bench(kept, clock, tmp_path, supply, calls=4, pace_seconds=0.0)
    assert [await again.measure(problem, name) for name in METHODS] == list(found.values())
    again.outcomes.clear()
    assert (await again.measure(problem, "best-of-n")).tokens == found["best-of-n"].tokens
    assert len(inner.requests) == asked
    await supply.aclose()
    await clock.aclose()


def test_the_report_says_what_does_not_pay() -> None:
    """A method that solves no more than one sample and costs more is named."""

    def outcome(name: str, *, solved: bool, tokens: int) -> model.Outcome:
        return model.Outcome("Test/0", name, 4, solved, True, tokens, tokens, 1.0, None)

    rows: dict[str, dict[str, Any]] = {
        name: model.figures([outcome(name, solved=True, tokens=t), outcome(name, solved=s, tokens=t)])
        for name, t, s in (("one sample", 100, False), ("dear", 300, False), ("worth it", 300, True))
    }
    assert rows["dear"]["cost_of_pass_tokens"] == 600
    assert rows["worth it"]["cost_of_pass_tokens"] == 300
    assert rows["worth it"]["accepted_right"] == 2
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(model.table(rows, 4))
    assert "do not pay: dear" in " ".join(console.export_text().split())
    assert model.figures([outcome("none", solved=False, tokens=5)])["cost_of_pass_tokens"] is None
