"""People in the loop: approvals, questions, edits; a run that waits holds nothing and survives its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.errors import UsageError
from branchwise.core.people import APPROVAL, Approval
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.journal import read_tree
from branchwise.graphs.machine import search_graph


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def model(script: Callable[[str, int], str]) -> ScriptedModel:
    """A model whose reply is a function of the task's text and of how many turns its trajectory has taken."""

    def reply(request: ModelRequest) -> str:
        turns = sum(message.role == "assistant" for message in request.messages)
        return script(request.messages[1].content.strip(), turns)

    return ScriptedModel(reply, slots=4, native_tools=False)


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


@pytest.fixture
def sent() -> list[str]:
    """What went out into the world."""
    return []


@pytest.fixture
def send(sent: list[str]) -> bw.Tool:
    """A tool with effects outside."""

    @bw.tool(effects="external")
    def send(text: str) -> str:
        """Send a letter."""
        sent.append(text)
        return f"sent {text}"

    return send


def writer(send: bw.Tool, **changes: Any) -> bw.Agent:
    """An agent that sends a letter and says what came of it."""
    script = model(lambda _, turns: [turn("send", text="dear all"), turn("answer", text="done")][turns])
    return bw.Agent(**{"name": "writer", "model": script, "tools": [send], **changes})


def seen(result: bw.Result) -> list[str]:
    """What the chosen trajectory's tool calls returned."""
    assert result.node is not None
    path = result.tree.path(result.node)
    return [o.text for node in path if node.step is not None for o in node.step.observations]


async def test_nothing_reaches_out_before_a_person_said_so(runner: LocalRunner, send: bw.Tool, sent: list[str]) -> None:
    """The run ends waiting, with the question; the answer lets it go on, and the model is not asked again."""
    agent = writer(send)
    first = await runner.run(agent, Task(prompt="write"), bw.Budget(), seed=1)
    assert (first.stop_reason, first.accepted, sent) == ("waiting", False, [])
    [question] = first.questions
    assert (question.kind, question.tool, question.arguments) == ("approve", "send", {"text": "dear all"})
    assert question.schema["required"] == ["approved"]
    assert first.usage.tool_calls == first.usage.nodes == 0, "what waits is not charged"
    again = await runner.resume(agent, first.run_id)
    assert (again.stop_reason, again.questions) == ("waiting", first.questions), "nobody has answered"
    last = await runner.resume(agent, first.run_id, answers={question.id: True})
    assert (last.answer, sent) == ("done", ["dear all"])
    assert last.usage.calls == len(agent.model.requests) == 2
    assert (await runner.resume(agent, first.run_id)).answer == "done"
    assert sent == ["dear all"]


async def test_refused(runner: LocalRunner, send: bw.Tool, sent: list[str]) -> None:
    """The model sees that and why; nothing was sent."""
    agent = writer(send)
    first = await runner.run(agent, Task(prompt="write"), bw.Budget(), seed=1)
    refusal = {"approved": False, "reason": "not on a Sunday"}
    last = await runner.resume(agent, first.run_id, answers={first.questions[0].id: refusal})
    assert (last.answer, sent) == ("done", [])
    assert seen(last) == ["a person did not allow this: not on a Sunday"]


async def test_edited(runner: LocalRunner, send: bw.Tool, sent: list[str]) -> None:
    """A person puts the action right; the trajectory has it as it was done."""
    agent = writer(send)
    first = await runner.run(agent, Task(prompt="write"), bw.Budget(), seed=1)
    edit = {"approved": True, "arguments": {"text": "dear Ann"}}
    last = await runner.resume(agent, first.run_id, answers={first.questions[0].id: edit})
    assert sent == ["dear Ann"]
    steps = [node.step for node in last.tree if node.step is not None]
    assert steps[0].calls[0].arguments == {"text": "dear Ann"}


@pytest.mark.parametrize(("approve", "waits"), [("never", False), ("external", True), ("all", True)])
async def test_what_is_to_be_approved_is_said(runner: LocalRunner, send: bw.Tool, approve: str, *, waits: bool) -> None:
    """Everything, what reaches out, or nothing."""
    result = await runner.run(writer(send, approve=approve), Task(prompt="write"), bw.Budget(), seed=1)
    assert (result.stop_reason == "waiting") is waits


