"""An agent as a LangGraph graph of its own, and as a node in somebody else's: streamed, interrupted, killed and gone on with, forked."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

import branchwise as bw
from branchwise.agents.agent import install_runner
from branchwise.core.errors import UsageError
from branchwise.core.events import Expanded, Stopped, Within
from branchwise.core.people import APPROVAL
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest
from branchwise.graphs import LocalRunner, RunStore


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def model(script: Callable[[str, int], str], **options: Any) -> ScriptedModel:
    """A model whose reply is a function of the task's text and of how many turns its trajectory has taken."""

    def reply(request: ModelRequest) -> str:
        turns = sum(message.role == "assistant" for message in request.messages)
        return script(request.messages[1].content.strip(), turns)

    return ScriptedModel(reply, slots=2, native_tools=False, **options)


@pytest.fixture(autouse=True)
def runner(tmp_path: Path) -> Any:
    """Runs live in the test's own folder."""
    runner = LocalRunner(RunStore(tmp_path / "runs"))
    install_runner(runner)
    yield runner
    install_runner(LocalRunner())


THREAD: Any = {"configurable": {"thread_id": "t"}}


class Outer(TypedDict, total=False):
    """State of somebody's graph."""

    wish: str
    task: str
    answer: str | None
    run_id: str
    said: str


def somebodys(agent: bw.Agent, checkpointer: Any = None) -> Any:
    """A graph of somebody else, in which an agent is a node."""
    graph = StateGraph(Outer)
    graph.add_node("prepare", lambda state: {"task": f"please {state['wish']}"})
    graph.add_node("agent", agent.compile())
    graph.add_node("polish", lambda state: {"said": f"{state['answer']}!"})
    graph.add_edge(START, "prepare")
    graph.add_edge("prepare", "agent")
    graph.add_edge("agent", "polish")
    graph.add_edge("polish", END)
    return graph.compile(checkpointer=checkpointer)


async def test_input_and_output(runner: LocalRunner) -> None:
    """The task goes in with options; the result comes out, with the run's id for all else."""
    agent = bw.Agent(name="a", model=model(lambda text, _: turn("answer", text=f"{text} done")))
    out = await agent.compile().ainvoke({"task": "this", "budget": {"calls": 5}, "seed": 3})
    assert (out["answer"], out["stop_reason"], out["usage"]["calls"]) == ("this done", "exhausted", 1)
    record = runner.store.open(out["run_id"]).load()
    assert (record.seed, record.budget) == (3, {"calls": 5})
    with pytest.raises(UsageError, match="no task"):
        await agent.compile().ainvoke({"task": " "})


async def test_as_a_node_of_another_graph() -> None:
    """It takes its task from the state and leaves its answer there; its events come in the stream, typed."""
    agent = bw.Agent(name="a", model=model(lambda text, _: turn("answer", text=f"{text} done")))
    graph = somebodys(agent)
    parts = [part async for part in graph.astream({"wish": "sing"}, stream_mode=["custom", "values"], subgraphs=True)]
    events = [payload for _, mode, payload in parts if mode == "custom"]
    assert [type(event) for event in events][-1] is Stopped
    assert sum(isinstance(event, Expanded) for event in events) == 1
    assert parts[-1][2]["said"] == "please sing done!"
    assert parts[-1][2]["run_id"]


async def test_events_of_searches_within() -> None:
    """They say in which search they happened."""

    @bw.verifier
    def fine(candidate: bw.Candidate) -> bool:
        """Accept it."""
        return True

    agent = bw.Agent(name="a", model=model(lambda *_: turn("answer", text="x")), final=[fine])
    events = [event async for event in agent.compile().astream({"task": "t"}, stream_mode="custom")]
    assert {event.path for event in events if isinstance(event, Within)} == {"try1"}


@bw.tool(effects="external")
def send(text: str) -> str:
    """Send a letter."""
    return f"sent {text}"


async def test_people_are_asked_by_an_interrupt() -> None:
    """With the form of the answer, out of a graph within a graph; the model is not asked again for what it had said."""
    asked = model(
        lambda _, turns: [turn("send", text="hi"), turn("ask_user", question="more?"), turn("answer", text="end")][
            turns
        ]
    )
    agent = bw.Agent(name="a", model=asked, tools=[send, bw.tools.ask_user])
    graph = somebodys(agent, InMemorySaver())
    out = await graph.ainvoke({"wish": "write"}, THREAD)
    [stop] = out["__interrupt__"]
    [question] = stop.value["questions"]
    assert (question["tool"], question["arguments"]) == ("send", {"text": "hi"})
    assert stop.value["response_schema"]["properties"][question["id"]]["required"] == APPROVAL["required"]
    again = await graph.ainvoke(Command(resume={}), THREAD)
    assert again["__interrupt__"][0].value == stop.value, "nobody has answered"
    out = await graph.ainvoke(Command(resume={question["id"]: True}), THREAD)
    [question] = out["__interrupt__"][0].value["questions"]
    assert question["text"] == "more?"
    out = await graph.ainvoke(Command(resume={question["id"]: "no"}), THREAD)
    assert (out["said"], len(asked.requests)) == ("end!", 3)


