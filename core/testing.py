"""Public test doubles: stand-ins for a model where a test is about something else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .protocols import Meter
from .types import ModelRequest, ModelResponse, Usage

Reply = str | ModelResponse | Exception


class ScriptedModel:
    """A model whose replies are a function of the request. Counts tokens as words, one call at a time or many.

    Args:
        script: returns the reply; an exception is raised. The number of the call, from 0, is the second argument.
        name: the model's name.
        slots: how many calls it serves at once.
        delay_seconds: time that a reply takes, one word after the other.
        native_tools: whether it calls tools natively.
    """

    def __init__(
        self,
        script: Callable[[ModelRequest, int], Reply],
        *,
        name: str = "scripted:model",
        slots: int = 4,
        delay_seconds: float = 0.0,
        native_tools: bool = False,
    ) -> None:
        self._script = script
        self._delay_seconds = delay_seconds
        self.name = name
        self.slots = slots
        self.native_tools = native_tools
        self.requests: list[ModelRequest] = []
        """Every request that was made, in order."""
        self.finished = 0
        """Number of calls that were answered."""
        self.cancelled = 0
        """Number of calls that the caller gave up."""

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return the scripted reply, its text cut to the request's `max_tokens` words."""
        number = len(self.requests)
        self.requests.append(request)
        meter.prompt_tokens = await self.prompt_tokens(request)
        reply = self._script(request, number)
        if isinstance(reply, Exception):
            raise reply
        response = ModelResponse(reply, Usage()) if isinstance(reply, str) else reply
        try:
            words = await self._speak(response.text, request.sampling.max_tokens, meter)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        meter.finished = True
        self.finished += 1
        whole = words == response.text
        return ModelResponse(
            words, meter.usage(), response.finish_reason if whole else "length", response.tool_calls, model=self.name
        )

    async def _speak(self, text: str, most: int, meter: Meter) -> str:
        words = text.split(" ")[:most]
        for _ in words:
            await asyncio.sleep(self._delay_seconds / len(words))
            meter.completion_tokens += 1
        return " ".join(words)

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """Return the number of words in the messages."""
        return sum(len(message.content.split()) for message in request.messages)

    def price(self, usage: Usage) -> float | None:  # noqa: ARG002 - the protocol's signature
        """Cost nothing."""
        return 0.0

    async def aclose(self) -> None:
        """Hold nothing."""
