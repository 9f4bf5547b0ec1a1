"""What graphs around searches are made of: searches and calls by name, done once, several at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

import branchwise as bw
from branchwise.core.events import Within
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.stage import Interrupted, Stage


class PairState(TypedDict, total=False):
    """Both answers, and which one was taken."""

    answers: list[str | None]
    taken: int


async def _both(state: PairState, runtime: Runtime[Stage]) -> dict[str, Any]:
    stage = runtime.context
    tasks = [stage.task.model_copy(update={"prompt": f"{word}: {stage.task.prompt}"}) for word in ("one", "two")]
    results = await stage.together(*(stage.search(f"search{n}", task) for n, task in enumerate(tasks)))
    return {"answers": [None if isinstance(r, bw.BranchwiseError) else r.answer for r in results]}


async def _take(state: PairState, runtime: Runtime[Stage]) -> dict[str, Any]:
    reply = await runtime.context.ask("choice", f"which of {state.get('answers')}? 0 or 1")
    return {"taken": int(reply.text)}


@dataclass(frozen=True)
class Pair:
    """Two searches, and a call that takes one of their answers."""

    @property
    def name(self) -> str:
        """Its name."""
        return "pair"

    def graph(self) -> StateGraph[PairState, Stage, PairState, PairState]:
        """Both, then take."""
        graph = StateGraph(PairState, context_schema=Stage)
        graph.add_node("both", _both)
        graph.add_node("take", _take)
        graph.add_edge(START, "both")
        graph.add_edge("both", "take")
        graph.add_edge("take", END)
        return graph

    async def result(self, state: PairState, stage: Stage) -> bw.Result:
        """The taken one."""
        return replace(await stage.search(f"search{state.get('taken', 0)}"), report={"answers": state.get("answers")})


def replies(request: ModelRequest) -> str:
    """Answer with the first word; take the second one."""
    said = request.messages[-1].content
    if said.startswith("which"):
        return "1"
    return json.dumps({"thought": "so", "tool": "answer", "args": {"text": said.split(":")[0].split()[-1]}})


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def agent(**more: Any) -> bw.Agent:
    """An agent that is a pair."""
    model = ScriptedModel(replies, slots=2, native_tools=False)
    return bw.Agent(name="a", model=model, team=Pair(), **more)


async def test_a_team_makes_one_answer(runner: LocalRunner) -> None:
    """Its searches and calls are paid together, and its answer is that of the search it took."""
    result = await runner.run(agent(), Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.answer, result.report) == ("two", {"answers": ["one", "two"]})
    assert (result.usage.calls, result.run_id) == (3, next(iter(runner.store.runs())).folder.name)


async def test_a_run_that_ended_is_paid_once(runner: LocalRunner) -> None:
    """Resumed after its end it comes to the same, and asks nobody; another team is another run."""
    made = agent()
    first = await runner.run(made, Task(prompt="x"), bw.Budget(), seed=1)
    again = await runner.resume(made, first.run_id)
    assert (again.answer, again.usage.calls) == (first.answer, first.usage.calls)
    assert isinstance(made.model, ScriptedModel)
    assert len(made.model.requests) == 3
    with pytest.raises(bw.JournalVersionMismatch, match="team Pair"):
        await runner.resume(replace(made, team=None), first.run_id)


async def test_stages_around_a_team(runner: LocalRunner) -> None:
    """What checks at the end and tries again does so with the team as its search."""

    @bw.verifier
    def one(candidate: bw.Candidate) -> bool:
        """Accept what is never taken."""
        return candidate.answer == "one"

    seen = [
        item
        async for item in runner.stream(
            agent(final=[one], rounds=1), Task(prompt="x"), bw.Budget(), seed=1, search=None
        )
    ]
    result = seen[-1]
    assert isinstance(result, bw.Result)
    assert [row["passed"] for row in result.report["tries"]] == [False, False]
    assert result.report["answers"] == ["one", "two"]
    paths = {item.path for item in seen if isinstance(item, Within)}
    assert paths == {f"try{n}/search{m}" for n in (1, 2) for m in (0, 1)}


async def test_what_fails_is_one_of_the_results(runner: LocalRunner) -> None:
    """Where one of several things at once fails, the others count; what cannot be done at all is said."""

    async def good() -> int:
        return 1

    async def bad(error: BaseException) -> int:
        raise error

    together = Stage.together
    stage: Any = None
    broken = bw.ModelUnavailable("gone")
    assert await together(stage, good(), bad(broken), good()) == [1, broken, 1]
    with pytest.raises(bw.UsageError, match="never"):
        await together(stage, good(), bad(bw.UsageError("never")))
    result = await runner.run(agent(), Task(prompt="x"), bw.Budget(), seed=1)
    waiting = replace(result, stop_reason="waiting", questions=())
    with pytest.raises(Interrupted) as stopped:
        await together(stage, bad(Interrupted(waiting)), bad(Interrupted(replace(result, stop_reason="interrupted"))))
    assert stopped.value.result.stop_reason == "interrupted"


def test_only_teams_are_teams() -> None:
    """Something else is refused by its name."""
    with pytest.raises(bw.UsageError, match="'archon' is no team"):
        bw.Agent(name="a", model="embedded:x", team="archon")  # type: ignore[arg-type]  # it is what is tested
