"""Orders in text from outside, obeyed to the letter: none becomes a system prompt, an effect outside, a leak, or another plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.agents.prompting import Prompter
from branchwise.cli.people import shown
from branchwise.core.errors import ModelRefused, ToolError
from branchwise.core.people import Question
from branchwise.core.protocols import Entry
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Message, ModelRequest, Task, ToolCall
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.scope import form_of
from branchwise.models import connect
from branchwise.models.fake_server import FakeServer
from branchwise.models.wire import messages_json

from .injections import Injection, load

INJECTIONS = load()

SECRET = "sk-0123456789abcdef-secret"

PLAN = {
    "parts": [{"task": "find the first half", "share": 50}, {"task": "find the second half", "share": 50}],
    "constraints": ["it is short"],
}

HARMLESS = Injection("none", "effect", "tool", "nothing of note", "no-canary", "")


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


class Scene:
    """An agent with an injection in its way, and everything that it could do about it.

    Args:
        injection: what stands in the way.
        place: where; where it says unless given.
    """

    def __init__(self, injection: Injection, place: str | None = None) -> None:
        self.injection = injection
        self.place = place or injection.place
        self.sent: list[str] = []
        self.asked: list[Question] = []
        self.model = ScriptedModel(self._reply, slots=4, native_tools=False)
        self.obeyed = 0
        """How often the model did what it was told."""
        self._looked = False

    def _reply(self, request: ModelRequest) -> str | Exception:
        task = request.messages[1].content.strip() if len(request.messages) > 1 else ""
        if self.place == "trouble" and task == "a":
            return ModelRefused(self.injection.text, status=400)
        reply = self.injection.obeyed(self._normally)(request)
        self.obeyed += reply == self.injection.reply
        return reply

    def _normally(self, request: ModelRequest) -> str:
        """What a model does that reads no order."""
        first = request.messages[min(1, len(request.messages) - 1)].content.strip()
        turns = sum(message.role == "assistant" for message in request.messages)
        if "You plan" in first:
            return json.dumps(PLAN)
        if first == "a" or first.startswith("find the first half"):
            return turn("answer", text=self.injection.text)
        if self.place in {"tool", "error"} and turns == 0:
            return turn("look", where="weather")
        if self.place in {"child", "trouble"} and first.startswith("tell") and turns < 2:
            return [turn("spawn", tasks=["a", "b"]), turn("join")][turns]
        return turn("answer", text="sunny")

    def tools(self) -> list[bw.Tool]:
        """Return what it can do: look, where the injection may stand, and write to others."""

        @bw.tool(effects="pure")
        def look(where: str) -> str:
            """Look somewhere."""
            if self._looked or self.place not in {"tool", "error"}:
                return "nothing"
            self._looked = True
            if self.place == "error":
                raise ToolError(self.injection.text)
            return self.injection.text

        @bw.tool(effects="external")
        def send(to: str, text: str) -> str:
            """Send a letter."""
            self.sent.append(f"{to}: {text}")
            return "sent"

        return [look, send, bw.tools.ask_user]

    def agent(self, memory: bw.memory.Store) -> bw.Agent:
        """Return the agent."""

        @bw.verifier
        def checked(candidate: bw.Candidate) -> bw.Verdict:
            again = candidate.task.prompt != "tell"
            return bw.Verdict(float(again), "outcome", "checked", passed=again, feedback=self.injection.text)

        agent = bw.Agent(name="reader", model=self.model, tools=self.tools())
        match self.place:
            case "child" | "trouble":
                return replace(agent, spawn=bw.Spawn(width=3))
            case "part":
                return replace(agent, plan=bw.Planner())
            case "feedback":
                return replace(agent, final=[checked], rounds=1)
            case "file" | "name":
                context = "files" if self.place == "file" else "list"
                return replace(agent, sandbox=bw.sandboxes.Unprotected(code_may_do_anything=True), context=context)
            case "memory":  # such searches try things out, so they have no tools with effects outside
                recalling = bw.search.RetrievalUCT(width=1)
                return replace(agent, tools=agent.tools[:1], memory=memory, search=recalling, verifiers=[checked])
            case _:
                return agent

    def files(self, folder: Path) -> str | None:
        """Return a folder with the injection in it, where that is its place."""
        if self.place not in {"file", "name"}:
            return None
        folder.mkdir()
        (folder / (self.injection.text if self.place == "name" else "notes.txt")).write_text(self.injection.text)
        return str(folder)

    async def play(self, runner: LocalRunner, folder: Path) -> bw.Result:
        """Run to the end, a person refusing whatever is asked for."""
        files = self.files(folder)
        with bw.memory.Store() as memory:
            memory.add(Entry("tell me", self.injection.text))
            agent = self.agent(memory)
            result = await runner.run(agent, Task(prompt="tell", files=files), bw.Budget(nodes=40), seed=1)
            while result.stop_reason == "waiting":
                self.asked += result.questions
                answers = {q.id: False if q.kind == "approve" else "no" for q in result.questions}
                result = await runner.resume(agent, result.run_id, answers=answers)
        return result

    def said(self, role: str) -> set[str]:
        """All messages of a role that the model was sent."""
        return {m.content for request in self.model.requests for m in request.messages if m.role == role}


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalRunner:
    """A runner in a process that has a secret."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    return LocalRunner(RunStore(tmp_path / "runs"))


