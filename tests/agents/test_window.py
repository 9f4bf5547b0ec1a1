"""Prompts that show what is now: the last turns in full, earlier ones in a line, what others tried, what a memory has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.protocols import Entry
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, ModelResponse, Recall, Task, ToolCall, ToolSpec, Usage
from branchwise.graphs import LocalRunner

from .pages import done, taken, turn


@bw.tool(effects="pure")
def look(place: int) -> str:
    """Look somewhere."""
    if place == 3:
        raise bw.ToolError("nothing there\nat all")
    return f"place {place}\nmuch about place {place}"


def walker(steps: int, *, native: bool = False) -> ScriptedModel:
    """A model that looks at one place after the other."""

    def script(request: ModelRequest) -> str | ModelResponse:
        place = taken(request)
        if place == steps:
            return "done" if native else turn("answer", text="done")
        call = ToolCall(f"call {place}", "look", {"place": place})
        return ModelResponse("", Usage(), tool_calls=(call,)) if native else turn("look", place=place)

    return ScriptedModel(script, native_tools=native)


def texts(request: ModelRequest) -> list[str]:
    """What the user's messages of a prompt say."""
    return [message.content for message in request.messages if message.role == "user"]


async def test_only_the_last_turns_are_shown_in_full(runner: LocalRunner) -> None:
    """Of earlier ones the first line stays, not what the model thought; the task stands at the end again, for it is far away by then."""
    model = walker(3)
    agent = bw.Agent(name="walker", model=model, tools=[look], window=1)
    await runner.run(agent, Task(prompt="walk about"), bw.Budget(), seed=1)
    assert texts(model.requests[0])[0].strip() == "walk about", "nothing is far away yet"
    assert [message.role for message in model.requests[3].messages] == ["system", "user"]
    assert texts(model.requests[3]) == [
        "\n".join(
            [
                *("walk about", "", "Done so far:", "- place 0", "- place 1", "- place 2", "", "much about place 2"),
                *("", "The task, once more: walk about", "What is the next step?"),
            ]
        )
    ]
    whole = walker(3)
    await runner.run(replace(agent, model=whole, window=None), Task(prompt="walk about"), bw.Budget(), seed=1)
    assert texts(whole.requests[3])[1] == "place 0\nmuch about place 0"
    assert "once more" not in str(texts(whole.requests[3]))


async def test_a_model_with_a_call_form_of_its_own_keeps_its_turns(runner: LocalRunner) -> None:
    """What it called and what came of it belong together there; early results are a line all the same."""
    model = walker(3, native=True)
    agent = bw.Agent(name="walker", model=model, tools=[look], window=1)
    await runner.run(agent, Task(prompt="walk about"), bw.Budget(), seed=1)
    results = [message.content for message in model.requests[3].messages if message.role == "tool"]
    assert results == ["place 0", "place 1", "place 2\nmuch about place 2"]


async def test_an_error_far_back_is_a_line(runner: LocalRunner) -> None:
    """It is still said to be one."""
    model = walker(5)
    agent = bw.Agent(name="walker", model=model, tools=[look], window=1)
    await runner.run(agent, Task(prompt="walk about"), bw.Budget(), seed=1)
    assert done(model.requests[5]) == ["place 0", "place 1", "place 2", "FAILED: nothing there", "place 4"]


async def test_what_others_did_is_shown_as_material(runner: LocalRunner) -> None:
    """At the node where they did it, and nowhere else; only where the agent is to do something else."""
    seen: list[str] = []

    def script(request: ModelRequest) -> str:
        seen.append(texts(request)[-1])
        return turn("look", place=seen[-1].count('"place"'))

    agent = bw.Agent(
        name="walker",
        model=ScriptedModel(script, native_tools=False, slots=1),
        tools=[look],
        search=bw.search.BestFirst(width=3, depth=1),
        distinct=True,
        slots=1,
    )
    await runner.run(agent, Task(prompt="walk"), bw.Budget(nodes=6), seed=1)
    shown = [text for text in seen if "Other trajectories did this next" in text]
    assert shown
    assert "<<< tried " in shown[-1]
    assert 'look {"place": 0}' in shown[-1]
    seen.clear()
    await runner.run(replace(agent, distinct=False), Task(prompt="walk"), bw.Budget(nodes=6), seed=1)
    assert not any("Other trajectories" in text for text in seen)


async def test_what_a_memory_has_is_shown_at_every_step(runner: LocalRunner) -> None:
    """Whatever the strategy asks for; far back it is left out again."""
    model = walker(3)
    with bw.memory.Store() as memory:
        memory.add(Entry("place 0 is a hall", "the hall is cold", "step"), Entry("walk", "take a coat", "task"))
        agent = bw.Agent(name="walker", model=model, tools=[look], memory=memory, recall=Recall(k=1), window=1)
        await runner.run(agent, Task(prompt="walk"), bw.Budget(), seed=1)
    said = [texts(request)[-1] for request in model.requests]
    assert "take a coat" in said[0]
    assert "the hall is cold" in said[1]
    assert [one.count("the hall is cold") for one in said[2:]] == [1, 1], (
        "what was looked up for an earlier step is left out"
    )


