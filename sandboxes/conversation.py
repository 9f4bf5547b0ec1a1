"""A program in a sandbox that one talks to while it runs."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from ..core.types import ExecResult
from .guest import Guest
from .reply import count, exec_result

_PIECE_BYTES = 1 << 18
_WINDOW_BYTES = 1 << 20
"""Input on its way that the program has not taken in."""
_CREDIT_BYTES = 1 << 16

Ended = tuple[dict[str, Any], bytes]


class Conversation:
    """Implements `core.protocols.Process`."""

    def __init__(self, guest: Guest, limit_bytes: int) -> None:
        self.number = guest.channel.new_id()
        self._guest = guest
        self._channel = guest.channel
        self._parts: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._running: asyncio.Task[Ended] | None = None
        self._on_its_way = 0
        self._received = 0
        self._limit_bytes = limit_bytes
        self._room = limit_bytes
        """How much more output the worker may send on."""
        self._input_ended = False

    def follow(self, running: asyncio.Task[Ended]) -> None:
        """Say which task waits for the program's end."""
        self._running = running
        running.add_done_callback(lambda _: self._news.set())

    def hear(self, header: dict[str, Any], body: bytes) -> None:
        """Take in what the worker says before the program's end."""
        if "taken" in header:
            self._on_its_way -= count(header, "taken")
        else:
            self._room -= len(body)
            if self._room < 0:
                raise ValueError("more output than it may send")
            self._parts.append(body)
        self._news.set()

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            while self._on_its_way > _WINDOW_BYTES and not self._ended:
                await self._hear_more()
            if self._ended or self._input_ended:
                return
            self._on_its_way += len(piece)
            await self._channel.say("input", {"target": self.number, "end": False, "room": 0}, piece)

    async def close_input(self) -> None:
        if not self._input_ended and not self._ended:
            self._input_ended = True
            await self._channel.say("input", {"target": self.number, "end": True, "room": 0})

    async def receive(self) -> bytes:
        while not self._parts and not self._ended:
            await self._hear_more()
        if self._parts:
            part = self._parts.popleft()
            await self._make_room(len(part))
            return part
        assert self._running is not None  # it has ended
        self._running.result()
        return b""

    async def wait(self) -> ExecResult:
        assert self._running is not None  # given with the conversation
        await asyncio.wait([self._running])
        reply, stderr = self._running.result()
        rest = b"".join(self._parts)
        self._parts.clear()
        # What was sent on as it came is not in the reply.
        with self._guest.reading():
            split = len(rest) + count(reply, "stdout")
            return exec_result({**reply, "stdout": split}, rest + stderr, most_bytes=len(rest) + self._limit_bytes)

    @property
    def _ended(self) -> bool:
        return self._running is not None and self._running.done()

    async def _hear_more(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _make_room(self, size: int) -> None:
        """Tell the worker that what was received no longer counts against the limit."""
        self._received += size
        if self._received >= _CREDIT_BYTES and not self._ended:
            room, self._received = self._received, 0
            self._room += room
            await self._channel.say("input", {"target": self.number, "end": False, "room": room})