async def test_who_leaves_the_stream_comes_back_to_the_same_run() -> None:
    """A graph that was left goes on with its run, and pays for no call twice."""
    slow = model(lambda _, turns: turn("look", at=turns) if turns < 4 else turn("answer", text="seen"))

    @bw.tool(effects="pure")
    def look(at: int) -> str:
        """Look."""
        return f"something at {at}"

    graph = somebodys(bw.Agent(name="a", model=slow, tools=[look]), InMemorySaver())

    async def left(stream: AsyncIterator[Any]) -> None:
        count = 0
        async for _ in stream:
            count += 1
            if count == 5:
                return

    stream = graph.astream({"wish": "look"}, THREAD, stream_mode="custom", subgraphs=True)
    await left(stream)
    await stream.aclose()
    made = len(slow.requests)
    assert 0 < made < 5
    out = await graph.ainvoke(None, THREAD)
    assert (out["said"], len(slow.requests)) == ("seen!", 5)
    again = await graph.ainvoke({"wish": "look"}, THREAD)
    assert again["run_id"] != out["run_id"], "another wish is another run"


async def test_a_run_within_a_node_is_a_run_of_its_own(runner: LocalRunner) -> None:
    """What a user's node runs by itself has its journal where every run has it."""
    agent = bw.Agent(name="a", model=model(lambda *_: turn("answer", text="x")))

    async def node(_state: Outer) -> Outer:
        result = await agent.run("go")
        return {"run_id": result.run_id, "answer": result.answer}

    graph = StateGraph(Outer)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    out = await graph.compile(checkpointer=InMemorySaver()).ainvoke({"wish": "go"}, THREAD)
    assert (out["answer"], len(await tree_of(runner, out["run_id"]))) == ("x", 2)


async def test_a_fork(runner: LocalRunner) -> None:
    """The graph can begin at a node of an earlier run."""
    counting = model(lambda text, turns: turn("look") if turns < 2 else turn("answer", text=text))

    @bw.tool(effects="pure")
    def look() -> str:
        """Look."""
        return "something"

    graph = bw.Agent(name="a", model=counting, tools=[look]).compile()
    first = await graph.ainvoke({"task": "one"})
    node = next(n.id for n in (await tree_of(runner, first["run_id"])) if n.depth == 2)
    out = await graph.ainvoke({"fork": {"run_id": first["run_id"], "node": node, "prompt": "two"}})
    assert (out["answer"], out["usage"]["calls"]) == ("two", 1)


async def tree_of(runner: LocalRunner, run_id: str) -> bw.Tree:
    """The tree of a run."""
    from branchwise.graphs.journal import read_tree

    run = runner.store.open(run_id)
    return (await read_tree(run, run.load()))[0]


def test_drawings() -> None:
    """The graph that others see, and the machine inside of it."""
    agent = bw.Agent(name="a", model="openai:m")
    assert "begin --> work" in agent.compile().get_graph().draw_mermaid()
    assert "__start__ --> drive" in agent.draw()
    assert "verify -.-> refine" in bw.Agent(name="a", model="openai:m", rounds=1).draw()


KILLED = """
    import asyncio, json, os, signal
    from pathlib import Path
    import branchwise as bw
    from branchwise.core.testing import ScriptedModel
    from branchwise.agents.agent import install_runner
    from branchwise.graphs import LocalRunner, RunStore
    from branchwise.graphs.journal import Run

    folder = Path(FOLDER)

    def reply(request):
        turns = sum(m.role == "assistant" for m in request.messages)
        with (folder / "calls").open("a") as calls:
            calls.write("x")
        if turns == 2 and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        tool, args = ("look", {"at": turns}) if turns < 3 else ("answer", {"text": "seen"})
        return json.dumps({"thought": "", "tool": tool, "args": args})

    @bw.tool(effects="pure")
    def look(at: int) -> str:
        \"\"\"Look.\"\"\"
        return "something"

    async def main(given):
        install_runner(LocalRunner(RunStore(folder / "runs")))
        agent = bw.Agent(name="a", model=ScriptedModel(reply, native_tools=False), tools=[look])
        async with Run(folder).saver() as saver:
            return await agent.compile(saver).ainvoke(given, {"configurable": {"thread_id": "t"}})

    if START:
        asyncio.run(main({"task": "look"}))
"""


async def test_killed_and_gone_on_with_by_another_process(tmp_path: Path) -> None:
    """`kill -9` in the middle of a graph: invoked with nothing it goes on with the same run; only the call in flight is made again."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(KILLED).replace("FOLDER", repr(str(tmp_path))).replace("START", "__name__ == '__main__'")
    )
    environment = {**os.environ, "BRANCHWISE_HOME": str(tmp_path / "home")}
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is to happen meanwhile
        [sys.executable, str(script)], check=False, env=environment, timeout=60, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    [folder] = (tmp_path / "runs").iterdir()
    out = await runpy.run_path(str(script))["main"](None)
    assert (out["answer"], out["run_id"]) == ("seen", folder.name)
    assert len((tmp_path / "calls").read_text()) == 5
    assert out["usage"]["calls"] == 5
