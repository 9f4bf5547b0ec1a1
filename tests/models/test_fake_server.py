"""The fake server is what other tests believe in, so it is tested too."""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest

from branchwise.core.protocols import Meter
from branchwise.core.types import ModelRequest
from branchwise.models import HttpModel, connect
from branchwise.models.fake_behaviour import Stats
from branchwise.models.fake_server import FakeServer, Faults, Latency

Ask = Callable[..., ModelRequest]


async def test_concurrency_is_limited_and_measured(ask: Ask) -> None:
    """Four slots: never more than four are worked on, and 12 calls of 50 ms take three rounds."""
    async with FakeServer(latency=Latency(0.05), slots=4) as server:
        model = await connect("vllm:fake", base_url=server.base_url)
        await asyncio.gather(*(model.generate(ask(f"call {number}"), Meter()) for number in range(12)))
        await model.aclose()
    assert server.stats.max_in_flight == 12, "those that wait are in flight for the client"
    assert server.stats.last - (server.stats.first or 0.0) >= 0.15
    assert len(server.stats.finished) == 12


def test_the_mean_is_the_integral_over_time() -> None:
    """Two requests of 1 s each that overlap by half: (0.5 + 2 * 0.5 + 0.5) / 1.5."""
    stats = Stats()
    stats.enter("a", 0.0)
    stats.enter("b", 0.5)
    stats.leave(1.0)
    stats.leave(1.5)
    assert stats.mean_in_flight == pytest.approx(2.0 / 1.5)
    assert stats.max_in_flight == 2


def test_latency_is_lognormal() -> None:
    """With the given median, and the given sigma of the logarithm."""
    latency, rng = Latency(0.05, 1.0), random.Random(0)
    drawn = [latency.draw(rng) for _ in range(4000)]
    assert statistics.median(drawn) == pytest.approx(0.05, rel=0.08)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(1.0, rel=0.05)


async def test_faults_do_not_depend_on_the_order(ask: Ask) -> None:
    """The same requests meet the same faults, whatever comes first; a second try meets its own."""

    async def outcomes(numbers: list[int]) -> dict[int, str]:
        async with FakeServer(faults=Faults(error_500=0.5), seed=1) as server:
            model = await connect("vllm:fake", base_url=server.base_url)
            calls = [model.generate(ask(f"call {number}"), Meter()) for number in numbers]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            await model.aclose()
        return {number: type(end).__name__ for number, end in zip(numbers, ends, strict=True)}

    forward, backward = await outcomes([*range(30)]), await outcomes([*range(29, -1, -1)])
    assert forward == backward
    assert 8 <= [*forward.values()].count("ModelUnavailable") <= 22


async def test_whole_replies_are_served_too() -> None:
    """For clients that do not stream."""
    async with FakeServer(lambda _: "the reply") as server, httpx2.AsyncClient() as http:
        body = {"messages": [{"role": "user", "content": "hi"}]}
        reply = (await http.post(f"{server.base_url}/chat/completions", json=body)).json()
        missing = await http.get(f"{server.base_url}/nothing")
        malformed = await http.post(f"{server.base_url}/chat/completions", content=b"{")
    assert reply["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "the reply"},
        "finish_reason": "stop",
    }
    assert reply["usage"]["completion_tokens"] == 2
    assert (missing.status_code, malformed.status_code) == (404, 400)


def test_it_runs_in_a_thread(ask: Ask) -> None:
    """For tests whose own loop is busy or absent."""
    with FakeServer(lambda _: "from a thread").in_thread() as server:
        model = HttpModel("x:y", model="m", base_url=server.base_url, api_key="none")

        async def call() -> str:
            reply = await model.generate(ask(), Meter())
            await model.aclose()
            return reply.text

        assert asyncio.run(call()) == "from a thread"


async def test_it_runs_in_a_process_of_its_own(ask: Ask, tmp_path: object) -> None:
    """With a reply of the caller's and counts to be asked for."""
    script = f"{tmp_path}/reply.py"
    with open(script, "w") as file:  # noqa: ASYNC230, PTH123
        file.write("def shout(body):\n    return body['messages'][-1]['content'].upper()\n")
    command = [sys.executable, "-m", "branchwise.models.fake_server", "--reply", f"{script}:shout", "--slots", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["base_url"]
        model = await connect("openai:fake", base_url=url)
        reply = await model.generate(ask("quiet"), Meter())
        await model.aclose()
        async with httpx2.AsyncClient() as http:
            stats = (await http.get(f"{url.removesuffix('/v1')}/stats")).json()
        process.terminate()
    assert reply.text == "QUIET"
    assert (stats["requests"], stats["in_flight"]) == (1, 0)


@pytest.mark.parametrize(
    "request_bytes",
    [b"nonsense\r\n\r\n", b"GET /\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"x" * 70_000],
)
async def test_malformed_requests_are_turned_away(request_bytes: bytes) -> None:
    """And the server goes on."""
    async with FakeServer() as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        assert (await reader.readline()).split()[1] in {b"400", b"431"}
        writer.close()
        async with httpx2.AsyncClient() as http:
            assert (await http.get(f"{server.base_url}/models")).status_code == 200


async def test_a_reply_is_continued_where_it_stopped(ask: Ask) -> None:
    """Cut and continued, the pieces are the whole reply, their prompts counted; what vLLM refuses is refused."""
    text = "All work and no play makes Jack a dull boy."
    async with FakeServer(lambda _body: text) as server:
        model = await connect("vllm:fake", base_url=server.base_url)
        said, finish, prompts = "", "length", list[int]()
        while finish == "length":
            request = replace(ask(max_tokens=3), prefix=said)
            prompts.append(await model.prompt_tokens(request))
            reply = await model.generate(request, Meter())
            said, finish = said + reply.text, reply.finish_reason
        whole = await model.generate(ask(), Meter())
        foreign = await model.generate(replace(ask(), prefix="Once "), Meter())
        await model.aclose()
        async with httpx2.AsyncClient(base_url=server.base_url) as client:
            body = {"messages": [{"role": "user", "content": "a"}], "continue_final_message": True}
            both = await client.post("/chat/completions", json=body)
            user = await client.post("/chat/completions", json={**body, "add_generation_prompt": False})
    assert said == whole.text == foreign.text == text
    assert len(prompts) == math.ceil(whole.usage.completion_tokens / 3) > 3
    assert prompts == sorted(set(prompts)), "the beginning is a part of the prompt"
    assert both.status_code == user.status_code == 400
