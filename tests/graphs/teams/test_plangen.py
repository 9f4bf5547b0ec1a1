"""PlanGEN: constraints from a model, searches chosen by what suits and what worked, rewards, and words for the next round."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.teams.plangen import PlanGEN
from branchwise.verifiers import Constraint

from .artifacts import is_one, turn

STATED = {"constraints": [{"text": "it is short", "needs": []}, {"text": "it is kind", "needs": [1]}]}


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def kind(request: ModelRequest) -> str:
    """Which of the agents is asked."""
    names = set((request.response_schema or {}).get("properties", {}))
    if request.messages[0].content.startswith("You check"):
        return "verify"
    return "constrain" if "constraints" in names else "suits" if names & {"best-of-n", "a"} else "solve"


def model(
    solve: Callable[[str], str], grade: Callable[[str, str], int], suits: dict[str, int] | None = None
) -> ScriptedModel:
    """A model that is all agents.

    Args:
        solve: the answer by the prompt.
        grade: the reward by a constraint and the solution.
        suits: what it says of the ways.
    """

    def reply(request: ModelRequest) -> str:
        prompt = request.messages[-1].content
        match kind(request):
            case "constrain":
                return json.dumps(STATED)
            case "suits":
                return json.dumps(suits)
            case "verify":
                shown = fences(request)
                lines = [line.split(". ", 1)[1] for line in shown["constraints"].splitlines()]
                grades = [(f"c{n}", grade(line, shown["solution"])) for n, line in enumerate(lines, 1)]
                return json.dumps(
                    {key: v for name, g in grades for key, v in ((f"why{name[1:]}", "because"), (name, g))}
                )
            case _:
                return solve(prompt)

    return ScriptedModel(reply, slots=1, native_tools=False)


def improving(prompt: str) -> str:
    """A solver that becomes kind once it is told that it was not."""
    return turn("short and kind" if "violated: it is kind" in prompt else "short")


def graded(constraint: str, solution: str) -> int:
    """Full reward for what is there, half of the way for what is not."""
    return 100 if constraint.rsplit(" ", 1)[1] in solution else 0


ONE = {"a": bw.search.BestOfN(n=1)}


async def test_what_was_said_leads_to_a_round_that_meets_all(runner: LocalRunner) -> None:
    """Constraints are stated and told to the solver; the verification's words go into the next round; its reward ends it."""
    asked = model(improving, graded)
    agent = bw.Agent(name="a", model=asked, team=PlanGEN(ways=ONE))
    result = await runner.run(agent, Task(prompt="greet"), bw.Budget(), seed=1)
    assert (result.answer, result.accepted, result.stop_reason) == ("short and kind", True, "accepted")
    assert [c["text"] for c in result.report["constraints"]] == ["it is short", "it is kind"]
    rows = result.report["tries"]
    assert [(row["way"], row["reward"], row["passed"]) for row in rows] == [("a", 50.0, False), ("a", 100.0, True)]
    assert result.report["flips"]["wrong_to_right"] == 1
    first, second = (r.messages[-1].content for r in asked.requests if kind(r) == "solve")
    assert "- it is kind" in first
    assert "short" in second
    assert "violated: it is kind (because)" in second


async def test_the_verification_does_not_see_how_it_came_about(runner: LocalRunner) -> None:
    """It is shown the task as it was given, the solution and the constraints: no feedback, no earlier round."""
    asked = model(improving, graded)
    agent = bw.Agent(name="a", model=asked, team=PlanGEN(ways=ONE, show="answer"))
    await runner.run(agent, Task(prompt="greet"), bw.Budget(), seed=1)
    last = [request for request in asked.requests if kind(request) == "verify"][-1]
    assert fences(last)["task"] == "greet"
    assert fences(last)["solution"] == "short and kind"
    assert "earlier attempt" not in last.messages[-1].content


async def test_code_decides_hard_constraints(runner: LocalRunner) -> None:
    """No model is asked about them; what it praises is not accepted while code refuses it."""
    asked = model(lambda prompt: turn("1" if "violated: begins with 1" in prompt else "0"), lambda _c, _s: 100)
    hard = Constraint("begins with 1", check=is_one(0))
    agent = bw.Agent(name="a", model=asked, team=PlanGEN((hard,), ways=ONE))
    result = await runner.run(agent, Task(prompt="x"), bw.Budget(), seed=1)
    assert [row["passed"] for row in result.report["tries"]] == [False, True]
    assert result.answer == "1"
    assert not any("begins with 1" in fences(r)["constraints"] for r in asked.requests if kind(r) == "verify")


