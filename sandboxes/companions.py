"""What a sandbox does not live without: it goes when the sandbox goes, and can be why the sandbox is lost."""

from __future__ import annotations

import asyncio
from typing import Protocol

from .channel import Transport


class Companion(Protocol):
    """Something beside a sandbox: its way to the network, its services."""

    async def close(self) -> None:
        """End it. Idempotent."""
        ...

    def diagnosis(self) -> str:
        """Why it ended by itself; empty where it did not."""
        ...


class AccompaniedTransport:
    """A worker's transport with companions."""

    def __init__(self, inner: Transport, *companions: Companion) -> None:
        self._inner = inner
        self._companions = list(companions)
        self.read = inner.read
        self.write = inner.write

    def add(self, companion: Companion) -> None:
        """Take in one more."""
        self._companions.append(companion)

    async def kill(self) -> None:
        """End the sandbox and all that is beside it. Idempotent."""
        await asyncio.gather(*(companion.close() for companion in self._companions))
        await self._inner.kill()

    def diagnosis(self) -> str:
        """What is known about the end of the worker, or of a companion whose end was the reason."""
        words = [companion.diagnosis() for companion in self._companions]
        return "; ".join(word for word in [*words, self._inner.diagnosis()] if word)
