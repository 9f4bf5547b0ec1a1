"""Searches within a search: started by a model or from Python, joined, stopped, killed and gone on with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.errors import UsageError
from branchwise.core.events import Cancelled, Denied, Expanded, Failed, Joined, Judged, Spawned, Within
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Message, ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def model(script: Callable[[str, int], str], *, seconds: float = 0.0) -> ScriptedModel:
    """A model whose reply is a function of the task's text and of how many turns its trajectory has taken."""

    def reply(request: ModelRequest) -> str:
        turns = sum(message.role == "assistant" for message in request.messages)
        return script(request.messages[1].content.strip(), turns)

    return ScriptedModel(
        reply, slots=8, native_tools=False, latency_seconds=(lambda _request: seconds) if seconds else None
    )


def adder(text: str, turns: int) -> str:
    """The parent has two sums worked out and adds them; a helper answers its own sum."""
    if text == "add all":
        return [
            turn("spawn", tasks=["1+2", "3+4", "1+2"]),
            turn("join"),
            turn("answer", text="10"),
        ][turns]
    left, right = text.split("+")
    return turn("answer", text=str(int(left) + int(right)))


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def seen(result: bw.Result) -> list[str]:
    """What the chosen trajectory's tool calls returned."""
    assert result.node is not None
    path = result.tree.path(result.node)
    return [o.text for node in path if node.step is not None for o in node.step.observations]


async def test_a_model_starts_and_joins(runner: LocalRunner) -> None:
    """Two helpers for three wishes of which two are alike; each saw its own words only, the parent their answers only."""
    asked = model(adder)
    agent = bw.Agent(name="adder", model=asked, spawn=bw.Spawn(width=4))
    result = await runner.run(agent, Task(prompt="add all"), bw.Budget(tokens=10_000), seed=1)
    assert result.answer == "10"
    started, joined = seen(result)
    assert started.splitlines()[1:] == ["h1: 1+2", "h2: 3+4"]
    assert joined == "h1 answers: 3\n\nh2 answers: 7"
    assert len(asked.requests) == 3 + 2
    helpers = [r for r in asked.requests if "add all" not in r.messages[1].content]
    assert {r.messages[1].content.strip() for r in helpers} == {"1+2", "3+4"}
    assert result.usage.calls == 5
    assert result.usage.nodes == 5


async def test_what_happens_within_is_told_with_its_place(runner: LocalRunner) -> None:
    """The stream has the parent's events, beginnings and ends of searches among them, and those within by their path."""
    agent = bw.Agent(name="adder", model=model(adder), spawn=bw.Spawn())
    items = [item async for item in runner.stream(agent, Task(prompt="add all"), bw.Budget(), seed=1)]
    assert [event.task for event in items if isinstance(event, Spawned)] == ["1+2", "3+4"]
    assert {(event.name, event.answer) for event in items if isinstance(event, Joined)} == {
        ("2.0.1", "3"),
        ("2.0.2", "7"),
    }
    assert {item.path for item in items if isinstance(item, Within)} == {"2.0.1", "2.0.2"}


async def test_helpers_may_not_go_on_for_ever(runner: LocalRunner) -> None:
    """Width and depth are limited, and the model is told so."""

    def greedy(text: str, turns: int) -> str:
        if text == "top":
            return [
                turn("spawn", tasks=["a", "b", "c"]),
                turn("spawn", tasks=["a"]),
                turn("spawn", tasks=["b", "c"]),
                turn("join"),
                turn("answer", text="x"),
            ][turns]
        return [turn("spawn", tasks=["deeper"]), turn("answer", text="alone")][turns]

    agent = bw.Agent(name="greedy", model=model(greedy), spawn=bw.Spawn(width=2, depth=1), form="json")
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(calls=20), seed=1)
    first, second, third, last = seen(result)
    assert "at most 2 items" in first
    assert second.endswith("h1: a")
    assert third == "1 helpers were started and 2 more are asked for; 2 is the most"
    assert last == "h1 answers: alone", "its own wish for a helper was refused: it has no such tool"
    [spawn] = [tool for tool in agent.toolbox if tool.name == "spawn"]
    assert spawn.spec.parameters["properties"]["tasks"]["maxItems"] == 2, "a grammar that is enforced keeps to it"


async def test_a_share_of_the_budget(runner: LocalRunner) -> None:
    """Helpers that never end spend their share; the parent goes on with what is left, and all of it adds up."""

    def endless(text: str, turns: int) -> str:
        if text == "top":
            return [turn("spawn", tasks=["a", "b"]), turn("join"), turn("answer", text="enough")][turns]
        return turn("nothing")

    agent = bw.Agent(
        name="endless", model=model(endless), search=bw.search.BestOfN(n=1, depth=500, repeats=500), spawn=bw.Spawn()
    )
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(calls=41), seed=1)
    assert result.answer == "enough"
    assert seen(result)[1].count("found no answer: the budget's calls (of search") == 2
    assert result.usage.calls == 3 + 2 * 10, "a half of the 40 that were left, shared by two"


