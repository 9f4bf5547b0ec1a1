"""Forks: a new run from a node of an earlier one, with something changed; nothing of what led there is paid again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.agents.forking import Fork
from branchwise.core.errors import JournalVersionMismatch, UsageError
from branchwise.core.events import Stopped
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, NodeId, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.journal import read_tree


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def model(script: Callable[[list[str]], str]) -> ScriptedModel:
    """A model whose reply is a function of what it sees: the system prompt, the task, its turns and what came of them."""

    def reply(request: ModelRequest) -> str:
        return script([message.content for message in request.messages])

    return ScriptedModel(reply, slots=2, native_tools=False)


def counting(seen: list[str]) -> str:
    """Add "1", "2" and "3", then say what the last addition came to."""
    turns = (len(seen) - 2) // 2
    return turn("add", text=str(turns + 1)) if turns < 3 else turn("answer", text=seen[-1])


@bw.tool
async def add(ctx: bw.Context, text: str) -> str:
    """Add a text to the file, and return all of it."""
    await ctx.sandbox.exec(f"printf %s {text} >> file")
    return (await ctx.sandbox.read("file")).decode()


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The task's files."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "file").write_text("0")
    return folder


def counter(**changes: Any) -> bw.Agent:
    """An agent that counts in a file."""
    settings = {"name": "counter", "model": model(counting), "tools": [add], "sandbox": bw.sandboxes.Local()}
    return bw.Agent(**{**settings, "context": "none", **changes})


@bw.tool(effects="pure", name="add")
def say(text: str) -> str:
    """Say a text."""
    return text


def speaker(**changes: Any) -> bw.Agent:
    """An agent that counts by saying so, without files."""
    return counter(**{"tools": [say], "sandbox": None, **changes})


async def counted(runner: LocalRunner, agent: bw.Agent, files: Path | None = None) -> bw.Result:
    """A run that has counted to three: its nodes are the root, three additions and the answer."""
    task = Task(prompt="count", files=None if files is None else str(files))
    result = await runner.run(agent, task, bw.Budget(calls=20), seed=1)
    assert (result.answer, result.usage.calls) == ("3" if files is None else "0123", 4)
    return result


def at_depth(result: bw.Result, depth: int) -> int:
    """The number of the node that is so deep."""
    return next(node.id for node in result.tree if node.depth == depth)


async def test_a_fork_goes_on_from_the_node(runner: LocalRunner, files: Path) -> None:
    """It has the node's files and trajectory, and pays for what comes only; the earlier run stays as it was, and may go."""
    agent = counter()
    first = await counted(runner, agent, files)
    asked = len(agent.model.requests)
    before = (runner.store.open(first.run_id).folder / "run.json").read_text()

    fork = Fork(first.run_id, at_depth(first, 2))
    second = await runner.fork(agent, fork, None, seed=5)
    assert (second.answer, second.usage.calls, len(second.tree)) == ("0123", 2, 3)
    assert second.files == {"file": b"0123"}, "changes count from the task's own files"
    request = agent.model.requests[asked]
    assert [message.content for message in request.messages][3::2] == ["01", "012"]
    run = runner.store.open(second.run_id)
    record = run.load()
    assert (record.forked["run"], record.forked["node"]) == (first.run_id, at_depth(first, 2))
    assert (runner.store.open(first.run_id).folder / "run.json").read_text() == before
    shutil.rmtree(runner.store.open(first.run_id).folder)
    tree, _ = await read_tree(run, record)
    assert [node.env_ref for node in tree] == [node.env_ref for node in second.tree]
    assert (await runner.resume(agent, second.run_id)).answer == "0123"
    third = await runner.fork(agent, Fork(second.run_id, at_depth(second, 1)), None, seed=6)
    assert (third.answer, third.usage.calls) == ("0123", 1), "a fork of a fork has all that led there"


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"instructions": "Count loudly."}, "Count loudly."),
        ({"prompt": "count on"}, "count on"),
        ({"model": model(lambda _: turn("answer", text="another model"))}, "another model"),
    ],
)
async def test_what_is_changed(runner: LocalRunner, changes: dict[str, Any], answer: str) -> None:
    """Instructions, task and model are the new run's, also when it is resumed with the agent as it is defined."""

    def telling(seen: list[str]) -> str:
        found = [words for words in ("Count loudly.", "count on") if any(words in text for text in seen[:2])]
        return turn("answer", text=found[0]) if found else counting(seen)

    agent = speaker(model=model(telling))
    first = await counted(runner, agent)
    fork = Fork(first.run_id, at_depth(first, 1), **changes)
    stopped = await runner.fork(agent, fork, bw.Budget(seconds=1e-9), seed=2)
    assert (stopped.stop_reason, stopped.usage.calls) == ("budget", 0)
    again = speaker(model=changes.get("model", agent.model))
    last = await runner.resume(again, stopped.run_id, budget=bw.Budget())
    assert (last.answer, last.usage.calls) == (answer, 1)


