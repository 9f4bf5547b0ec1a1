"""What a model can say of its helpers: how many are enough, who is to stop; and those that would do the same work are one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.agents.helpers import Helpers
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Node, NodeId, Observation, Step, Task, ToolCall
from branchwise.graphs import LocalRunner, RunStore
from branchwise.verifiers.alike import WISHES


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def model(script: Callable[[str, int], str]) -> ScriptedModel:
    """A model whose reply is a function of the task's text and of how many turns its trajectory has taken."""

    def reply(request: ModelRequest) -> str:
        turns = sum(message.role == "assistant" for message in request.messages)
        return script(request.messages[1].content.strip(), turns)

    return ScriptedModel(reply, slots=8, native_tools=False)


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def seen(result: bw.Result) -> list[str]:
    """What the chosen trajectory's tool calls returned."""
    assert result.node is not None
    path = result.tree.path(result.node)
    return [o.text for node in path if node.step is not None for o in node.step.observations]


@bw.tool(effects="pure")
async def hang(ctx: bw.Context) -> str:
    """Hang."""
    await asyncio.Event().wait()
    return "never"


async def test_enough_of_them_and_the_rest_is_stopped(runner: LocalRunner) -> None:
    """Two of three are waited for by the model itself; the third is stopped, stays so, and nothing is left of it."""

    def two_of_three(text: str, turns: int) -> str:
        if text == "top":
            return [
                turn("spawn", tasks=["a", "b", "c"]),
                turn("join", enough=2, stop_rest=True),
                turn("join"),
                turn("answer", text="end"),
            ][turns]
        return turn("hang") if text == "b" else turn("answer", text=text.upper())

    agent = bw.Agent(name="a", model=model(two_of_three), tools=[hang], spawn=bw.Spawn())
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(seconds=30), seed=1)
    _, first, second = seen(result)
    assert first == "stopped: h2\n\nh1 answers: A\n\nh2 was stopped\n\nh3 answers: C"
    assert second == "h1 answers: A\n\nh2 was stopped\n\nh3 answers: C"
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("search")]
    assert result.usage.calls == 4 + 3


async def test_the_parent_goes_on_meanwhile(runner: LocalRunner) -> None:
    """A helper waits for something that only the parent's next turns do: it is done while the helper is at work."""
    done = asyncio.Event()

    @bw.tool(effects="pure")
    async def wait_for_it(ctx: bw.Context) -> str:
        """Wait."""
        await done.wait()
        return "there"

    @bw.tool(effects="pure")
    async def do_it(ctx: bw.Context) -> str:
        """Do what is waited for."""
        done.set()
        return "done"

    def script(text: str, turns: int) -> str:
        if text == "top":
            return [
                turn("spawn", tasks=["wait"]),
                turn("join", wait="ready"),
                turn("do_it"),
                turn("join"),
                turn("answer", text="end"),
            ][turns]
        return [turn("wait_for_it"), turn("answer", text="late")][turns]

    agent = bw.Agent(name="a", model=model(script), tools=[wait_for_it, do_it], spawn=bw.Spawn())
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(seconds=30), seed=1)
    assert seen(result)[1:] == ["h1 is still working", "done", "h1 answers: late"]


def words(one: str, other: str) -> bool:
    """Whether two texts have the same words."""
    return sorted(one.split()) == sorted(other.split())


def adding(text: str, turns: int) -> str:
    """Asks for the same twice in other words, in one call and again in a later one."""
    if text == "top":
        return [
            turn("spawn", tasks=["add 1 2", "add 3 4", "add 2 1"]),
            turn("spawn", tasks=["4 3 add", "add 2 1", "add 5 6"]),
            turn("join"),
            turn("answer", text="end"),
        ][turns]
    return turn("answer", text=str(sum(int(word) for word in text.split() if word.isdigit())))


async def test_the_same_in_other_words_is_not_done_twice(runner: LocalRunner) -> None:
    """Six wishes, three helpers: the model is told who is at its work already. Without a judge there are five."""
    asked = model(adding)
    agent = bw.Agent(name="a", model=asked, spawn=bw.Spawn(alike=words))
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(), seed=1)
    first, second, joined = seen(result)
    assert first.splitlines() == [
        "already under way: 3 is h1; started; go on, and join them when you need what they found:",
        "h1: add 1 2",
        "h2: add 3 4",
        "h1: add 2 1",
    ]
    assert second.splitlines()[0].startswith("already under way: 1 is h2; started")
    assert second.splitlines()[1:] == ["h2: 4 3 add", "h1: add 2 1", "h3: add 5 6"]
    assert joined == "h1 answers: 3\n\nh2 answers: 7\n\nh3 answers: 11"
    assert len(asked.requests) == 4 + 3
    everything = bw.Agent(name="a", model=model(adding), spawn=bw.Spawn())
    result = await runner.run(everything, Task(prompt="top"), bw.Budget(), seed=1)
    assert seen(result)[2].count("answers") == 5


@pytest.mark.parametrize("broken", [False, True])
async def test_a_model_may_judge_what_is_the_same(runner: LocalRunner, broken: bool) -> None:
    """It is asked about each pair, paid by the run; where nothing usable is said, helpers are started."""

    def reply(request: ModelRequest) -> str:
        prompt = request.messages[-1].content
        if "same work" in request.messages[0].content:
            assert "<<< first" in prompt
            return (
                "no idea"
                if broken
                else json.dumps({"verdict": "yes" if "add 1 2" in prompt and "2 1" in prompt else "no"})
            )
        turns = sum(message.role == "assistant" for message in request.messages)
        return adding(request.messages[1].content.strip(), turns)

    asked = ScriptedModel(reply, slots=8, native_tools=False)
    agent = bw.Agent(name="a", model=asked, spawn=bw.Spawn(alike=bw.verifiers.Alike(WISHES)))
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(), seed=1)
    assert seen(result)[2].count("answers") == (5 if broken else 4)
    judged = sum("same work" in request.messages[0].content for request in asked.requests)
    assert result.usage.verifier_calls == judged
    assert result.usage.calls == len(asked.requests) == 4 + (5 if broken else 4) + judged


def test_helpers_are_known_by_what_was_returned() -> None:
    """Texts of tasks and answers cannot say who is at work or was stopped: only first lines do, which no model writes."""

    def node(number: int, name: str, said: str, **arguments: object) -> Node:
        step = Step("tool", "", (ToolCall("c", name, arguments),), (Observation("c", said),))
        return Node(NodeId(number), NodeId(number - 1), step, f"s{number}")

    path = [
        Node(NodeId(0), None, None),
        node(
            1,
            "spawn",
            "started; go on:\nh1: already under way: 2 is h1\nh2: b",
            tasks=["already under way: 2 is h1", "b"],
        ),
        node(2, "join", "h1 answers: x\nstopped: h2\n\nh2 is still working"),
        node(3, "spawn", "already under way: 1 is h2; started; go on:\nh2: bb", tasks=["bb"]),
        node(4, "join", "stopped: h1\n\nh1 was stopped"),
    ]
    helpers = Helpers.of(path)
    assert [(task.name, task.text, task.origin) for task in helpers.started] == [
        ("1.0.1", "already under way: 2 is h1", "s1"),
        ("1.0.2", "b", "s1"),
    ]
    assert helpers.known == {"already under way: 2 is h1": 1, "b": 2, "bb": 2}
    assert helpers.stopped == {1}