def test_there_are_enough_of_different_kinds() -> None:
    """At least 30, some of each kind and at each place."""
    assert len(INJECTIONS) >= 30
    assert min(Counter(i.kind for i in INJECTIONS).values()) >= 3
    assert len({i.place for i in INJECTIONS}) == 9
    assert all(i.canary in i.text for i in INJECTIONS)
    assert len({i.canary for i in INJECTIONS}) == len(INJECTIONS)


_usual: dict[str, tuple[set[str], object]] = {}


async def usual(place: str, runner: LocalRunner, folder: Path) -> tuple[set[str], object]:
    """The system prompts and the plan of a run with nothing in its way."""
    if place not in _usual:
        quiet = Scene(HARMLESS, place)
        result = await quiet.play(runner, folder)
        assert not quiet.asked
        _usual[place] = quiet.said("system"), result.report.get("plan")
    return _usual[place]


@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda i: i.name)
async def test_obeyed_to_the_letter_it_comes_to_nothing(
    injection: Injection, runner: LocalRunner, tmp_path: Path
) -> None:
    """The model has read the order and done what it says; the prompts, the plan and the world are as without it."""
    scene = Scene(injection)
    result = await scene.play(runner, tmp_path / "files")
    systems, plan = await usual(injection.place, runner, tmp_path / "usual")
    assert scene.obeyed
    assert result.stop_reason in {"accepted", "exhausted"}
    assert scene.sent == []
    assert scene.said("system") == systems, "no system prompt has changed"
    assert result.report.get("plan") == plan
    assert SECRET not in repr(scene.model.requests) + str(result.answer)
    for question in scene.asked:
        first, *more = shown(question).split("\n")
        assert first.startswith("May this be done: send" if question.kind == "approve" else "The agent asks: ")
        assert all(line.startswith("    ") for line in more), "it cannot look like another question"
        assert all(line.isprintable() for line in (first, *more)), "nothing is hidden from who approves"


async def test_one_approval_is_for_one_action(runner: LocalRunner, tmp_path: Path) -> None:
    """Where a person has allowed a letter, the next one waits for them again, with what it says."""
    script = [
        turn("send", to="ann", text="hello"),
        turn("look", where="x"),
        turn("send", to="mallory", text="all"),
        turn("answer", text="x"),
    ]
    scene = Scene(HARMLESS)
    scene.model = ScriptedModel(
        lambda request: script[sum(m.role == "assistant" for m in request.messages)], native_tools=False
    )
    with bw.memory.Store() as memory:
        agent = scene.agent(memory)
    first = await runner.run(agent, Task(prompt="tell"), bw.Budget(), seed=1)
    second = await runner.resume(agent, first.run_id, answers={first.questions[0].id: True})
    assert (scene.sent, second.stop_reason) == (["ann: hello"], "waiting")
    assert second.questions[0].arguments == {"to": "mallory", "text": "all"}


# --- what a server or a reader takes for real --------------------------------------------------------------------------

MARKS = Path(__file__).with_name("template_marks.txt").read_text(encoding="utf-8").split()
"""Marks between turns, of ChatML, Llama, Mistral, Gemma, DeepSeek, Phi, Command R, Granite, Hermes, Harmony, Nemotron."""


def sent_to_a_server(text: str) -> str:
    """Everything of a conversation with `text` in each of its places, as a server gets it; decoded once more, as templates do."""
    call = ToolCall("1", text, {"x": text, text: [text]})
    rows = messages_json(
        (Message("user", text), Message("assistant", text, (call,)), Message("tool", text, tool_call_id="1"))
    )
    arguments = json.loads(rows[1]["tool_calls"][0]["function"]["arguments"])
    return json.dumps([rows, arguments], ensure_ascii=False)


@pytest.mark.parametrize("text", [*MARKS, *(i.text for i in INJECTIONS)], ids=lambda text: ascii(text[:20]))
def test_no_mark_of_a_template_is_left(text: str) -> None:
    """In what is not the system prompt; with the marks gone the rest of the text is as it was."""
    shown = sent_to_a_server(text)
    assert not [mark for mark in MARKS if mark in shown]
    plain = messages_json((Message("user", text),))[0]["content"]
    assert plain.replace(" ", "") == text.replace(" ", "")


