"""Teams killed in the middle: the same end, no finished call made again, nothing done outside twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from branchwise.graphs.teams.explorer_prover import META_PROMPTS
from branchwise.graphs.teams.run_memory import RunMemory
from branchwise.search.navigation import ASPECTS

from .killing import Killing

MARKS = {
    "Judge the work": "assess",
    "Take notes": "notes",
    "<<< task": "judge",
    "There is a version already": "edit",
    "was checked and not accepted": "retry",
    "Take the next step": "reason",
    "Somebody has tried": "correct",
    "Others have tried": "rewrite",
    "You explore": "explore",
    "You prove": "prove",
    "Give the final answer": "answer",
}


def label(task: str) -> str:
    """What is asked for, and for which part of the run where that is asked for more than once."""
    name = next((name for words, name in MARKS.items() if words in task), "draft")
    reports = re.findall(r"(?:explored|proved) \d", task)
    if name in {"notes", "judge"}:
        return f"{name} of {reports[-1]}"
    if name in {"explore", "prove"}:
        return f"{name} {2 if META_PROMPTS['small-cases'] in task else 1}"
    return name + ("" if name != "assess" else str(task.count("<<< step")))


def turn(tool: str, **args: Any) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


ANSWERS = {
    "draft": "ab",
    "edit": "abc",
    "retry": "abc",
    "correct": "abd",
    "rewrite": "abe",
    "reason": "so\nFinal answer: 7",
    "explore 1": "explored 1",
    "explore 2": "explored 2",
    "prove 1": "proved 1",
    "prove 2": "proved 2",
    "answer": "7",
}
NOTES: dict[str, dict[str, Any]] = {
    "explored 1": {"open": ["it is even"], "failed": ["squares"]},
    "proved 2": {"facts": [{"text": "it is odd", "program": ""}], "refuted": [1], "answer": "7"},
}


def says(task: str, turns: int) -> str:
    """Notes outside what it is about to do, and answers; marks, judges and takes notes without doing anything."""
    name = label(task)
    if name.startswith("assess"):
        high, low = (3, 1) if name == "assess1" else (2, 2)
        return json.dumps(dict(zip(ASPECTS, (3, 3, 3, low, low, high, high), strict=True)))
    if name.startswith("notes"):
        empty: dict[str, Any] = {"facts": [], "failed": [], "open": [], "refuted": [], "answer": ""}
        return json.dumps(empty | NOTES.get(name.removeprefix("notes of "), {}))
    if name.startswith("judge"):
        return json.dumps({"critique": "read", "verdict": "yes"})
    return turn("note", text=name) if turns == 0 else turn("answer", text=ANSWERS[name])


KNOWN = RunMemory(facts=("it is odd",), failed=("squares", "refuted: it is even"))


@pytest.mark.parametrize(
    ("team", "held", "answer", "done"),
    [
        ("constraint-loop", "edit/1", "abc", ["draft", "edit"]),
        ("plangen", "retry/0", "abc", ["draft", "retry"]),
        ("scattered", "correct/1", "abe", ["draft", "correct", "rewrite"]),
        ("logic-blocks", "assess1/0", "7", ["reason", "answer"]),
        ("explorer-prover", "judge of proved 2/0", "7", ["explore 1", "prove 1", "explore 2", "prove 2", "answer"]),
    ],
)
def test_a_killed_team_goes_on(tmp_path: Path, team: str, held: str, answer: str, done: list[str]) -> None:
    """Only the call that was held is made again; what was begun outside is not begun again; the memory is the same to the bit."""
    run = Killing(tmp_path / "run", team, says, label)
    with run.serving():
        finished = run.kill(held)
        result = run.go_on()
    assert result["answer"] == answer
    assert {name for name, times in run.times.items() if times > 1} == {held}
    assert all(run.times[name] == 1 for name in finished)
    assert result["usage"]["calls"] == len(run.calls)
    assert run.effects == done
    if team == "explorer-prover":
        assert result["report"]["memory"] == KNOWN.to_json()
        assert result["report"]["memory_digest"] == KNOWN.digest
