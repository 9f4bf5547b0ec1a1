"""The client against a server that behaves as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from time import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.errors import (
    ModelError,
    ModelOutputInvalid,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    UsageError,
)
from branchwise.core.protocols import Meter
from branchwise.core.types import Message, ModelRequest, TokenLogprob, ToolCall, ToolSpec, Usage
from branchwise.models import HttpModel, Price, Timeouts
from branchwise.models.counting import upper_bound
from branchwise.models.failures import retry_after_seconds
from branchwise.models.fake_server import Answer, FakeServer, Faults, Latency, count_tokens, prompt_tokens
from branchwise.models.wire import messages_json

Ask = Callable[..., ModelRequest]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


def client(server: FakeServer, **options: Any) -> HttpModel:
    """A client of the server."""
    return HttpModel("openai:fake", **{"model": "fake", "base_url": server.base_url, "api_key": "none", **options})


async def test_a_reply_streams_in_and_is_charged(ask: Ask) -> None:
    """Text, usage and reason of the end are the server's."""
    async with FakeServer(lambda _: "a reply of some words") as server:
        model, meter = client(server), Meter()
        response = await model.generate(ask(), meter)
        await model.aclose()
    assert response.text == "a reply of some words"
    assert response.finish_reason == "stop"
    prompt = prompt_tokens({"messages": [{"role": "user", "content": "hello there"}]})
    assert response.usage == meter.usage() == Usage(prompt, 0, count_tokens(response.text), calls=1)


async def test_the_reply_is_cut_at_max_tokens(ask: Ask) -> None:
    """And says so."""
    async with FakeServer(lambda _: "one two three four five") as server:
        model = client(server)
        response = await model.generate(ask(max_tokens=2), Meter())
        await model.aclose()
    assert (response.finish_reason, response.usage.completion_tokens) == ("length", 2)


async def test_cancelling_closes_the_stream_at_once(ask: Ask, until: Until) -> None:
    """The server sees the client go; prompt and tokens so far are charged, the latter as cancelled."""
    async with FakeServer(lambda _: "word " * 500, latency=Latency(per_token_seconds=0.005)) as server:
        model, meter = client(server), Meter()
        call = asyncio.create_task(model.generate(ask(max_tokens=1000), meter))
        await until(lambda: meter.completion_tokens >= 3)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: not server.stats.in_flight)
        await model.aclose()
        assert server.stats.aborted.total() == 1
        used = meter.usage()
        assert used.completion_tokens == 0
        assert 3 <= used.cancelled_tokens <= server.stats.completion_tokens < 500
        assert used.prompt_tokens == upper_bound(ask())


async def test_cancelling_before_the_first_token_charges_the_prompt(ask: Ask, until: Until) -> None:
    """The count that the caller put on the meter is the one charged."""
    async with FakeServer(latency=Latency(60.0)) as server:
        model, meter = client(server), Meter(prompt_tokens=11)
        call = asyncio.create_task(model.generate(ask(), meter))
        await until(lambda: server.stats.in_flight == 1)
        call.cancel()
        await asyncio.wait([call])
        await model.aclose()
    assert meter.usage() == Usage(prompt_tokens=11, calls=1)


@pytest.mark.parametrize(
    ("faults", "error", "retry_after", "charged"),
    [
        (Faults(error_500=1), ModelUnavailable, None, True),
        (Faults(too_many_429=1, retry_after="7"), ModelUnavailable, 7.0, False),
        (Faults(too_many_429=1), ModelUnavailable, None, False),
        (Faults(cut=1), ModelUnavailable, None, True),
        (Faults(garbage=1), ModelUnavailable, None, True),
        (Faults(hang=1, hang_seconds=0.05), ModelUnavailable, None, True),
        (Faults(hang=1), ModelTimeout, None, True),
    ],
)
async def test_every_fault_becomes_its_error(
    ask: Ask, faults: Faults, error: type[ModelError], retry_after: float | None, charged: bool
) -> None:
    """What the server may have worked on is charged, what it turned away is not."""
    async with FakeServer(faults=faults) as server:
        model, meter = client(server, timeouts=Timeouts(first_token_seconds=1.0)), Meter()
        with pytest.raises(error) as caught:
            await model.generate(ask("some words to be echoed"), meter)
        await model.aclose()
    assert getattr(caught.value, "retry_after_seconds", None) == retry_after
    assert not meter.finished
    assert bool(meter.usage().prompt_tokens) == charged
    assert server.base_url in str(caught.value)


async def test_a_stream_that_just_ends_is_a_cut_one(ask: Ask) -> None:
    """No reason given means that the reply is not whole, however clean the end."""
    silent = Answer("text", finish_reason="")
    async with FakeServer(lambda _: silent) as server:
        model = client(server)
        with pytest.raises(ModelUnavailable, match="without saying why"):
            await model.generate(ask(), Meter())
        await model.aclose()


async def test_silence_between_tokens_times_out(ask: Ask) -> None:
    """Each token starts the clock anew, so a long reply is no timeout but a stuck one is."""
    async with FakeServer(lambda _: "word " * 20, latency=Latency(per_token_seconds=5)) as server:
        model, meter = client(server, timeouts=Timeouts(between_tokens_seconds=0.2)), Meter()
        with pytest.raises(ModelTimeout, match="next token within 0.2 s"):
            await model.generate(ask(), meter)
        await model.aclose()
    assert meter.usage().cancelled_tokens == 1