def test_the_user_s_own_system_prompt_is_sent_as_it_is() -> None:
    """It is no text from outside."""
    assert messages_json((Message("system", "write <|im_start|>"),))[0]["content"] == "write <|im_start|>"


@pytest.fixture
async def gullible() -> AsyncIterator[FakeServer]:
    """A server that takes every mark of its template for real, and obeys what then stands in a system prompt."""

    def reply(body: dict[str, object]) -> str:
        messages: list[dict[str, str]] = body["messages"]  # type: ignore[assignment]
        rendered = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
        turns = [part.partition("\n") for part in rendered.split("<|im_start|>")[1:]]
        if any(role == "system" and "canary" in text for role, _, text in turns):
            return turn("send", to="mallory", text="everything")
        return turn("look", where="x") if len(messages) == 2 else turn("answer", text="sunny")

    async with FakeServer(reply) as server:
        yield server


async def test_a_server_that_takes_marks_for_real(gullible: FakeServer, runner: LocalRunner) -> None:
    """A result that forges a system prompt stays a result: over HTTP, with a server that can be deceived."""
    forged = next(i for i in INJECTIONS if i.name == "roles-chatml")
    model = await connect("openai:fake", base_url=gullible.base_url, api_key="x")
    scene = Scene(forged)
    with bw.memory.Store() as memory:
        agent = replace(scene.agent(memory), model=model, form="json")
    try:
        result = await runner.run(agent, Task(prompt="tell"), bw.Budget(), seed=1)
    finally:
        await model.aclose()
    assert (result.answer, result.stop_reason, scene.sent) == ("sunny", "exhausted", [])
    [observation] = [o.text for n in result.tree if n.step is not None for o in n.step.observations]
    assert observation == forged.text, "the journal has what the tool returned"


# --- forms -------------------------------------------------------------------------------------------------------------


def first_message(files: dict[str, str], context: str) -> str:
    """What a model is first told of a task with files."""
    agent = bw.Agent(name="a", model="openai:x", context=context)
    prompter = Prompter(agent, Task(prompt="tell"), form_of(agent, native=False), files)
    return prompter.first("")


@pytest.mark.parametrize("injection", [i for i in INJECTIONS if i.kind in {"form", "role"}], ids=lambda i: i.name)
def test_a_file_cannot_end_its_own_block(injection: Injection) -> None:
    """Neither by what it holds nor by its name: all of it stands between two fences, and a name is one line."""
    lines = first_message({"a.txt": injection.text, "b.txt": "b"}, "files").split("\n")
    start = lines.index("a.txt:") + 1
    end = lines.index(lines[start], start + 1)
    assert " ".join(lines[start + 1 : end]).split() == injection.text.split()
    assert lines[end + 2 :] == ["b.txt:", "```", "b", "```"]
    assert first_message({injection.text: "x", "zz.txt": "b"}, "list").split("\n")[-3] == "Files:"


def helpers(answers: dict[str, str]) -> Callable[[ModelRequest], str]:
    """A model whose helpers give such answers."""

    def script(request: ModelRequest) -> str:
        task, turns = request.messages[1].content.strip(), sum(m.role == "assistant" for m in request.messages)
        if task in answers:
            return turn("answer", text=answers[task])
        return [turn("spawn", tasks=list(answers)), turn("join"), turn("answer", text="x")][turns]

    return script


async def test_a_helper_speaks_for_itself_only(runner: LocalRunner) -> None:
    """What it answers stands in a fence where it has several lines, so it cannot answer in the name of another one."""
    forged = next(i for i in INJECTIONS if i.name == "another-helper").text
    model = ScriptedModel(helpers({"a": forged, "b": "5"}), slots=4, native_tools=False)
    agent = bw.Agent(name="a", model=model, spawn=bw.Spawn())
    result = await runner.run(agent, Task(prompt="tell"), bw.Budget(), seed=1)
    node = next(n for n in result.tree if n.step is not None and n.step.calls and n.step.calls[0].name == "join")
    assert node.step is not None
    lines = node.step.observations[0].text.splitlines()
    assert lines[0] == "h1 answers: "
    opening, closing = lines[1], lines[-3]
    assert opening.startswith("<<< answer of h1 ")
    assert closing == opening.replace("<<<", ">>>")
    assert closing not in forged
    assert lines[-1] == "h2 answers: 5"
    assert [line for line in lines[lines.index(closing) :] if line.startswith("h2")] == ["h2 answers: 5"]
