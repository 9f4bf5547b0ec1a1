"""Public test doubles: what users test their agents with, and we ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from .errors import ModelRefused
from .protocols import Meter
from .types import ModelRequest, ModelResponse, Usage

Script = Callable[[ModelRequest], ModelResponse | str | Exception]


TOKEN_CHARS = 4


def count_tokens(text: str) -> int:
    """Return a stand-in for a tokenizer's count: one token per four characters, at least one."""
    return max(1, -(-len(text) // TOKEN_CHARS))


def _sampled(reply: ModelResponse, request: ModelRequest) -> ModelResponse:
    """Return the part of a reply that a request gets."""
    text = reply.text.removeprefix(request.prefix)
    ends = [place for stop in request.sampling.stop if (place := text.find(stop)) >= 0]
    text = text[: min(ends)] if ends else text
    if count_tokens(text) <= request.sampling.max_tokens:
        return replace(reply, text=text)
    return replace(reply, text=text[: TOKEN_CHARS * request.sampling.max_tokens], finish_reason="length")


class ScriptedModel:
    """A model whose replies are a function of the request.

    A reply ends before the first of the request's `stop` texts in it, and where it is longer than `max_tokens` it is cut there. One
    that is to be continued is asked of the script as a whole: what it begins with is left out where that is the request's `prefix`.

    Args:
        script: returns the reply, its text, or an error to raise. Called once per attempt.
        name: what it calls itself.
        slots: how many requests it claims to serve at once.
        native_tools: whether it claims to call tools natively.
        sees: whether it claims to take pictures.
        latency_seconds: how long a reply takes, by request; None for no time at all.
        usd_per_token: its price; None for an unknown one.
        context_tokens: most tokens of a prompt and its reply together, as servers have it: a longer reply is cut, a prompt that
            leaves no room for one refused; None for no limit.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted:model",
        slots: int = 16,
        native_tools: bool = True,
        sees: bool = False,
        latency_seconds: Callable[[ModelRequest], float] | None = None,
        usd_per_token: float | None = 0.0,
        context_tokens: int | None = None,
    ) -> None:
        self.name = name
        self.slots = slots
        self.native_tools = native_tools
        self.sees = sees
        self.requests: list[ModelRequest] = []
        """Every request so far, in the order of arrival."""
        self.in_flight = 0
        self.max_in_flight = 0
        self.longest_tokens = 0
        """Most tokens of a prompt and its reply together so far."""
        self.closed = False
        self._context_tokens = context_tokens
        self._script = script
        self._latency_seconds = latency_seconds
        self._usd_per_token = usd_per_token

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return the scripted reply. A reply that is cancelled while it takes its time is charged by half.

        Raises:
            Exception: what the script returned.
            ModelRefused: the prompt is as long as the context or longer.
        """
        self.requests.append(request)
        meter.prompt_tokens = await self.prompt_tokens(request)
        request = self._within_context(request, meter.prompt_tokens)
        answer = self._script(request)
        if isinstance(answer, str):
            answer = ModelResponse(answer, Usage())
        if isinstance(answer, ModelResponse):
            answer = _sampled(answer, request)
        tokens = 0 if isinstance(answer, Exception) else count_tokens(answer.text)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            if self._latency_seconds is not None:
                meter.completion_tokens = tokens // 2
                await asyncio.sleep(self._latency_seconds(request))
        finally:
            self.in_flight -= 1
        if isinstance(answer, Exception):
            raise answer
        meter.completion_tokens = tokens
        meter.finished = True
        self.longest_tokens = max(self.longest_tokens, meter.prompt_tokens + tokens)
        return replace(answer, usage=meter.usage(), model=answer.model or self.name)

    def _within_context(self, request: ModelRequest, prompt_tokens: int) -> ModelRequest:
        if self._context_tokens is None:
            return request
        room = self._context_tokens - prompt_tokens
        if room < 1:
            raise ModelRefused(
                f"{prompt_tokens} tokens do not fit into a context of {self._context_tokens}", status=400
            )
        most = min(request.sampling.max_tokens, room)
        return replace(request, sampling=replace(request.sampling, max_tokens=most))

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """Return the exact count by `count_tokens`, 4 more for each message."""
        texts = [message.content for message in request.messages] + [request.prefix] * bool(request.prefix)
        return sum(4 + count_tokens(text) for text in texts)

    def price(self, usage: Usage) -> float | None:
        """Return US dollars for `usage`."""
        return None if self._usd_per_token is None else usage.tokens * self._usd_per_token

    async def aclose(self) -> None:
        """Note that it was closed."""
        self.closed = True
