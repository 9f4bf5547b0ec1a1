"""The embedded model: the engine's user side as a `Model`."""

from __future__ import annotations

import asyncio

from ..core.errors import ModelUnavailable
from ..core.protocols import Meter
from ..core.types import ModelRequest, ModelResponse, Usage
from . import lease
from .client import FREE, HttpModel, Timeouts
from .engine import EngineSettings
from .wire import check_sight


class EmbeddedModel:
    """A model served by an engine on this machine, started by the first call and shared with everybody who uses the same.

    An engine that died is started again by the next call; the call that was in flight fails with `ModelUnavailable`.

    Args:
        name: `embedded:model`, as the user wrote it.
        settings: what is served and how.
        native_tools: whether the model is good at the server's own tool calling.
        timeouts: how long the engine may be silent.
        linger_seconds: how long a new engine stays after its last user has gone.
    """

    def __init__(
        self,
        name: str,
        settings: EngineSettings,
        *,
        native_tools: bool = False,
        timeouts: Timeouts | None = None,
        linger_seconds: float = lease.DEFAULT_LINGER_SECONDS,
    ) -> None:
        self.name = name
        self.native_tools = native_tools
        self.settings = settings
        self._timeouts = timeouts
        self._linger_seconds = linger_seconds
        self._starting = asyncio.Lock()
        self._held: tuple[lease.Lease, HttpModel] | None = None

    @property
    def slots(self) -> int:
        """How many requests the engine serves at once."""
        return self.settings.parallel

    async def start(self) -> HttpModel:
        """Return the client of a living engine, starting one where need be.

        Raises:
            UsageError, CatalogError: the engine can never start so; the message says what to do.
            ModelUnavailable: it did not start this time.
        """
        async with self._starting:
            if self._held is not None:
                held, client = self._held
                if held.alive:
                    return client
                await self._release()
            held = await lease.take(self.settings, linger_seconds=self._linger_seconds)
            client = HttpModel(
                self.name,
                model=self.settings.alias,
                base_url=held.address.base_url,
                api_key=held.address.api_key,
                dialect="llama.cpp",
                slots=self.slots,
                native_tools=self.native_tools,
                price=FREE,
                timeouts=self._timeouts,
            )
            self._held = held, client
            return client

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return one reply; see `HttpModel.generate`."""
        check_sight(self.name, request, sees=False)
        try:
            client = await self.start()
        except ModelUnavailable:
            meter.prompt_tokens = 0  # never sent
            raise
        return await client.generate(request, meter)

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """Return the prompt's tokens, counted by the engine."""
        return await (await self.start()).prompt_tokens(request)

    def price(self, usage: Usage) -> float:
        """Nothing."""
        return FREE.of(usage)

    async def aclose(self) -> None:
        """Give the lease back; the last one to do so ends the engine."""
        async with self._starting:
            await self._release()

    async def _release(self) -> None:
        if self._held is None:
            return
        held, client = self._held
        self._held = None
        held.close()
        await client.aclose()
