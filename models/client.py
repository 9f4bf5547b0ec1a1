"""The client of every model server: OpenAI's chat-completions API over HTTP, always streamed.

Streaming is what makes a hard budget and real cancellation possible: the meter knows at any moment what a call has
used, and closing the stream makes the server free the slot.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import httpx2
import openai

from ..core.errors import ModelError, ModelTimeout, ModelUnavailable, UsageError
from ..core.protocols import Meter
from ..core.types import JSON, ModelRequest, ModelResponse, Usage
from .counting import TokenCounter, upper_bound
from .failures import served, translate
from .wire import Dialect, Reply, check_sight, request_json

OPENAI_HOST = "api.openai.com"
"""The one server that counts no tokens for us and wants `max_completion_tokens`."""

_KEEPALIVE_SECONDS = 3.0
"""Shorter than servers keep idle connections (uvicorn: 5 s), so that it is us who close them, never amid a request."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a server may be silent. A reply as a whole has no limit but the run's budget."""

    connect_seconds: float = 10.0
    first_token_seconds: float = 600.0
    """From the request to the first token: the time in the server's queue and that of reading the prompt."""
    between_tokens_seconds: float = 120.0
    count_seconds: float = 30.0
    """For counting a prompt's tokens."""

    def __post_init__(self) -> None:
        for name in ("connect_seconds", "first_token_seconds", "between_tokens_seconds", "count_seconds"):
            if not getattr(self, name) > 0:
                raise UsageError(f"Timeouts({name}={getattr(self, name)!r}): must be more than 0")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt_usd: float
    completion_usd: float
    cached_usd: float | None = None
    """For prompt tokens that the server had in its cache; None: as the others."""

    def of(self, usage: Usage) -> float:
        """Return what `usage` costs. Cancelled tokens were sampled, so they are paid for."""
        cached_usd = self.prompt_usd if self.cached_usd is None else self.cached_usd
        fresh = usage.prompt_tokens - usage.cached_tokens
        sampled = usage.completion_tokens + usage.cancelled_tokens
        return (fresh * self.prompt_usd + usage.cached_tokens * cached_usd + sampled * self.completion_usd) / 1e6


FREE = Price(0.0, 0.0)
"""A model on one's own machine."""


class HttpModel:
    """A model behind an OpenAI-compatible server. Makes one attempt per call; `Retrying` makes more.

    Args:
        name: `provider:model`, as the user wrote it.
        model: the server's name of the model.
        base_url: the API's address, usually ending in `/v1`.
        api_key: sent as bearer token.
        dialect: which server it is.
        slots: how many requests it serves at once.
        native_tools: whether tools are offered by the server's own tool calling.
        price: None where it is unknown.
        timeouts: how long the server may be silent.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        base_url: str,
        api_key: str,
        dialect: Dialect = "openai",
        slots: int = 16,
        native_tools: bool = True,
        price: Price | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        if slots < 1:
            raise UsageError(f"{name}: slots={slots} must be at least 1")
        self.name = name
        self.slots = slots
        self.native_tools = native_tools
        self.base_url = base_url.rstrip("/")
        self._model = model
        self._dialect: Dialect = dialect
        self._price = price
        self._timeouts = timeouts or Timeouts()
        own_host = httpx2.URL(base_url).host == OPENAI_HOST
        self._limit_field = "max_completion_tokens" if own_host else "max_tokens"
        # llama.cpp closes kept connections when it pleases, and the next request is lost; a new one costs it 0.1 ms.
        kept = 0 if dialect == "llama.cpp" else 2 * slots
        self._http = _http_client(api_key, self._timeouts, kept)
        self._api = openai.AsyncOpenAI(
            api_key=api_key, base_url=self.base_url, max_retries=0, http_client=self._http, timeout=self._http.timeout
        )
        self._counter = TokenCounter(
            self._http,
            self.base_url.removesuffix("/v1"),
            model,
            timeout_seconds=self._timeouts.count_seconds,
            ask=not own_host,
        )

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return one reply, raising the meter while it streams in.

        The prompt is charged as soon as the request is on its way, at the count that the meter already holds, else the last
        exact one, else an upper bound; the server's own report replaces it. A request that the server never began costs
        nothing.

        Raises:
            ModelUnavailable: connection lost, 429, 5xx, or a stream that ends before the reply does.
            ModelTimeout: the server was silent for too long.
            ModelRefused: any other 4xx.
            ModelOutputInvalid: the reply came whole but not in the form that was asked for.
            UsageError: a reply is to be continued, or a picture to be seen, and the server cannot.
        """
        check_sight(self.name, request, sees=self.sees)
        body = request_json(self._model, request, self._dialect, limit_field=self._limit_field)
        meter.prompt_tokens = meter.prompt_tokens or self._counter.known(request) or upper_bound(request)
        reply = Reply(meter)
        try:
            await self._stream(body, reply)
        except openai.APIError as error:
            if not served(error) and not meter.completion_tokens:
                meter.prompt_tokens = meter.cached_tokens = 0
            raise self._error(error, request) from error
        if reply.finish is None:
            raise ModelUnavailable(
                f"{self.name} at {self.base_url} ended its stream after {meter.completion_tokens} tokens without saying why"
            )
        meter.finished = True
        self._counter.reported(request, meter.prompt_tokens)
        return reply.finished(request)

    async def _stream(self, body: dict[str, JSON], reply: Reply) -> None:
        """Take in the stream until it ends; close it whatever happens."""
        loop, times = asyncio.get_running_loop(), self._timeouts
        begun = False
        try:
            async with asyncio.timeout(times.first_token_seconds) as clock:
                # cast_to=object: chunks come as plain data, with the fields that the library does not know.
                stream = await self._api.post(
                    "/chat/completions", cast_to=object, body=body, stream=True, stream_cls=openai.AsyncStream[object]
                )
                try:
                    async for chunk in stream:
                        if reply.take(chunk):
                            begun = True
                            clock.reschedule(loop.time() + times.between_tokens_seconds)
                finally:
                    await stream.close()
        except TimeoutError as error:
            raise ModelTimeout(self._silence(begun=begun)) from error
        except json.JSONDecodeError as error:
            raise ModelUnavailable(f"{self.name} at {self.base_url} sent what is not JSON: {error}") from error

    def _silence(self, *, begun: bool) -> str:
        what, field = ("the next", "between_tokens_seconds") if begun else ("its first", "first_token_seconds")
        return (
            f"{self.name} at {self.base_url} did not send {what} token within {getattr(self._timeouts, field):g} s; it is "
            f"overloaded or stuck: lower its slots or raise Timeouts.{field}"
        )

    def _error(self, error: openai.APIError, request: ModelRequest) -> ModelError:
        shown = any(message.pictures for message in request.messages)
        return translate(error, name=self.name, base_url=self.base_url, pictures=shown)

    @property
    def sees(self) -> bool:
        """Whether pictures can be sent to it; which models take them its server knows."""
        return self._dialect != "llama.cpp"

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """Return the prompt's tokens: exact where the server counts (llama.cpp, vLLM), else an upper bound."""
        return await self._counter.count(request)

    def price(self, usage: Usage) -> float | None:
        """Return US dollars for `usage`, None where the price is unknown."""
        return None if self._price is None else self._price.of(usage)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.close()


def _http_client(api_key: str, timeouts: Timeouts, kept: int) -> httpx2.AsyncClient:
    """One pool of connections for calls and counting; only connecting is timed here, for silence has its own clock."""
    return httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=httpx2.Timeout(None, connect=timeouts.connect_seconds),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=_KEEPALIVE_SECONDS),
        follow_redirects=False,
    )
