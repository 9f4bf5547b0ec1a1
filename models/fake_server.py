"""A model server that is not one: scripted replies behind the real API, for tests and benchmarks.

It speaks OpenAI's chat completions (streamed or whole) and vLLM's `/tokenize`, answers late or wrongly where it is told
to, and counts what happened. It can run in the caller's loop (`async with`), in a thread (`in_thread`) or in a process of
its own (`python -m branchwise.models.fake_server`), where `GET /stats` shows the counts.

Told to continue its last message (`continue_final_message`), as vLLM can be, it goes on with what it would have replied
to the messages before: what the reply begins with is left out. A reply that begins otherwise is taken to be the rest.

What befalls a request depends on the seed, the request and how often it has come, not on the order of arrival: a test
with concurrent calls sees the same faults every time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import json
import random
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from ..core.errors import UsageError
from ..core.keys import canonical_json
from ..core.types import JSON
from .fake_behaviour import Answer, Fault, Faults, Latency, Stats
from .http_server import Exchange, HttpServer, Request

__all__ = ["Answer", "FakeServer", "Faults", "Latency", "Stats", "count_tokens", "echo", "prompt_tokens"]

_TOKEN = re.compile(r"\s*\S{1,6}|\s+")
_CHUNK: dict[str, JSON] = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": "fake"}

Reply = Callable[[Mapping[str, JSON]], "Answer | str | Awaitable[Answer | str]"]


PICTURE_TOKENS = 1_200
"""What a picture costs, whatever its size, unless the server is told otherwise."""


def echo(body: Mapping[str, JSON]) -> str:
    """Reply with the last message's text."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def pictures(body: Mapping[str, JSON]) -> list[str]:
    """Return the addresses of a request's pictures, which hold the pictures themselves."""
    parts = [
        part for message in body["messages"] if isinstance(message.get("content"), list) for part in message["content"]
    ]
    return [str(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]


def count_tokens(text: str) -> int:
    """Return how many tokens the fake tokenizer makes of `text`: pieces of up to six characters."""
    return len(_TOKEN.findall(text))


def prompt_tokens(body: Mapping[str, JSON], picture_tokens: int = PICTURE_TOKENS) -> int:
    """Return the tokens of a request's prompt: those of its messages and tools, 4 around each message, and its pictures'."""
    size = sum(4 + count_tokens(json.dumps(_as_text(message), sort_keys=True)) for message in body["messages"])
    size += picture_tokens * len(pictures(body))
    return size + (count_tokens(json.dumps(body["tools"], sort_keys=True)) if body.get("tools") else 0)


def _as_text(message: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return a message without its pictures."""
    content = message.get("content")
    return {**message, "content": echo({"messages": [message]}) if isinstance(content, list) else content}


class FakeServer:
    """The server. Use as an asynchronous context manager, or `in_thread`.

    Args:
        reply: makes the answer from the request's body; it may look at `tools`, `response_format`, `seed` and so on, and may be a
            coroutine, which holds this request up and no other.
        latency: how late answers come.
        faults: how often they go wrong.
        slots: how many requests are worked on at once, others wait; None for no limit.
        api_key: asked for where it is given.
        sees: whether it takes pictures; else it refuses them as vLLM does.
        counts: whether it counts prompts beforehand.
        picture_tokens: what it charges for a picture.
        seed: of latencies and faults.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        reply: Reply = echo,
        *,
        latency: Latency | None = None,
        faults: Faults | None = None,
        slots: int | None = None,
        api_key: str | None = None,
        sees: bool = True,
        counts: bool = True,
        picture_tokens: int = PICTURE_TOKENS,
        seed: int = 0,
        port: int = 0,
    ) -> None:
        self.stats = Stats()
        self._reply = reply
        self._latency = latency or Latency()
        self._faults = faults or Faults()
        self._slots = asyncio.Semaphore(slots or 1_000_000)
        self._api_key = api_key
        self._sees = sees
        self._posts = {"/v1/chat/completions", "/tokenize"} if counts else {"/v1/chat/completions"}
        self._picture_tokens = picture_tokens
        self._seed = seed
        self._http = HttpServer(self._handle, port=port)

    @property
    def base_url(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self._http.port}/v1"

    async def __aenter__(self) -> Self:
        await self._http.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    @contextlib.contextmanager
    def in_thread(self) -> Generator[Self]:
        """Serve from a thread with a loop of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fake-model-server", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result()
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    # --- answering ----------------------------------------------------------------------------------------------------

    async def _handle(self, request: Request, exchange: Exchange) -> None:
        if self._api_key and request.headers.get("authorization") != f"Bearer {self._api_key}":
            exchange.send_json(401, _error(401, "invalid API key"))
        elif request.method == "GET" and request.path == "/stats":
            exchange.send_json(200, self.stats.to_json())
        elif request.method == "GET" and request.path == "/v1/models":
            exchange.send_json(200, {"object": "list", "data": [{"id": "fake", "object": "model"}]})
        elif request.method == "POST" and request.path in self._posts:
            await self._answer(request, exchange)
        else:
            exchange.send_json(404, _error(404, f"no {request.method} {request.path}"))

    async def _answer(self, request: Request, exchange: Exchange) -> None:
        try:
            body = request.json()
            prompt = prompt_tokens(body, self._picture_tokens)
            _check_continuation(body)
        except (ValueError, KeyError, TypeError) as error:
            exchange.send_json(400, _error(400, f"bad body: {error}"))
            return
        if not self._sees and pictures(body):
            exchange.send_json(400, _error(400, "At most 0 image(s) may be provided in one prompt."))
            return
        if request.path == "/tokenize":
            exchange.send_json(200, {"count": prompt, "max_model_len": 1 << 20})
            return
        key = request_body_key(body)
        self.stats.enter(key, time.monotonic())
        rng = random.Random(f"{self._seed}:{key}:{self.stats.started[key]}")  # noqa: S311 - a test's own randomness
        try:
            async with self._slots:
                await self._complete(body, prompt, key, rng, exchange)
        except asyncio.CancelledError:
            self.stats.aborted[key] += 1
            raise
        finally:
            self.stats.leave(time.monotonic())

    async def _complete(
        self, body: Mapping[str, JSON], prompt: int, key: str, rng: random.Random, exchange: Exchange
    ) -> None:
        fault = self._faults.draw(rng)
        if fault is not None:
            self.stats.faults[fault] += 1
        if fault == "too_many_429":
            headers = {"Retry-After": self._faults.retry_after} if self._faults.retry_after is not None else {}
            exchange.send_json(429, _error(429, "too many requests"), headers)
            return
        await asyncio.sleep(self._latency.draw(rng))
        if fault == "error_500":
            exchange.send_json(500, _error(500, "an error on purpose"))
        elif fault == "hang":
            await asyncio.sleep(self._faults.hang_seconds)
            exchange.break_off()
        else:
            chunks, sampled = _chunks(await self._replied(body), body)
            usage = {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled}
            if body.get("stream"):
                await self._stream(chunks, usage, body, fault, exchange)
            else:
                exchange.send_json(200, _whole(chunks, usage))
                self.stats.completion_tokens += sampled
            if fault is None:
                self.stats.finished[key] += 1

    async def _replied(self, body: Mapping[str, JSON]) -> Answer:
        """Return what the model says to a request, or what is left of it where its beginning is given."""
        *before, last = body["messages"]
        continued = bool(body.get("continue_final_message"))
        answer = self._reply({**body, "messages": before} if continued else body)
        if isinstance(answer, Awaitable):
            answer = await answer
        whole = Answer(answer) if isinstance(answer, str) else answer
        said = str(last["content"])
        if not continued or not whole.text.startswith(said):
            return whole
        return replace(whole, text=whole.text[len(said) :], logprobs=whole.logprobs[len(_TOKEN.findall(said)) :])

    async def _stream(
        self,
        chunks: list[dict[str, JSON]],
        usage: dict[str, JSON],
        body: Mapping[str, JSON],
        fault: Fault | None,
        exchange: Exchange,
    ) -> None:
        exchange.start_stream()
        options: Mapping[str, JSON] = body.get("stream_options") or {}
        pause = self._latency.per_token_seconds
        stop_at = len(chunks) // 2 if fault in {"cut", "garbage"} else len(chunks)
        waiting: list[bytes] = []
        for number, delta in enumerate(chunks[:stop_at]):
            if delta["delta"]:
                self.stats.completion_tokens += 1
            chunk = {**_CHUNK, "choices": [{"index": 0, "finish_reason": None, **delta}]}
            if options.get("continuous_usage_stats"):
                chunk["usage"] = {**usage, "completion_tokens": number + 1}
            waiting.append(_event(chunk))
            if pause > 0:
                exchange.write(b"".join(waiting))
                waiting.clear()
                await asyncio.sleep(pause)
        if fault == "garbage":
            waiting.append(b"data: {what is this\n\n")
        if fault is None:
            if options.get("include_usage"):
                waiting.append(_event({**_CHUNK, "choices": [], "usage": usage}))
            waiting.append(b"data: [DONE]\n\n")
        exchange.write(b"".join(waiting))
        exchange.break_off() if fault == "cut" else exchange.end()


def request_body_key(body: Mapping[str, JSON]) -> str:
    """Return the key that `Stats` counts a request under."""
    decisive = {name: value for name, value in body.items() if name not in {"max_tokens", "stream", "stream_options"}}
    return hashlib.sha256(canonical_json(decisive)).hexdigest()[:16]


def _check_continuation(body: Mapping[str, JSON]) -> None:
    """Refuse what vLLM refuses.

    Raises:
        ValueError: the last message cannot be continued.
    """
    if not body.get("continue_final_message"):
        return
    if body.get("add_generation_prompt", True):
        raise ValueError("cannot set both `continue_final_message` and `add_generation_prompt`")
    if body["messages"][-1]["role"] != "assistant":
        raise ValueError("the last message is not the assistant's")


def _chunks(answer: Answer, body: Mapping[str, JSON]) -> tuple[list[dict[str, JSON]], int]:
    """The answer as the `delta`s of a stream, the last one with the reason of its end; and its number of tokens."""
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or 1 << 30
    ends = [place for mark in body.get("stop") or () if (place := answer.text.find(mark)) >= 0]
    text = answer.text[: min(ends)] if ends else answer.text
    pieces: list[dict[str, JSON]] = [{"delta": {"content": piece}} for piece in _TOKEN.findall(text)]
    for piece, logprob in zip(pieces, answer.logprobs, strict=False):
        top = [{"token": token, "logprob": value} for token, value in logprob.top]
        piece["logprobs"] = {"content": [{"token": logprob.token, "logprob": logprob.logprob, "top_logprobs": top}]}
    for index, call in enumerate(answer.tool_calls):
        pieces.append(_call_delta(index, {"name": call.name, "arguments": ""}, id=call.id, type="function"))
        arguments = json.dumps(dict(call.arguments))
        pieces += [_call_delta(index, {"arguments": part}) for part in _TOKEN.findall(arguments)]
    cut = len(pieces) > limit
    pieces = pieces[:limit]
    natural = "tool_calls" if answer.tool_calls else "stop"
    reason = "length" if cut else natural if answer.finish_reason is None else answer.finish_reason
    return [*pieces, {"delta": {}, "finish_reason": reason}], len(pieces)


def _call_delta(index: int, function: dict[str, JSON], **more: JSON) -> dict[str, JSON]:
    return {"delta": {"tool_calls": [{"index": index, "function": function, **more}]}}


def _whole(chunks: list[dict[str, JSON]], usage: dict[str, JSON]) -> dict[str, JSON]:
    text = "".join(chunk["delta"].get("content", "") for chunk in chunks)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": chunks[-1]["finish_reason"],
    }
    return {**_CHUNK, "object": "chat.completion", "choices": [choice], "usage": usage}


def _event(chunk: dict[str, JSON]) -> bytes:
    return b"data: %b\n\n" % json.dumps(chunk).encode()


def _error(code: int, message: str) -> dict[str, JSON]:
    return {"error": {"message": message, "type": "fake", "code": code}}


# --- as a process of its own ------------------------------------------------------------------------------------------


def _load_reply(target: str) -> Reply:
    """Return the function named FILE.py:NAME."""
    path, _, name = target.rpartition(":")
    spec = importlib.util.spec_from_file_location("fake_reply", Path(path))
    if spec is None or spec.loader is None:
        raise UsageError(f"--reply {target!r}: write FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Reply = getattr(module, name)
    return found


async def _serve(server: FakeServer) -> None:
    async with server:
        sys.stdout.write(json.dumps({"base_url": server.base_url}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main() -> None:
    """Serve until killed; the first line printed is JSON with the address."""
    parser = argparse.ArgumentParser(prog="python -m branchwise.models.fake_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--reply", default="", help="FILE.py:FUNCTION of the request's body; default: echo")
    parser.add_argument("--median-seconds", type=float, default=0.0)
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--per-token-seconds", type=float, default=0.0)
    parser.add_argument("--slots", type=int)
    parser.add_argument("--fault-share", type=float, default=0.0, help="500, 429, hang and cut, equally often")
    parser.add_argument("--hang-seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    server = FakeServer(
        _load_reply(given.reply) if given.reply else echo,
        latency=Latency(given.median_seconds, given.sigma, given.per_token_seconds),
        faults=Faults.evenly(given.fault_share, hang_seconds=given.hang_seconds),
        slots=given.slots,
        seed=given.seed,
        port=given.port,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(server))


if __name__ == "__main__":
    main()