async def test_nobody_listening_costs_nothing(ask: Ask) -> None:
    """A request that was never sent is not charged."""
    async with FakeServer() as server:
        model, meter = client(server), Meter(prompt_tokens=50)
    with pytest.raises(ModelUnavailable, match="lost the connection"):
        await model.generate(ask(), meter)
    await model.aclose()
    assert meter.usage() == Usage(calls=1)


async def test_a_refusal_is_final(ask: Ask) -> None:
    """4xx other than 408 and 429 say that the request as such is wrong; it costs nothing."""
    async with FakeServer(api_key="right") as server:
        model, meter = client(server, api_key="wrong"), Meter()
        with pytest.raises(ModelRefused, match="check the API key") as caught:
            await model.generate(ask(), meter)
        await model.aclose()
    assert caught.value.status == 401
    assert meter.usage() == Usage(calls=1)


async def test_a_wrong_path_is_explained(ask: Ask) -> None:
    """A base URL without /v1 is a common mistake."""
    async with FakeServer() as server:
        model = client(server, base_url=server.base_url.removesuffix("/v1"))
        with pytest.raises(ModelRefused, match="check the base URL"):
            await model.generate(ask(), Meter())
        await model.aclose()


async def test_tools_logprobs_and_schema_go_through(ask: Ask) -> None:
    """The server gets what was asked and its answer keeps its form."""
    seen: list[dict[str, Any]] = []

    def reply(body: Any) -> Answer:
        seen.append(body)
        if body.get("tools"):
            return Answer("", (ToolCall("c1", "read", {"path": "a b c d e f"}),))
        return Answer('{"x": 1}', logprobs=(TokenLogprob('{"x":', -0.25, (("{", -0.25),)),))

    async with FakeServer(reply) as server:
        model = client(server)
        spec = ToolSpec("read", "Read a file.", {"type": "object"})
        called = await model.generate(ModelRequest(ask().messages, tools=(spec,)), Meter())
        formed = await model.generate(ModelRequest(ask().messages, response_schema={"type": "object"}), Meter())
        await model.aclose()
    assert called.tool_calls == (ToolCall("c1", "read", {"path": "a b c d e f"}),)
    assert called.finish_reason == "tool_calls"
    assert json.loads(formed.text) == {"x": 1}
    assert formed.logprobs[0].logprob == -0.25
    assert seen[1]["response_format"]["json_schema"]["schema"] == {"type": "object"}


async def test_an_answer_beside_the_schema_is_invalid_but_paid(ask: Ask) -> None:
    """The reply came whole, so it is charged as finished."""
    async with FakeServer(lambda _: "Sure, here you are") as server:
        model, meter = client(server), Meter()
        with pytest.raises(ModelOutputInvalid):
            await model.generate(ModelRequest(ask().messages, response_schema={"type": "object"}), meter)
        await model.aclose()
    assert meter.finished
    assert meter.usage().completion_tokens > 0


async def test_prompts_are_counted_by_the_server(ask: Ask) -> None:
    """Exact where it counts, and asked once per prompt."""
    async with FakeServer() as server:
        model = client(server)
        exact = prompt_tokens({"messages": messages_json(ask().messages)})
        assert await model.prompt_tokens(ask()) == exact
        meter = Meter()
        response = await model.generate(ask(), meter)
        await model.aclose()
    assert response.usage.prompt_tokens == exact
    assert await model.prompt_tokens(ask(seed=2)) == exact, "known, though the server is gone"


async def test_a_server_that_does_not_count_gets_an_upper_bound(ask: Ask) -> None:
    """So does one that cannot be reached."""
    async with FakeServer() as server:
        model = client(server)
    assert await model.prompt_tokens(ask()) == upper_bound(ask())
    await model.aclose()


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_the_upper_bound_is_above_the_bytes(texts: list[str]) -> None:
    """No byte-level tokenizer makes more tokens than there are bytes."""
    request = ModelRequest(tuple(Message("user", text) for text in texts))
    assert upper_bound(request) >= sum(len(text.encode("utf-8", "surrogatepass")) + 8 for text in texts) + 30


def test_retry_after_is_read_in_both_forms() -> None:
    """Seconds or a date; nonsense is no wish."""
    assert retry_after_seconds({"retry-after": "1.5"}) == 1.5
    assert retry_after_seconds({"retry-after": "-3"}) == 0.0
    wait = retry_after_seconds({"retry-after": formatdate(time() + 30, usegmt=True)})
    assert wait is not None
    assert 25 < wait <= 30
    assert retry_after_seconds({"retry-after": "soon"}) is None
    assert retry_after_seconds({}) is None


def test_prices_add_up() -> None:
    """Cached prompt tokens at their own price, cancelled tokens like finished ones."""
    price = Price(prompt_usd=1.0, completion_usd=10.0, cached_usd=0.1)
    assert price.of(Usage(1_000_000, 500_000, 100_000, 100_000)) == pytest.approx(0.5 + 0.05 + 2.0)
    assert Price(1.0, 0.0).of(Usage(1_000_000, 500_000)) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["connect_seconds", "first_token_seconds", "between_tokens_seconds"])
def test_timeouts_must_be_positive(name: str) -> None:
    """The message names the field and the value."""
    with pytest.raises(UsageError, match=rf"{name}=0"):
        Timeouts(**{name: 0})