async def test_a_fork_with_another_model_object_needs_it_again(runner: LocalRunner) -> None:
    """An object cannot be kept; resuming with an agent that has another one is refused."""
    agent = speaker()
    first = await counted(runner, agent)
    other = ScriptedModel([turn("answer", text="x")], name="scripted:other", native_tools=False)
    forked = await runner.fork(agent, Fork(first.run_id, 0, model=other), None)
    with pytest.raises(JournalVersionMismatch, match="a model object called 'scripted:other'"):
        await runner.resume(agent, forked.run_id)
    again = await runner.fork(speaker(model=model(counting)), Fork(forked.run_id, 0), None)
    assert again.answer == "3", "its trajectory needs no model"


async def test_an_edited_action(runner: LocalRunner, files: Path) -> None:
    """It is done at the node in place of what the model did there, once, and the search goes on after it."""
    agent = counter()
    first = await counted(runner, agent, files)
    action = {"tool": "add", "arguments": {"text": "x"}}
    fork = Fork(first.run_id, at_depth(first, 2), action=action)
    second = await runner.fork(agent, fork, bw.Budget(calls=1), seed=1)
    assert (second.stop_reason, second.usage.calls) == ("budget", 1)
    assert agent.model.requests[-1].messages[-1].content == "01x"
    last = await runner.resume(agent, second.run_id, budget=bw.Budget())
    assert (last.answer, last.files, last.usage.tool_calls) == ("01x3", {"file": b"01x3"}, 2)


async def test_a_fork_of_a_trajectory_that_was_shown_others(runner: LocalRunner) -> None:
    """Its prompts show what they had shown, with what was said of it."""

    @bw.verifier
    def never(candidate: bw.Candidate) -> bw.Verdict:
        """Reject, with a word."""
        return bw.Verdict(0.2, "outcome", "never", passed=False, feedback=f"not {candidate.answer}")

    shown = model(lambda seen: turn("look") if len(seen) == 2 else turn("answer", text=str(sum(map(len, seen)))))

    @bw.tool(effects="pure")
    def look() -> str:
        """Look."""
        return "seen"

    agent = bw.Agent(name="a", model=shown, tools=[look], verifiers=[never], search=bw.search.SelfRefine(rounds=2))
    first = await runner.run(agent, Task(prompt="refine"), bw.Budget(calls=8), seed=1)
    framed = [n for n in first.tree if n.step is not None and n.step.framing is not None and n.step.framing.shown]
    looked = next(node for node in framed if first.tree.children(node.id))
    count = len(shown.requests)
    await runner.fork(agent, Fork(first.run_id, looked.id), bw.Budget(calls=1), seed=2, search=bw.search.BestOfN(n=1))
    seen = shown.requests[count].messages[:-1]
    assert any("not " in message.content for message in seen)
    assert seen in [request.messages[:-1] for request in shown.requests[:count]]


async def test_stages_after_a_fork(runner: LocalRunner) -> None:
    """A node of a search within a run can be forked, too; the last verifiers see the whole trajectory."""
    lengths: list[int] = []

    @bw.verifier
    def whole(candidate: bw.Candidate) -> bool:
        """Accept what was counted in four steps."""
        lengths.append(len(candidate.path))
        return candidate.answer == "3"

    agent = speaker(final=[whole])
    first = await runner.run(agent, Task(prompt="count"), bw.Budget(), seed=1)
    assert first.accepted
    fork = Fork(first.run_id, f"try1/{at_depth(first, 2)}")
    second = await runner.fork(agent, fork, None, seed=3)
    assert (second.answer, second.accepted, second.usage.calls, lengths) == ("3", True, 2, [5, 5])


async def test_a_fork_streams(runner: LocalRunner) -> None:
    """Its events are its own, the result comes last."""
    agent = speaker()
    first = await counted(runner, agent)
    items = [item async for item in runner.stream_fork(agent, Fork(first.run_id, at_depth(first, 3)), None)]
    assert isinstance(items[-2], Stopped)
    assert isinstance(items[-1], bw.Result)
    assert items[-1].usage.calls == 1


async def test_what_cannot_be_forked(runner: LocalRunner) -> None:
    """Each with what to do instead; no run is begun."""
    agent = speaker()
    first = await counted(runner, agent)
    runs = len(runner.store.runs())
    for fork, words in [
        (Fork(first.run_id, 99), "has no node 99"),
        (Fork(first.run_id, "try1/2"), "has no node try1/2"),
        (Fork(first.run_id, "two"), "'two' is no node"),
        (Fork(first.run_id, first.node), "fork the one before it"),
        (Fork(first.run_id, 0, action={"tool": "add", "arguments": {}}), "nothing was done at the root"),
        (Fork(first.run_id, 2, action={"tool": "burn", "arguments": {}}), "has no tool 'burn'"),
        (Fork("nothing", 2), "no run in"),
    ]:
        with pytest.raises(UsageError, match=words):
            await runner.fork(agent, fork, None)
    with pytest.raises(UsageError, match="is no action"):
        Fork(first.run_id, 2, action={"name": "add"})
    assert len(runner.store.runs()) == runs
    assert NodeId(99) not in first.tree
