"""Whole runs of a search that commits: tools with external effects are held back, done once, and shown as done."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.errors import UsageError
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def poster(journal: Path) -> tuple[bw.Agent, ScriptedModel]:
    """An agent that posts something else in every branch, and answers once it has posted."""
    numbers = itertools.count(1)

    @bw.tool(effects="external")
    def post(text: str) -> str:
        """Post a text."""
        with journal.open("a") as file:
            file.write(text + "\n")
        return f"posted {text}"

    def reply(request: ModelRequest) -> str:
        if any("posted" in message.content for message in request.messages):
            return json.dumps({"thought": "done", "tool": "answer", "args": {"text": "posted"}})
        return json.dumps({"thought": "so", "tool": "post", "args": {"text": f"text {next(numbers)}"}})

    model = ScriptedModel(reply, slots=1, native_tools=False)
    search = bw.search.CommitSearch(width=3, ahead=2, evaluations=3)
    return bw.Agent("poster", model, tools=[post], search=search, slots=1, approve="never"), model


async def test_only_what_is_committed_to_is_done(runner: LocalRunner, tmp_path: Path) -> None:
    """Three texts are tried, one is posted, and the answer's prompt shows it as posted, with no word of its having been held."""
    journal = tmp_path / "posts.txt"
    agent, model = poster(journal)
    result = await runner.run(agent, Task(prompt="Post something."), bw.Budget(), seed=1)
    assert (result.answer, journal.read_text()) == ("posted", "text 1\n")
    steps = [node.step for node in result.tree if node.step is not None]
    assert sum(step.held for step in steps) == 3
    last = "\n".join(message.content for message in model.requests[-1].messages)
    assert last.count("text 1") == 2, "the call and what came of it"
    assert "Not done yet" not in last


async def test_a_resumed_run_does_nothing_twice(runner: LocalRunner, tmp_path: Path) -> None:
    """Cut after its trials, the run goes on with the commit; what was done outside is not done again."""
    journal = tmp_path / "posts.txt"
    agent, _ = poster(journal)
    first = await runner.run(agent, Task(prompt="Post something."), bw.Budget(calls=3), seed=1)
    assert first.stop_reason == "budget"
    result = await runner.resume(agent, first.run_id, budget=bw.Budget(calls=9))
    assert (result.answer, journal.read_text()) == ("posted", "text 1\n")


async def test_around_it_other_rules_hold(runner: LocalRunner, tmp_path: Path) -> None:
    """A controller around it does not know what it may release, so tools with external effects are refused there."""
    agent, _ = poster(tmp_path / "posts.txt")
    with pytest.raises(UsageError, match="'post' has external effects"):
        await runner.run(
            agent,
            Task(prompt="x"),
            bw.Budget(),
            search=bw.search.NoiseAware(bw.search.CommitSearch()),
            seed=1,
        )
    assert not (tmp_path / "posts.txt").exists()
