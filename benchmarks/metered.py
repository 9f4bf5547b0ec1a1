"""A model whose replies are kept, with the engine's time that each of them took: a benchmark that stops can go on."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path

from branchwise.core.around import AroundModel
from branchwise.core.keys import request_key
from branchwise.core.protocols import Meter, Model
from branchwise.core.types import ModelRequest, ModelResponse

TICK_SECONDS = 0.25

LONGEST_TICK_SECONDS = 1.0
"""What lies beyond was a suspended process or a sleeping machine, no work."""


class Clocked(AroundModel):
    """A model that writes down what each call took: the time of the engine, shared evenly among the calls in flight.

    Such seconds add up over calls to the time that the engine was busy, however many calls there were at once.

    Args:
        inner: the model.
        path: JSON lines of `[key, seconds]`.
    """

    def __init__(self, inner: Model, path: Path) -> None:
        self.inner = inner
        self._path = path
        rows = path.read_text().splitlines() if path.exists() else []
        self.seconds: dict[str, float] = dict(json.loads(row) for row in rows)
        self._flying: dict[str, float] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._last = 0.0

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return the model's reply."""
        key = request_key(self.name, request)
        self._share()
        self._flying[key] = 0.0
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick())
        try:
            reply = await self.inner.generate(request, meter)
        except BaseException:
            self._share()
            del self._flying[key]
            raise
        self._share()
        self.seconds[key] = round(self._flying.pop(key), 3)
        with self._path.open("a") as file:
            file.write(json.dumps([key, self.seconds[key]]) + "\n")
        return reply

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._share()

    def _share(self) -> None:
        """Give what has passed since the last time to the calls in flight."""
        now = time.monotonic()
        passed, self._last = min(now - self._last, LONGEST_TICK_SECONDS), now
        for key in self._flying:
            self._flying[key] += passed / len(self._flying)

    async def aclose(self) -> None:
        """Close the model."""
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        await self.inner.aclose()


class Used(AroundModel):
    """A model as one run sees it: the same replies, and a note of those that it has used.

    Args:
        inner: the model, shared by many runs.
        least_seconds: no reply comes sooner, not even a kept one: sampling takes longer than judging, and searches should meet the
            order of events that they would meet with the engine.
    """

    def __init__(self, inner: Model, least_seconds: float) -> None:
        self.inner = inner
        self._least_seconds = least_seconds
        self.keys: list[str] = []

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return the model's reply and note its key."""
        began = time.monotonic()
        reply = await self.inner.generate(request, meter)
        await asyncio.sleep(max(0.0, self._least_seconds - (time.monotonic() - began)))
        self.keys.append(request_key(self.name, request))
        return reply

    async def aclose(self) -> None:
        """Leave the model open: others use it too."""
