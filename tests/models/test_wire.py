"""Requests out, chunks in: plain data, no server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from branchwise.core.errors import ModelOutputInvalid, ModelUnavailable, UsageError
from branchwise.core.protocols import Meter
from branchwise.core.types import Message, ModelRequest, Sampling, TokenLogprob, ToolCall, ToolSpec
from branchwise.models.wire import Reply, request_json

HELLO = ModelRequest((Message("user", "hello"),))
ASSISTANT = {"role": "assistant", "content": "Hello to"}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}


def delta(**fields: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {"choices": [{"index": 0, "delta": fields}]}


def end(reason: str) -> dict[str, Any]:
    """The chunk that ends a reply."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def filled(*chunks: dict[str, Any]) -> Reply:
    """A reply that took these chunks in."""
    reply = Reply(Meter(prompt_tokens=9))
    for chunk in chunks:
        reply.take(chunk)
    return reply


def test_a_plain_request_has_no_extras() -> None:
    """A server of OpenAI's refuses what it does not know, so nothing unasked for is sent."""
    assert request_json("m", HELLO, "openai") == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 1024,
        "temperature": 0.8,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_everything_that_can_be_asked_is_sent() -> None:
    """Sampling, tools, schema and log-probabilities take the API's form."""
    request = ModelRequest(
        (
            Message("assistant", "", (ToolCall("c1", "read", {"path": "a"}),)),
            Message("tool", "text", tool_call_id="c1"),
        ),
        Sampling(5, 0.1, top_p=0.9, top_k=3, min_p=0.05, seed=7, stop=("a",), logprobs=2),
        (ToolSpec("read", "Read.", {"type": "object"}),),
        SCHEMA,
    )
    body = request_json("m", request, "vllm", limit_field="max_completion_tokens")
    assert body["messages"][0]["tool_calls"][0]["function"] == {"name": "read", "arguments": '{"path": "a"}'}
    assert body["messages"][1]["tool_call_id"] == "c1"
    assert body["tools"][0]["function"]["name"] == "read"
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert body["stream_options"]["continuous_usage_stats"]
    sampled = {name: body[name] for name in ("max_completion_tokens", "top_k", "min_p", "seed", "stop", "top_logprobs")}
    assert sampled == {
        "max_completion_tokens": 5,
        "top_k": 3,
        "min_p": 0.05,
        "seed": 7,
        "stop": ["a"],
        "top_logprobs": 2,
    }


def test_the_beginning_of_a_reply_is_its_last_message() -> None:
    """llama.cpp goes on with it by itself, vLLM is told to; OpenAI's API would reply to it, so it is refused."""
    request = replace(HELLO, prefix="Hello to")
    messages = [{"role": "user", "content": "hello"}, ASSISTANT]
    llama, told = request_json("m", request, "llama.cpp"), request_json("m", request, "vllm")
    assert llama == {**request_json("m", HELLO, "llama.cpp"), "messages": messages}
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    assert told == {**request_json("m", HELLO, "vllm"), "messages": messages, **extra}
    with pytest.raises(UsageError, match="OpenAI's API cannot"):
        request_json("m", request, "openai")


def test_only_plain_text_is_continued() -> None:
    """A reply that a grammar or tools shape has no beginning of ours."""
    for options in ({"response_schema": SCHEMA}, {"tools": (ToolSpec("read", "", {}),)}):
        with pytest.raises(UsageError, match="plain text only"):
            ModelRequest(HELLO.messages, prefix="Hello", **options)  # type: ignore[arg-type]


def test_log_probabilities_without_alternatives() -> None:
    """No alternatives are no reason to get no log-probabilities: llama.cpp is asked for one."""
    request = replace(HELLO, sampling=Sampling(logprobs=0))
    asked = [request_json("m", request, dialect)["top_logprobs"] for dialect in ("openai", "vllm", "llama.cpp")]  # type: ignore[arg-type]
    assert asked == [0, 0, 1]


def test_a_chunk_is_a_token_until_the_server_says_otherwise() -> None:
    """Without counts a chunk counts as one token; the last chunk's usage settles it."""
    reply = filled(delta(role="assistant", content=None), delta(content="a"), delta(content="b"))
    assert reply.meter.completion_tokens == 2
    reply.take({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}})
    assert (reply.meter.prompt_tokens, reply.meter.completion_tokens) == (5, 3)


def test_llama_cpp_counts_by_timings() -> None:
    """One chunk may carry several tokens; `predicted_n` is how many there were."""
    reply = filled({**delta(content="abc"), "timings": {"predicted_n": 4, "cache_n": 6}})
    assert (reply.meter.completion_tokens, reply.meter.cached_tokens) == (4, 6)


def test_vllm_counts_by_usage_in_each_chunk() -> None:
    """Continuous usage is cumulative."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    reply = filled({**delta(content="ab"), "usage": usage})
    assert reply.meter == Meter(prompt_tokens=7, cached_tokens=4, completion_tokens=2)


def test_tool_calls_are_put_together() -> None:
    """Names come whole, arguments in pieces, several calls interleave by index."""
    reply = filled(
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "read", "arguments": ""}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "list", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"path": '}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '"x"}'}}]),
        end("tool_calls"),
    )
    response = reply.finished(HELLO)
    assert response.tool_calls == (ToolCall("a", "read", {"path": "x"}), ToolCall("b", "list", {}))
    assert response.finish_reason == "tool_calls"


@pytest.mark.parametrize("arguments", ['{"path": ', "[1]", "nonsense"])
def test_unusable_arguments_are_invalid_output(arguments: str) -> None:
    """The message shows the tool and what was got."""
    reply = filled(
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "read", "arguments": arguments}}]),
        end("tool_calls"),
    )
    with pytest.raises(ModelOutputInvalid, match="'read'"):
        reply.finished(HELLO)


def test_a_call_torn_by_the_limit_is_dropped() -> None:
    """A reply that ended at max_tokens is no error; its last, torn call is left out."""
    reply = filled(
        delta(content="I read"),
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "read", "arguments": '{"pa'}}]),
        end("length"),
    )
    response = reply.finished(HELLO)
    assert (response.text, response.tool_calls, response.finish_reason) == ("I read", (), "length")


def test_text_must_be_json_where_a_schema_was_asked_for() -> None:
    """A server that ignores the schema is noticed."""
    request = ModelRequest(HELLO.messages, response_schema=SCHEMA)
    assert filled(delta(content='{"x": 1}'), end("stop")).finished(request).text == '{"x": 1}'
    assert filled(delta(content='{"x": '), end("length")).finished(request).finish_reason == "length"
    with pytest.raises(ModelOutputInvalid, match="not JSON"):
        filled(delta(content="Sure!"), end("stop")).finished(request)


def test_log_probabilities_are_kept() -> None:
    """With their alternatives."""
    token = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1}]}
    chunk = {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [token]}}]}
    assert filled(chunk, end("stop")).finished(HELLO).logprobs == (TokenLogprob("a", -0.5, (("b", -1.0),)),)


@pytest.mark.parametrize("chunk", [5, [], "text", {"choices": 3}, {"choices": [4]}, {"choices": [{"delta": "x"}]}])
def test_what_is_no_chunk_is_a_broken_server(chunk: Any) -> None:
    """Whatever a server sends, one kind of error comes of it."""
    with pytest.raises(ModelUnavailable, match="API's form"):
        Reply(Meter()).take(chunk)
