"""Replies recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from branchwise.core.errors import ModelUnavailable, UsageError
from branchwise.core.protocols import Meter
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, ModelResponse, TokenLogprob, ToolCall, Usage
from branchwise.models import RecordedModel
from branchwise.models.counting import upper_bound

Ask = Callable[..., ModelRequest]

REPLY = ModelResponse("text", Usage(), "tool_calls", (ToolCall("c", "read", {"a": [1]}),), (TokenLogprob("t", -1.0),))


async def test_a_reply_is_asked_for_once_and_replayed_whole(ask: Ask, tmp_path: Path) -> None:
    """Text, tool calls, log-probabilities and cost; without the model the second time."""
    path = tmp_path / "made" / "replies.jsonl"
    inner = ScriptedModel(lambda _: REPLY, name="embedded:small", slots=3, native_tools=False)
    async with RecordedModel(path, inner) as recording:
        first = await recording.generate(ask(), Meter())
        assert await recording.generate(ask(), Meter()) == first
        assert (recording.slots, recording.native_tools) == (3, False)
    assert len(inner.requests) == 1
    assert inner.closed
    replaying, meter = RecordedModel(path, name="embedded:small"), Meter()
    assert await replaying.generate(ask(), meter) == first
    assert first.tool_calls == REPLY.tool_calls
    assert meter.usage() == first.usage
    assert len(replaying) == 1
    assert await replaying.prompt_tokens(ask()) == upper_bound(ask())
    assert replaying.price(first.usage) == 0.0


async def test_other_requests_are_not_recorded(ask: Ask, tmp_path: Path) -> None:
    """Another seed is another request; the message says what to do."""
    path = tmp_path / "replies.jsonl"
    await RecordedModel(path, ScriptedModel(lambda _: "x"), name="m:m").generate(ask(), Meter())
    with pytest.raises(UsageError, match="record it again"):
        await RecordedModel(path, name="m:m").generate(ask(seed=2), Meter())
    with pytest.raises(UsageError, match="no recording"):
        RecordedModel(tmp_path / "absent.jsonl")


async def test_failures_are_not_recorded(ask: Ask, tmp_path: Path) -> None:
    """The next call asks again."""
    answers: list[str | Exception] = [ModelUnavailable("gone"), "fine"]
    recording = RecordedModel(tmp_path / "replies.jsonl", ScriptedModel(lambda _: answers.pop(0)))
    with pytest.raises(ModelUnavailable):
        await recording.generate(ask(), Meter())
    assert (await recording.generate(ask(), Meter())).text == "fine"


@pytest.mark.parametrize("line", ["{", "[]", '{"key": "k"}', '{"key": "k", "reply": {"text": 3}}'])
def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path, line: str) -> None:
    """With the line."""
    path = tmp_path / "replies.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match="line 1 is not a recorded reply"):
        RecordedModel(path)
