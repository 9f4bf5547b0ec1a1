"""The forms of a turn: native tool calls, and one JSON object that a grammar enforces."""

from __future__ import annotations

import json

import pytest

import branchwise as bw
from branchwise.agents.forms import JsonForm, NativeForm, describe
from branchwise.core.types import Message, ModelResponse, Observation, Step, ToolCall, Usage

SPECS = [tool.spec for tool in bw.tools.files]
HELLO = [Message("user", "hello")]


def reply(text: str, finish: str = "stop", calls: tuple[ToolCall, ...] = ()) -> ModelResponse:
    """A model's reply."""
    return ModelResponse(text, Usage(), finish, calls)  # type: ignore[arg-type]


def test_json_schema_admits_each_tool_and_the_answer() -> None:
    """One alternative per tool in the order thought, tool, args, and the answer only where the model may end by itself."""
    schema = JsonForm().schema(SPECS)
    names = [option["properties"]["tool"]["const"] for option in schema["anyOf"]]
    assert names == ["list", "read", "write", "replace", "answer"]
    assert all(list(option["properties"]) == ["thought", "tool", "args"] for option in schema["anyOf"])
    judged = JsonForm(may_answer=False).schema(SPECS)
    assert [option["properties"]["tool"]["const"] for option in judged["anyOf"]] == names[:-1]


def test_json_turns_are_read() -> None:
    """A call, an answer, a turn cut at the token limit, and nonsense."""
    form = JsonForm()
    turn = form.read(reply('{"thought": "look", "tool": "read", "args": {"path": "a.py"}}'))
    assert turn.calls == (ToolCall("call", "read", {"path": "a.py"}),)
    assert turn.text == "look"
    assert form.read(reply('{"thought": "", "tool": "answer", "args": {"text": "42"}}')).answer == "42"
    assert "cut off" in str(form.read(reply('{"thought": "very lo', "length")).problem)
    for nonsense in ("", "[]", "{}", '{"tool": "read"}', '{"tool": 3, "args": 4}', "null"):
        assert form.read(reply(nonsense)).problem == "the turn is no JSON"


def test_json_history_is_what_the_model_wrote() -> None:
    """A past step is shown as the JSON that the model wrote, then what came of it; errors are marked."""
    call = ToolCall("call", "read", {"path": "a.py"})
    step = Step("tool", "look", (call,), (Observation("call", "no such file", ok=False),))
    said, seen = JsonForm().write(step, "[tests] 1 of 2 pass")
    assert json.loads(said.content) == {"thought": "look", "tool": "read", "args": {"path": "a.py"}}
    assert (seen.role, seen.content) == ("user", "ERROR: no such file\n\n[tests] 1 of 2 pass")


def test_an_unusable_turn_is_shown_with_the_reason() -> None:
    """The model sees the beginning of what it said and why it could not be used."""
    step = Step("invalid", "x" * 2000, (), (Observation("", "cut off", ok=False),))
    said, seen = JsonForm().write(step, "")
    assert len(said.content) == 500
    assert seen.content == "ERROR: cut off"


def test_native_turns() -> None:
    """Calls are calls, text is the answer, a cut turn is a problem; results go back under their call's id."""
    form = NativeForm()
    calls = (ToolCall("1", "read", {"path": "a"}), ToolCall("2", "list", {}))
    assert form.read(reply("", "tool_calls", calls)).calls == calls
    assert form.read(reply(" done ")).answer == "done"
    assert form.read(reply("half", "length")).problem is not None
    step = Step("tool", "hm", calls, (Observation("1", "text"), Observation("2", "a.py")))
    messages = form.write(step, "note")
    assert [(m.role, m.tool_call_id) for m in messages] == [
        ("assistant", None),
        ("tool", "1"),
        ("tool", "2"),
        ("user", None),
    ]
    assert len(form.request(HELLO, SPECS, bw.Sampling()).tools) == 4


@pytest.mark.parametrize("words", ["- read(path, first_line?, last_line?): Read a file", "    path: path relative"])
def test_tools_are_described_in_words(words: str) -> None:
    """Optional arguments carry a question mark, and arguments with a description have a line."""
    assert words in describe(SPECS)