async def test_the_model_asks(runner: LocalRunner) -> None:
    """A question to the user, and the answer as the tool's result; other branches go on meanwhile."""
    asked = model(
        lambda _, turns: [turn("ask_user", question="red or blue?"), turn("answer", text="as you like")][turns]
    )
    agent = bw.Agent(name="painter", model=asked, tools=[bw.tools.ask_user], search=bw.search.BestOfN(n=2))
    first = await runner.run(agent, Task(prompt="paint"), bw.Budget(), seed=1)
    assert (first.stop_reason, len(first.questions)) == ("waiting", 2)
    assert {question.text for question in first.questions} == {"red or blue?"}
    one, other = (question.id for question in first.questions)
    half = await runner.resume(agent, first.run_id, answers={one: "red"})
    assert half.stop_reason == "waiting"
    last = await runner.resume(agent, first.run_id, answers={other: "blue"})
    assert last.stop_reason == "exhausted"
    steps = [node.step for node in last.tree if node.step is not None and node.step.observations]
    assert {step.observations[0].text for step in steps} == {"red", "blue"}


async def test_a_search_within_waits_and_so_does_its_parent(
    runner: LocalRunner, send: bw.Tool, sent: list[str]
) -> None:
    """Its question is the run's; with the answer both go on."""

    def script(text: str, turns: int) -> str:
        if text == "top":
            return [turn("spawn", tasks=["low"]), turn("join"), turn("answer", text="end")][turns]
        return [turn("send", text="from below"), turn("answer", text="sent")][turns]

    agent = bw.Agent(name="a", model=model(script), tools=[send], spawn=bw.Spawn())
    first = await runner.run(agent, Task(prompt="top"), bw.Budget(), seed=1)
    assert (first.stop_reason, sent) == ("waiting", [])
    [question] = first.questions
    last = await runner.resume(agent, first.run_id, answers={question.id: True})
    assert (last.answer, sent) == ("end", ["from below"])
    assert seen(last)[1] == "h1 answers: sent"


async def test_the_stages_wait_too(runner: LocalRunner, send: bw.Tool, sent: list[str]) -> None:
    """The solve graph stops where a search of it waits, and goes on there."""

    @bw.verifier
    def good(candidate: bw.Candidate) -> bool:
        """Accept it."""
        return True

    agent = writer(send, final=[good])
    first = await runner.run(agent, Task(prompt="write"), bw.Budget(), seed=1)
    assert first.stop_reason == "waiting"
    last = await runner.resume(agent, first.run_id, answers={first.questions[0].id: True})
    assert (last.answer, last.accepted, sent) == ("done", True, ["dear all"])


async def test_an_answer_that_means_nothing(runner: LocalRunner, send: bw.Tool, sent: list[str]) -> None:
    """It is refused where it is given; nothing is sent."""
    with pytest.raises(UsageError, match="'perhaps' is no answer to a question for approval"):
        Approval.read("perhaps")
    agent = writer(send)
    first = await runner.run(agent, Task(prompt="write"), bw.Budget(), seed=1)
    with pytest.raises(UsageError, match="no question 'x'; open are: "):
        await runner.resume(agent, first.run_id, answers={"x": True})
    with pytest.raises(UsageError, match="no answer to a question for approval"):
        await runner.resume(agent, first.run_id, answers={first.questions[0].id: "perhaps"})
    assert sent == []


async def test_the_journal_says_that_somebody_was_asked(runner: LocalRunner, send: bw.Tool) -> None:
    """A view of the run can show it."""
    result = await runner.run(writer(send), Task(prompt="write"), bw.Budget(), seed=1)
    run = runner.store.open(result.run_id)
    tree, _ = await read_tree(run, run.load())
    assert [q for questions in tree.questions.values() for q in questions] == list(result.questions)


async def test_for_langgraph_it_is_an_interrupt(runner: LocalRunner, send: bw.Tool) -> None:
    """The checkpoint says what is asked and in which form the answer is to be, as LangGraph's own tools expect it."""
    result = await runner.run(writer(send), Task(prompt="write"), bw.Budget(), seed=1)
    async with runner.store.open(result.run_id).saver() as saver:
        graph = search_graph().compile(checkpointer=saver)
        state = await graph.aget_state({"configurable": {"thread_id": result.run_id}})
    [interrupt] = [interrupt for task in state.tasks for interrupt in task.interrupts]
    [asked] = interrupt.value["questions"]
    assert (asked["id"], asked["schema"]) == (result.questions[0].id, dict(APPROVAL))