def only_even(spec: ToolSpec, seen: str, tried: Sequence[Mapping[str, Any]]) -> ToolSpec | None:
    """Admit even places that were not tried, and nothing any more once place 4 was seen."""
    if "place 4" in seen:
        return None
    left = [place for place in (0, 2, 4) if {"place": place} not in tried]
    return replace(spec, parameters={**spec.parameters, "properties": {"place": {"enum": left}}})


async def test_a_tool_can_say_what_of_it_can_be_done(runner: LocalRunner) -> None:
    """In view of what was shown last; where that is nothing it is not offered. Without anything shown it is offered as it is."""
    offered: list[list[str]] = []

    def script(request: ModelRequest) -> str:
        schema = request.response_schema or {}
        tools = [option["properties"]["tool"]["const"] for option in schema.get("anyOf", [schema])]
        offered.append(tools)
        return turn("look", place=2 * taken(request)) if "look" in tools else turn("answer", text="done")

    tool = replace(look, narrow=only_even)
    agent = bw.Agent(name="walker", model=ScriptedModel(script, native_tools=False), tools=[tool])
    result = await runner.run(agent, Task(prompt="walk"), bw.Budget(), seed=1)
    assert (offered, result.answer) == ([["look", "answer"]] * 3 + [["answer"]], "done")


async def test_a_tool_that_is_needed_seldom_is_told_of_where_it_can_be_used(runner: LocalRunner) -> None:
    """At that turn, and not in the system prompt; a model with a call form of its own is told of it like of any other."""

    @bw.tool(effects="pure")
    def climb() -> str:
        """Climb."""
        return "up"

    model = walker(3)
    high = replace(climb, seldom=True, narrow=lambda spec, seen, _tried: spec if "place 1" in seen else None)
    agent = bw.Agent(name="walker", model=model, tools=[look, high], window=1)
    await runner.run(agent, Task(prompt="walk"), bw.Budget(), seed=1)
    assert not any("climb" in request.messages[0].content for request in model.requests)
    assert ["climb()" in texts(request)[-1] for request in model.requests][1:] == [False, True, True]
    native = walker(3, native=True)
    await runner.run(replace(agent, model=native), Task(prompt="walk"), bw.Budget(), seed=1)
    assert all([tool.name for tool in request.tools] == ["look", "climb"] for request in native.requests)


# --- people who are there -----------------------------------------------------------------------------------------------

Answering = Callable[[bw.Question], Any]


class Person:
    """Somebody who answers by a rule."""

    def __init__(self, answer: Answering | None) -> None:
        self.asked: list[bw.Question] = []
        self._answer = answer

    async def __call__(self, questions: Sequence[bw.Question]) -> Mapping[str, Any]:
        """Answer all, or nothing."""
        self.asked += questions
        return {} if self._answer is None else {question.id: self._answer(question) for question in questions}


def sender(sent: list[str]) -> bw.Tool:
    """A tool that says by itself what it is about to do."""

    async def send(ctx: bw.Context, to: str) -> str:
        """Send a letter."""
        await ctx.approval("send", {"to": to.upper()})
        sent.append(to)
        return "sent"

    return replace(bw.tool(effects="external")(send), asks_first=True)


@pytest.mark.parametrize(
    ("answer", "letters", "end"),
    [(lambda _: True, ["ann"], "exhausted"), (lambda _: False, [], "exhausted"), (None, [], "waiting")],
)
async def test_people_are_asked_while_the_run_goes_on(
    runner: LocalRunner, answer: Answering | None, letters: list[str], end: str
) -> None:
    """They see what the tool says of itself, once; who does not answer makes the run wait. What the model said is not paid twice."""
    sent: list[str] = []
    person = Person(answer)

    def script(request: ModelRequest) -> str:
        return turn("send", to="ann") if len(request.messages) == 2 else turn("answer", text="done")

    model = ScriptedModel(script, native_tools=False)
    agent = bw.Agent(name="clerk", model=model, tools=[sender(sent)])
    there = LocalRunner(runner.store, asker=person)
    result = await there.run(agent, Task(prompt="write"), bw.Budget(), seed=1)
    assert (sent, result.stop_reason) == (letters, end)
    assert [(q.kind, q.tool, q.arguments) for q in person.asked] == [("approve", "send", {"to": "ANN"})]
    assert len(model.requests) == (1 if answer is None else 2)
    assert result.usage.calls == len(model.requests)


async def test_nobody_is_asked_where_nobody_wants_to_be(runner: LocalRunner) -> None:
    """`approve="never"` holds for tools that ask by themselves, too; where everything is asked about, they are asked about first."""
    sent: list[str] = []
    model = ScriptedModel(
        lambda request: turn("send", to="ann") if len(request.messages) == 2 else turn("answer", text="done"),
        native_tools=False,
    )
    agent = bw.Agent(name="clerk", model=model, tools=[sender(sent)], approve="never")
    await runner.run(agent, Task(prompt="write"), bw.Budget(), seed=1)
    assert sent == ["ann"]
    person = Person(lambda _: True)
    every = replace(agent, approve="all")
    await LocalRunner(runner.store, asker=person).run(every, Task(prompt="write"), bw.Budget(), seed=1)
    assert [json.dumps(dict(q.arguments)) for q in person.asked] == ['{"to": "ann"}', '{"to": "ANN"}']
