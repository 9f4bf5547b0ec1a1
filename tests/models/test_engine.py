"""The embedded engine, for real: shared, supervised, never left over, and no prompt read twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from branchwise.core.errors import CatalogError, ModelRefused, ModelUnavailable, UsageError
from branchwise.core.protocols import Meter
from branchwise.core.types import Message, ModelRequest, Sampling, ToolCall, ToolSpec
from branchwise.models import EmbeddedModel, EngineSettings, HttpModel, Retrying, RetryPolicy, connect, lease

pytestmark = pytest.mark.model

Ask = Callable[..., ModelRequest]
Until = Callable[[Callable[[], bool]], Awaitable[None]]

HOLD = """
import asyncio, json, sys
from branchwise.models import EngineSettings, lease
held = asyncio.run(lease.take(EngineSettings(**json.loads(sys.argv[1])), linger_seconds=0.1))
print(held.address.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def model(engine: EngineSettings) -> AsyncIterator[EmbeddedModel]:
    """A user of the shared engine."""
    model = EmbeddedModel("embedded:small", engine)
    yield model
    await model.aclose()


@pytest.fixture
def damaged(small_model: Path, tmp_path: Path) -> Path:
    """The beginning of a model."""
    path = tmp_path / "damaged.gguf"
    path.write_bytes(small_model.read_bytes()[:5_000_000])
    return path


def own(settings: EngineSettings, alias: str) -> EngineSettings:
    """Settings that nobody else uses: an engine of the test's own."""
    return replace(settings, alias=alias, parallel=1, context_tokens=512)


def holder(settings: EngineSettings) -> tuple[subprocess.Popen[str], psutil.Process]:
    """Another process that holds a lease, and the engine."""
    given = json.dumps({name: getattr(settings, name) for name in settings.__slots__})
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


def end(process: subprocess.Popen[str]) -> None:
    """Close the pipes of a process that has ended."""
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def gone(process: psutil.Process, *, seconds: float = 30) -> bool:
    """Whether the process ends within the time."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return False
    return True


async def get(client: HttpModel, path: str) -> Any:
    """Ask the engine itself something."""
    return (await client._http.get(client.base_url.removesuffix("/v1") + path)).json()


# --- replies ----------------------------------------------------------------------------------------------------------


async def test_the_engine_answers(model: EmbeddedModel, ask: Ask) -> None:
    """Text, exact usage, log-probabilities; nothing to pay."""
    meter = Meter()
    response = await model.generate(ask("Say hello.", max_tokens=8, logprobs=2), meter)
    assert response.text
    assert response.usage == meter.usage()
    assert 0 < response.usage.completion_tokens <= 8
    assert all(token.logprob <= 0 and len(token.top) == 2 for token in response.logprobs)
    assert model.price(response.usage) == 0.0


async def test_equal_seeds_give_equal_replies(model: EmbeddedModel, ask: Ask) -> None:
    """And other seeds others."""
    texts = [(await model.generate(ask("Tell a story.", max_tokens=12, seed=seed), Meter())).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


async def test_a_schema_is_enforced(model: EmbeddedModel, ask: Ask) -> None:
    """Even on a model that would never keep to it."""
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "maximum": 99, "minimum": 0}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    response = await model.generate(replace(ask("Pick.", max_tokens=60), response_schema=schema), Meter())
    made = json.loads(response.text)
    assert made["colour"] in {"red", "blue"}
    assert 0 <= made["count"] <= 99


@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", "hello"),),
        (Message("system", "Be terse."), Message("user", "ü 漢字 🙂 <|im_end|> \n\n x")),
        (Message("user", "a"), Message("assistant", "b"), Message("user", "c")),
        (
            Message("user", "read"),
            Message("assistant", "", (ToolCall("c", "read", {"path": "x"}),)),
            Message("tool", "text", tool_call_id="c"),
        ),
    ],
)
async def test_prompts_are_counted_exactly(model: EmbeddedModel, messages: tuple[Message, ...]) -> None:
    """A hard budget relies on it: the count before equals the usage after."""
    spec = ToolSpec("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})
    request = ModelRequest(messages, Sampling(max_tokens=1, seed=1), (spec,) if messages[-1].role == "tool" else ())
    counted = await model.prompt_tokens(request)
    response = await model.generate(request, Meter())
    assert counted == response.usage.prompt_tokens


async def test_a_prompt_beyond_the_context_is_refused(model: EmbeddedModel, ask: Ask) -> None:
    """At once, for good, with the numbers."""
    with pytest.raises(ModelRefused, match="context"):
        await model.generate(ask("word " * 3000), Meter())


async def test_a_wrong_key_is_refused(engine: EngineSettings, model: EmbeddedModel, ask: Ask) -> None:
    """Other users of the machine cannot use the engine."""
    client = await model.start()
    stranger = HttpModel("x:y", model="small", base_url=client.base_url, api_key="guess", dialect="llama.cpp")
    with pytest.raises(ModelRefused, match="401"):
        await stranger.generate(ask(), Meter())
    await stranger.aclose()


async def test_cancelling_frees_the_slot(model: EmbeddedModel, ask: Ask, until: Until) -> None:
    """llama.cpp itself reports the slot idle soon after, and the tokens so far are charged."""
    client, meter = await model.start(), Meter()
    call = asyncio.create_task(model.generate(ask("Tell a very long story.", max_tokens=1500, min_p=0.0), meter))
    await until(lambda: meter.completion_tokens >= 2)
    assert any(slot["is_processing"] for slot in await get(client, "/slots"))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    async with asyncio.timeout(60):
        while any(slot["is_processing"] for slot in await get(client, "/slots")):  # noqa: ASYNC110 - a server is asked
            await asyncio.sleep(0.02)
    assert 2 <= meter.usage().cancelled_tokens < 1500


async def test_greedy_segments_are_the_whole_reply(model: EmbeddedModel) -> None:
    """Cut every 7 tokens and continued, the model says what it says in one go, and what it said is not read again."""
    messages = (Message("user", "Write a short story about a fox and a crow."),)
    sampling = Sampling(28, 0.0, seed=1, logprobs=0)
    whole = await model.generate(ModelRequest(messages, sampling), Meter())
    said, logprobs, finish, fresh = "", list[float](), "length", list[int]()
    while finish == "length" and len(logprobs) < 28:
        part = replace(sampling, max_tokens=min(7, 28 - len(logprobs)))
        reply = await model.generate(ModelRequest(messages, part, prefix=said), Meter())
        said, finish = said + reply.text, reply.finish_reason
        logprobs += [token.logprob for token in reply.logprobs]
        fresh.append(reply.usage.prompt_tokens - reply.usage.cached_tokens)
    assert len(fresh) == 4
    assert said == whole.text
    assert logprobs == pytest.approx([token.logprob for token in whole.logprobs], abs=0.05)
    assert max(fresh[1:]) <= 2


# --- prompts are read once --------------------------------------------------------------------------------------------


async def test_siblings_and_children_read_a_prompt_once(model: EmbeddedModel) -> None:
    """Four siblings at once: one reads; their children: each reads what is new."""
    client = await model.start()
    head = (Message("system", f"Task {os.getpid()}. " + "All work and no play. " * 60), Message("user", "Go on."))

    async def call(messages: tuple[Message, ...], seed: int) -> tuple[int, int, str]:
        meter = Meter()
        response = await model.generate(ModelRequest(messages, Sampling(6, 1.0, seed=seed)), meter)
        return response.usage.prompt_tokens, response.usage.prompt_tokens - response.usage.cached_tokens, response.text

    before = await get(client, "/router")
    siblings = await asyncio.gather(*(call(head, seed) for seed in range(4)))
    after = await get(client, "/router")
    assert after["reads"] - before.get("reads", 0) == 1
    read = sorted(fresh for _, fresh, _ in siblings)
    assert read[-1] > 200
    assert max(read[:3]) <= 2
    grown = (*head, Message("assistant", siblings[0][2]), Message("user", "It failed. " * 40))
    children = await asyncio.gather(*(call(grown, seed) for seed in range(4)))
    read = sorted(fresh for _, fresh, _ in children)
    assert 40 < read[-1] < 250
    assert max(read[:3]) <= 2
    again = await call(head, 2)
    assert again[1] <= 2


# --- supervision ------------------------------------------------------------------------------------------------------


async def test_processes_share_an_engine(engine: EngineSettings, model: EmbeddedModel) -> None:
    """A second process gets the same one, and its end leaves it alone."""
    address = (await lease.take(engine), await model.start())[0]
    process, found = await asyncio.to_thread(holder, engine)
    assert found.pid == address.address.pid
    process.kill()
    end(process)
    address.close()
    assert found.is_running()


def test_no_engine_is_left_when_its_user_is_killed(small_settings: EngineSettings) -> None:
    """SIGKILL of the only user: the engine is gone within seconds."""
    process, engine = holder(own(small_settings, "killed-user"))
    process.send_signal(signal.SIGKILL)
    begun = time.monotonic()
    end(process)
    assert gone(engine, seconds=10), "the engine outlived its user"
    assert time.monotonic() - begun < 10


async def test_the_engine_ends_with_its_last_user(small_settings: EngineSettings) -> None:
    """Not before, and after the time to linger."""
    settings = own(small_settings, "last-user")
    one, two = [await lease.take(settings, linger_seconds=0.1) for _ in range(2)]
    assert one.address == two.address
    engine = psutil.Process(one.address.pid)
    one.close()
    await asyncio.sleep(0.5)
    assert two.alive
    assert engine.is_running()
    two.close()
    assert await asyncio.to_thread(gone, engine)


async def test_users_that_start_together_get_one_engine(small_settings: EngineSettings) -> None:
    """Whoever comes first starts it."""
    settings = own(small_settings, "together")
    leases = await asyncio.gather(*(lease.take(settings, linger_seconds=0.1) for _ in range(4)))
    assert len({held.address.pid for held in leases}) == 1
    for held in leases:
        held.close()
    assert await asyncio.to_thread(gone, psutil.Process(leases[0].address.pid))


async def test_a_dead_engine_is_started_again(small_settings: EngineSettings, ask: Ask, until: Until) -> None:
    """The call in flight fails as unavailable, so that a retry finds a new engine and gets its reply."""
    model = EmbeddedModel("embedded:dies", own(small_settings, "dies"), linger_seconds=0.1)
    retrying, meter = Retrying(model, RetryPolicy(first_wait_seconds=0.05)), Meter()
    await model.start()
    assert model._held is not None
    first = model._held[0].address.pid
    call = asyncio.create_task(retrying.generate(ask("Tell a long story.", max_tokens=60), meter))
    await until(lambda: meter.usage().cancelled_tokens >= 2)
    os.kill(first, signal.SIGKILL)
    response = await call
    assert response.text
    assert model._held is not None
    second = psutil.Process(model._held[0].address.pid)
    assert second.pid != first
    assert meter.usage().calls >= 2
    assert meter.usage().cancelled_tokens >= 2
    await model.aclose()
    assert await asyncio.to_thread(gone, second)


async def test_a_damaged_model_is_one_clear_error(damaged: Path) -> None:
    """With what the engine logged; and no engine is left."""
    with pytest.raises(ModelUnavailable, match=r"(?s)could not serve.*Its log.*corrupted or incomplete"):
        await connect(f"embedded:{damaged}")


async def test_what_is_no_model_is_refused_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing files, other files, models that were not pulled, and models beyond the memory."""
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK34")
    with pytest.raises(UsageError, match="not a model in GGUF format"):
        await connect(f"embedded:{other}")
    with pytest.raises(CatalogError, match="cannot read the model"):
        await connect(f"embedded:{tmp_path}/absent.gguf")
    monkeypatch.setenv("BRANCHWISE_HOME", str(tmp_path))
    with pytest.raises(CatalogError, match="branchwise models pull qwen"):
        await connect("embedded:qwen2.5-coder-1.5b")
    huge = tmp_path / "huge.gguf"
    huge.write_bytes(b"GGUF")
    os.truncate(huge, 1 << 42)
    with pytest.raises(ModelUnavailable, match="not enough memory"):
        await connect(f"embedded:{huge}")


def test_serving_in_the_foreground(small_model: Path) -> None:
    """`branchwise models serve` prints where it is, answers, and ends cleanly on Ctrl-C; a taken port is one clear line."""
    command = [sys.executable, "-m", "branchwise.cli", "models", "serve", str(small_model), "--port"]
    with subprocess.Popen([*command, "0", "--parallel", "1", "--json"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())
        headers = {"Authorization": f"Bearer {address['api_key']}"}
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        reply = httpx2.post(f"{address['base_url']}/chat/completions", json=body, headers=headers, timeout=60)
        assert reply.json()["usage"]["completion_tokens"] <= 2
        port = address["base_url"].split(":")[2].split("/")[0]
        taken = subprocess.run([*command, port], capture_output=True, text=True, timeout=60, check=False)
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    assert taken.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in taken.stderr
    assert len(taken.stderr.splitlines()) == 1