WAYS = {"a": bw.search.BestOfN(n=1), "b": bw.search.BestOfN(n=2), "c": bw.search.BestOfN(n=3)}


@pytest.mark.parametrize(
    ("select", "suits", "ways"),
    [
        (bw.search.UCB(prior=0), None, ["a", "b", "c"]),
        (bw.search.UCB(prior=50), {"a": 0, "b": 90, "c": 10}, ["b", "b", "b"]),
        (bw.search.UCB(prior=50), {"a": 0, "b": 200, "c": 10}, ["a", "b", "c"]),
    ],
)
async def test_ways_are_chosen_by_what_suits_and_by_what_worked(
    runner: LocalRunner, select: bw.search.UCB, suits: dict[str, int] | None, ways: list[str]
) -> None:
    """Each once where nothing is thought of them, or what was said of them cannot be used; else the one that suits."""
    asked = model(lambda _: turn("x"), lambda _c, _s: -100, suits)
    team = PlanGEN(ways=WAYS, select=select, rounds=3)
    result = await runner.run(bw.Agent(name="a", model=asked, team=team), Task(prompt="x"), bw.Budget(), seed=1)
    assert [row["way"] for row in result.report["tries"]] == ways
    assert (
        sum(kind(request) == "suits" for request in asked.requests)
        == {0: 0, 50: 2 if ways[0] == "a" else 1}[select.prior]
    )
    solved = sum(kind(request) == "solve" for request in asked.requests)
    assert solved == sum(WAYS[way].n for way in ways)


async def test_a_way_that_works_is_taken_again(runner: LocalRunner) -> None:
    """Each was tried once; the one whose round got the best reward is taken in all that follow."""
    answers = iter(["x", "short", "short", "y"] + ["short"] * 20)  # one of a, two of b, then c and whatever comes
    asked = model(lambda _: turn(next(answers)), lambda constraint, text: 90 if "short" in text else -100)
    team = PlanGEN(ways=WAYS, select=bw.search.UCB(prior=0, exploration=0.01), rounds=5)
    result = await runner.run(bw.Agent(name="a", model=asked, team=team), Task(prompt="x"), bw.Budget(), seed=1)
    rows = result.report["tries"]
    assert [row["way"] for row in rows][:3] == ["a", "b", "c"]
    assert rows[0]["reward"] < rows[1]["reward"]
    assert {row["way"] for row in rows[3:]} <= {"b", "c"}


async def test_searches_over_steps_have_steps(runner: LocalRunner) -> None:
    """An agent without tools thinks in steps, each of which is verified: the better ones are followed."""

    def solve(prompt: str) -> str:
        return (
            json.dumps({"thought": "", "tool": "think", "args": {"step": "short"}})
            if "noted" not in prompt
            else turn("kind")
        )

    team = PlanGEN(ways={"a": bw.search.TotBFS(beams=1, width=2, depth=4)}, rounds=1)
    agent = bw.Agent(name="a", model=model(solve, graded), team=team)
    result = await runner.run(agent, Task(prompt="greet"), bw.Budget(calls=60), seed=1)
    assert (result.answer, result.accepted) == ("kind", True)
    assert result.node is not None
    assert result.tree[result.node].depth == 2
    step = result.tree.path(result.node)[1]
    assert result.tree.value(step.id) == pytest.approx(0.75)


async def test_the_budget_ends_it_with_the_best_round(runner: LocalRunner) -> None:
    """Not enough for all rounds: what there is counts, unaccepted."""
    agent = bw.Agent(name="a", model=model(lambda _: turn("short"), graded), team=PlanGEN(ways=ONE, rounds=50))
    result = await runner.run(agent, Task(prompt="x"), bw.Budget(calls=9), seed=1)
    assert (result.answer, result.accepted, result.usage.calls) == ("short", False, 9)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"derive": 0}, "no constraints"),
        ({"ways": {}}, "no ways"),
        ({"rounds": 0}, "at least 1"),
        ({"threshold": 101}, "from -100 to 100"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], why: str) -> None:
    """Refused when it is made."""
    with pytest.raises(bw.UsageError, match=why):
        PlanGEN(**options)