SENDER = '''
    import json
    import branchwise as bw
    from branchwise.core.testing import ScriptedModel

    def reply(request):
        turns = sum(m.role == "assistant" for m in request.messages)
        tool, args = [("send", {"text": "hello"}), ("ask_user", {"question": "more?"}), ("answer", {"text": "done"})][turns]
        return json.dumps({"thought": "", "tool": tool, "args": args})

    @bw.tool(effects="external")
    def send(text: str) -> str:
        """Send a letter."""
        with open("sent", "a") as sent:
            sent.write(text + "\\n")
        return "sent"

    agent = bw.Agent(name="a", model=ScriptedModel(reply, native_tools=False), tools=[send, bw.tools.ask_user])
'''


def test_from_the_command_line(tmp_path: Path) -> None:
    """A run without a terminal prints what is asked and how to answer; `resume --answer` goes on in another process."""
    (tmp_path / "agent.py").write_text(textwrap.dedent(SENDER))
    env = {**os.environ, "BRANCHWISE_HOME": str(tmp_path / "home")}

    def command(*args: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "branchwise.cli", *args]
        return subprocess.run(
            line,
            check=False,
            env=env,
            cwd=tmp_path,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    first = command("run", "agent.py:agent", "write", "--seed", "1")
    assert first.returncode == 3
    assert 'May this be done: send\n    text: "hello"\n' in first.stdout
    [hint] = [line.split("`")[1] for line in first.stdout.splitlines() if "--answer" in line]
    assert not (tmp_path / "sent").exists()
    second = command(*hint.replace("=ANSWER", "=yes").split()[1:])
    assert (tmp_path / "sent").read_text() == "hello\n"
    assert "more?" in second.stdout
    [hint] = [line.split("`")[1] for line in second.stdout.splitlines() if "--answer" in line]
    third = command(*hint.replace("=ANSWER", "=no").split()[1:], "--json")
    result = json.loads(third.stdout.splitlines()[-1])["result"]
    assert (result["answer"], third.returncode) == ("done", 0)
    assert (tmp_path / "sent").read_text() == "hello\n"


async def test_who_waits_stops_nobody_else(runner: LocalRunner, send: bw.Tool, sent: list[str]) -> None:
    """One helper waits for a person, so do its parent and another helper; a third does its work meanwhile, once."""

    def script(text: str, turns: int) -> str:
        if text == "top":
            tasks = ["works", "asks", "asks too"]
            return [
                turn("spawn", tasks=tasks),
                turn("ask_user", question="go on?"),
                turn("join"),
                turn("answer", text="end"),
            ][turns]
        if text == "works":
            return turn("answer", text="done") if turns == 4 else turn("look", where=str(turns))
        return [turn("send", text=text), turn("answer", text="sent")][turns]

    @bw.tool(effects="pure")
    async def look(where: str) -> str:
        """Look."""
        return "nothing"

    asked = model(script)
    agent = bw.Agent(name="a", model=asked, tools=[send, look, bw.tools.ask_user], spawn=bw.Spawn())
    first = await runner.run(agent, Task(prompt="top"), bw.Budget(), seed=1)
    assert first.stop_reason == "waiting"
    assert {question.text for question in first.questions} == {"go on?", "May send be called?"}
    assert len(first.questions) == 3
    answers = {q.id: "yes" if q.kind == "ask" else True for q in first.questions}
    last = await runner.resume(agent, first.run_id, answers=answers)
    assert (last.answer, sorted(sent)) == ("end", ["asks", "asks too"])
    assert seen(last)[2] == "h1 answers: done\n\nh2 answers: sent\n\nh3 answers: sent"
    assert last.usage.calls == len(asked.requests) == 4 + 5 + 2 + 2, "no call was cut off by somebody's waiting"


@pytest.mark.parametrize("wait", ["first", "ready"])
async def test_a_join_that_has_enough_waits_for_nobody(runner: LocalRunner, send: bw.Tool, wait: str) -> None:
    """The first valid answer is enough though another helper waits for a person; who waits is still working."""

    def script(text: str, turns: int) -> str:
        if text == "top":
            return [turn("spawn", tasks=["asks", "works"]), turn("join", helpers=["h2"]), turn("join", wait=wait),
                    turn("answer", text="end")][turns]  # fmt: skip
        return [turn("send", text=text) if text == "asks" else turn("answer", text="done")][turns]

    agent = bw.Agent(name="a", model=model(script), tools=[send], spawn=bw.Spawn())
    result = await runner.run(agent, Task(prompt="top"), bw.Budget(), seed=1)
    assert (result.answer, result.stop_reason) == ("end", "exhausted")
    assert seen(result)[2] == "h1 is still working\n\nh2 answers: done"