async def test_from_python(runner: LocalRunner) -> None:
    """A tool starts searches in a block; the first valid answer is enough, and leaving the block stops the rest."""
    helper = bw.Agent(name="helper", model=model(lambda text, _: turn("answer", text=text), seconds=0.01))
    slow = bw.Agent(name="slow", model=model(lambda text, _: turn("answer", text=text), seconds=60))
    ended: list[list[bw.Conclusion]] = []

    @bw.tool(effects="pure")
    async def ask_around(ctx: bw.Context) -> str:
        """Ask around."""
        async with ctx.group() as group:
            group.spawn(slow, "late")
            group.spawn(helper, "early")
            ended.append(await group.join(until="first"))
            ended.append(await group.join(until="ready"))
        ended.append(await group.join())
        return ended[0][0].answer or "nobody"

    parent = bw.Agent(
        name="parent",
        model=model(lambda _, turns: [turn("ask_around"), turn("answer", text="done")][turns]),
        tools=[ask_around],
    )
    result = await runner.run(parent, Task(prompt="go"), bw.Budget(seconds=30), seed=1)
    assert seen(result) == ["early"]
    assert [[(c.task, c.valid) for c in conclusions] for conclusions in ended] == [
        [("early", True)],
        [("early", True)],
        [("late", False), ("early", True)],
    ]
    assert ended[2][0].reason == "cancelled"
    assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("search")]) == 0


@pytest.mark.parametrize("trouble", ["crash", "hang", "flood"])
async def test_one_of_32_fails(runner: LocalRunner, trouble: str) -> None:
    """It crashes, hangs or floods; the parent ends in time with 31 results."""

    def troubled(text: str, turns: int) -> str:
        if text == "top":
            others = [f"h{number}" for number in range(1, 33) if number != 8]
            return [
                turn("spawn", tasks=[f"part {number}" for number in range(32)]),
                turn("join", helpers=others),
                turn("join", helpers=["h8"], seconds=0.5 if trouble == "hang" else 600),
                turn("answer", text="end"),
            ][turns]
        if text != "part 7":
            return turn("answer", text=f"did {text}")
        if trouble == "crash":
            raise RuntimeError("boom")
        return turn("answer", text="x" * 3_900) if trouble == "flood" else turn("hang")

    @bw.tool(effects="pure")
    async def hang(ctx: bw.Context) -> str:
        """Hang."""
        await asyncio.Event().wait()
        return "never"

    asked = model(troubled)
    agent = bw.Agent(name="troubled", model=asked, tools=[hang], spawn=bw.Spawn(width=32), slots=32)
    budget = bw.Budget(seconds=60, tokens=1_000_000)
    items = [item async for item in runner.stream(agent, Task(prompt="top"), budget, seed=1)]
    result = items[-1]
    assert isinstance(result, bw.Result)
    assert result.answer == "end"
    _, joined, told = seen(result)
    assert sum(f"answers: did part {n}" in joined for n in range(32)) == 31
    assert told.startswith(
        {"crash": "h8 found no answer", "hang": "h8 is still working", "flood": "h8 answers: xxx"}[trouble]
    )
    assert len(told) < 2_200
    spent, told_of = result.usage, charged(items)
    assert spent.calls == len(asked.requests)
    # What the parent's end stopped has no event of its end: one step that hung.
    stopped = int(trouble == "hang")
    assert (spent.calls, spent.tool_calls, spent.nodes) == (
        told_of.calls + stopped,
        told_of.tool_calls + stopped,
        told_of.nodes + stopped,
    )
    assert (spent.tokens == told_of.tokens) is (trouble != "hang")
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith(("search", "work"))]


def charged(items: Sequence[object]) -> bw.Usage:
    """What the events of a run and of the searches within it were charged, all in all."""
    total = bw.Usage()
    for item in items:
        match item.event if isinstance(item, Within) else item:
            case Expanded(_, node):
                total += node.usage
            case Failed(usage=usage) | Cancelled(usage=usage) | Denied(usage=usage) | Judged(usage=usage):
                total += usage
            case _:
                pass
    return total


async def test_an_agent_that_cannot_work_is_refused_where_it_is_started(runner: LocalRunner) -> None:
    """The tool that starts it sees the reason."""

    @bw.verifier(scope="state")
    def works(candidate: bw.Candidate) -> bool:
        """Judge a state that there is none of."""
        return True

    broken = bw.Agent(name="broken", model=model(lambda *_: ""), verifiers=[works])

    @bw.tool(effects="pure")
    async def start(ctx: bw.Context) -> str:
        """Start it."""
        async with ctx.group() as group:
            group.spawn(broken, "x")
        return "started"

    parent = bw.Agent(
        name="parent", model=model(lambda _, turns: [turn("start"), turn("answer", text="done")][turns]), tools=[start]
    )
    result = await runner.run(parent, Task(prompt="go"), bw.Budget(), seed=1)
    assert "agent 'broken' has none; give it one" in seen(result)[0]
    with pytest.raises(UsageError, match="not part of a run"):
        bw.Context(Task(prompt="x")).group()


@pytest.mark.parametrize("helpers", [2, 8, 32])
async def test_long_answers_share_the_room(runner: LocalRunner, helpers: int) -> None:
    """However many answer at length, each is heard to its first words, and no answer runs into the next one."""

    def talkative(text: str, turns: int) -> str:
        if text == "top":
            return [
                turn("spawn", tasks=[f"part {n}" for n in range(helpers)]),
                turn("join"),
                turn("answer", text="end"),
            ][turns]
        return turn("answer", text=f"about {text}:\n" + "so it is " * 200)

    agent = bw.Agent(name="a", model=model(talkative), spawn=bw.Spawn(width=helpers), slots=32)
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(), seed=1)
    joined = seen(result)[1]
    shown = fences(ModelRequest((Message("user", joined),), bw.Sampling()))
    assert [text.splitlines()[0] for text in shown.values()] == [f"about part {n}:" for n in range(helpers)]
    assert "characters left out" not in joined
