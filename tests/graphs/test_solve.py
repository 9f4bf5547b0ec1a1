"""The solve graph: plan, search, verify, refine, finish or abstain; killed in any of them and gone on with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.events import Within
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.solve import solve_graph


def turn(text: str) -> str:
    """An answer in the JSON form."""
    return json.dumps({"thought": "so", "tool": "answer", "args": {"text": text}})


def model(script: Callable[[str], str]) -> ScriptedModel:
    """A model whose reply is a function of the last message."""
    return ScriptedModel(lambda request: script(request.messages[-1].content), slots=2, native_tools=False)


@bw.verifier
def has_c(candidate: bw.Candidate) -> bw.Verdict:
    """Accept what has a c in it."""
    passed = "c" in (candidate.answer or "")
    return bw.Verdict(float(passed), "outcome", "has_c", passed=passed, feedback="" if passed else "there is no c")


@bw.verifier
def anything(candidate: bw.Candidate) -> bool:
    """Accept anything."""
    return True


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


async def test_what_was_said_leads_to_a_better_attempt(runner: LocalRunner) -> None:
    """The last verifier rejects, its words are in the next prompt, and the better attempt is the answer."""
    asked = model(lambda prompt: turn("abc") if "there is no c" in prompt else turn("ab"))
    agent = bw.Agent(name="a", model=asked, verifiers=[anything], final=[has_c], rounds=2)
    result = await runner.run(agent, Task(prompt="letters"), bw.Budget(calls=9), seed=1)
    assert (result.answer, result.accepted, result.stop_reason) == ("abc", True, "accepted")
    assert [row["passed"] for row in result.report["tries"]] == [False, True]
    assert result.report["flips"] == {"right_to_wrong": 0, "wrong_to_right": 1}
    assert result.report["final"] == "independent of the verifiers that guided the search"
    assert result.usage.calls == len(asked.requests) == 2
    assert "ab" in asked.requests[1].messages[-1].content


async def test_nothing_helps(runner: LocalRunner) -> None:
    """After the last round the best attempt is given as what it is: not accepted."""
    agent = bw.Agent(name="a", model=model(lambda _: turn("ab")), verifiers=[anything], final=[has_c], rounds=2)
    result = await runner.run(agent, Task(prompt="letters"), bw.Budget(calls=9), seed=1)
    assert (result.answer, result.accepted, len(result.report["tries"])) == ("ab", False, 3)


async def test_the_report_says_who_judged(runner: LocalRunner) -> None:
    """A verifier that also guided the search is no independent judge."""
    agent = bw.Agent(name="a", model=model(lambda _: turn("c")), verifiers=[has_c], final=[has_c])
    result = await runner.run(agent, Task(prompt="letters"), bw.Budget(), seed=1)
    assert result.report["final"] == "has_c also guided the search"
    alone = dataclasses.replace(agent, final=(), rounds=1)
    assert "guided the search" in (await runner.run(alone, Task(prompt="letters"), bw.Budget(), seed=1)).report["final"]


PLAN = {
    "parts": [{"task": "find the first half", "share": 75}, {"task": "find the second half", "share": 25}],
    "constraints": ["it ends with c"],
}


def planned(prompt: str) -> str:
    """A planner, and a solver of parts and of the whole."""
    if "You plan" in prompt:
        return json.dumps(PLAN)
    for part, answer in (("find the first half", "ab"), ("find the second half", "c")):
        if prompt.startswith(part):
            return turn(answer)
    return turn("abc" if "it ends with c" in prompt and "ab" in prompt else "lost")


async def test_a_plan_is_carried_out(runner: LocalRunner) -> None:
    """Parts one after the other, each told what those before found; then the whole, told the constraints."""
    asked = model(planned)
    agent = bw.Agent(name="a", model=asked, verifiers=[anything], final=[has_c], plan=bw.Planner())
    items = [item async for item in runner.stream(agent, Task(prompt="letters"), bw.Budget(tokens=50_000), seed=1)]
    result = items[-1]
    assert isinstance(result, bw.Result)
    assert (result.answer, result.accepted, result.usage.calls) == ("abc", True, 4)
    assert result.report["plan"]["constraints"] == ["it ends with c"]
    prompts = [request.messages[-1].content for request in asked.requests]
    assert "ab" in prompts[2], "the second part is told what the first found"
    assert "it ends with c" in prompts[3]
    assert {item.path for item in items if isinstance(item, Within)} == {"part1", "part2", "try1"}
    assert len(result.tree) == 2


@pytest.mark.parametrize("reply", ["no json", json.dumps({"parts": [], "constraints": []})])
async def test_a_task_that_is_not_divided(runner: LocalRunner, reply: str) -> None:
    """The planner decides not to, or fails: the task is done in one piece."""
    agent = bw.Agent(
        name="a", model=model(lambda p: reply if "You plan" in p else turn("c")), final=[has_c], plan=bw.Planner()
    )
    result = await runner.run(agent, Task(prompt="letters"), bw.Budget(), seed=1)
    assert (result.answer, result.accepted, result.report["plan"]) == ("c", True, {"parts": [], "constraints": []})


async def test_the_budget_holds_over_all_stages(runner: LocalRunner) -> None:
    """It runs out in the middle: the best so far, with the reason."""
    agent = bw.Agent(name="a", model=model(lambda _: turn("ab")), verifiers=[anything], final=[has_c], rounds=50)
    result = await runner.run(agent, Task(prompt="letters"), bw.Budget(calls=5), seed=1)
    assert (result.answer, result.accepted, result.usage.calls) == ("ab", False, 5)
    assert len(result.report["tries"]) <= 6


async def test_a_verifier_that_breaks_accepts_nothing(runner: LocalRunner) -> None:
    """What nobody could check is not accepted, and the report says why."""

    @bw.verifier
    def broken(candidate: bw.Candidate) -> float:
        """Break."""
        raise bw.VerifierError("out of order")

    agent = bw.Agent(name="a", model=model(lambda _: turn("c")), final=[broken])
    result = await runner.run(agent, Task(prompt="letters"), bw.Budget(), seed=1)
    assert (result.answer, result.accepted) == ("c", False)
    assert "out of order" in result.report["tries"][0]["feedback"]


async def test_what_an_attempt_did_to_the_tests_helps_none_after_it(runner: LocalRunner, repository: Path) -> None:
    """The next attempt begins with its files; the tests that count stay those of the task, and changes are told against its files."""
    edit = {"path": "tests/test_maths.py", "old": "assert add(2, 3) == 5", "new": "assert add(2, 3) == -1"}
    wrong = {"path": "tests/test_maths.py", "old": "assert double(4) == 8", "new": "assert double(4) == 0"}
    calls = [("replace", edit), ("replace", wrong), ("answer", {"text": "done"}), ("answer", {"text": "done"})]
    replies = iter(json.dumps({"thought": "so", "tool": tool, "args": args}) for tool, args in calls)
    agent = bw.Agent(
        name="cheat", model=model(lambda _: next(replies)), tools=[bw.tools.files], sandbox=bw.sandboxes.Local(),
        final=[bw.verifiers.Tests()], rounds=1,
    )  # fmt: skip
    result = await runner.run(agent, Task(prompt="repair it", files=str(repository)), bw.Budget(calls=4), seed=1)
    assert [row["passed"] for row in result.report["tries"]] == [False, False]
    assert sorted(result.files) == ["tests/test_maths.py"]


def test_the_graph_can_be_drawn() -> None:
    """Its stages are those of the page about it."""
    drawn = solve_graph().compile().get_graph().draw_mermaid()
    assert all(f"{a} " in drawn for a in ("plan", "search", "verify", "refine", "finish", "abstain"))
