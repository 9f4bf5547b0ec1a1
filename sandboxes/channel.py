"""Frames between the host and a sandbox's worker: requests with ids, replies matched to them, loss noticed at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import struct
from collections.abc import Callable
from typing import Any, Protocol

from ..core.errors import SandboxLost

_HEAD = struct.Struct(">II")
_HEADER_LIMIT_BYTES = 1 << 20
_BODY_LIMIT_BYTES = 1 << 28
_HELLO = 0


class Transport(Protocol):
    """Bytes to and from a worker, and the means to end it."""

    async def read(self) -> bytes:
        """Return what has arrived, at least one byte; nothing at the end of the stream.

        Raises:
            OSError: the connection broke.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Send.

        Raises:
            OSError: the connection broke.
        """
        ...

    async def kill(self) -> None:
        """End the sandbox with everything in it and leave nothing behind. Idempotent."""
        ...

    def diagnosis(self) -> str:
        """What is known about the end of a worker, such as the last it wrote on its standard error."""
        ...


class Channel:
    """Requests to one worker.

    A reply that nobody asked for, a frame that makes no sense and the end of the stream all mean that the worker can no
    longer be trusted: everything that waits, and every later request, gets `SandboxLost`.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.lost: str | None = None
        """Why the worker is lost; None while it is not."""
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], bytes]]] = {}
        self._abandoned: set[int] = set()
        self._listeners: dict[int, Callable[[dict[str, Any], bytes], None]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def open(self, timeout_seconds: float) -> dict[str, Any]:
        """Start reading and return the worker's first words.

        Raises:
            SandboxLost: it did not say them.
        """
        hello = self._expect(_HELLO)
        self._reader = asyncio.create_task(self._read(), name="sandbox-reader")
        return (await self._reply(_HELLO, hello, timeout_seconds))[0]

    def new_id(self) -> int:
        """Return a request id that cannot be guessed from inside the sandbox."""
        return secrets.randbits(62) + 1

    async def request(
        self,
        op: str,
        fields: dict[str, Any],
        body: bytes = b"",
        *,
        timeout_seconds: float,
        request_id: int | None = None,
        listener: Callable[[dict[str, Any], bytes], None] | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Send one request and return its reply.

        Cancelling the caller gives up the wait, not the work: the worker finishes it. `listener` is told of what arrives
        before the reply.

        Raises:
            SandboxLost: no reply within the time, or the worker is gone.
        """
        number = self.new_id() if request_id is None else request_id
        future = self._expect(number)
        if listener is not None:
            self._listeners[number] = listener
        try:
            await self._send({**fields, "op": op, "id": number}, body)
        except BaseException:
            self._waiting.pop(number, None)
            self._abandoned.add(number)
            raise
        return await self._reply(number, future, timeout_seconds)

    async def say(self, op: str, fields: dict[str, Any], body: bytes = b"") -> None:
        """Send a message that has no reply.

        Raises:
            SandboxLost: the worker is gone.
        """
        if self.lost is not None:
            raise SandboxLost(self._message())
        await self._send({**fields, "op": op, "id": self.new_id()}, body)

    async def _send(self, header: dict[str, Any], body: bytes) -> None:
        text = json.dumps(header).encode("ascii")
        try:
            await self.transport.write(b"".join((_HEAD.pack(len(text), len(body)), text, body)))
        except OSError as error:
            self.fail(f"the connection broke: {error}")
            raise SandboxLost(self._message()) from error

    def _expect(self, number: int) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        if self.lost is not None:
            raise SandboxLost(self._message())
        future: asyncio.Future[tuple[dict[str, Any], bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        return future

    async def _reply(
        self, number: int, future: asyncio.Future[tuple[dict[str, Any], bytes]], timeout_seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await future
        except TimeoutError:
            self.fail(f"no answer within {timeout_seconds:g} s")
            raise SandboxLost(self._message()) from None
        finally:
            if self._waiting.pop(number, None) is not None:
                self._abandoned.add(number)

    async def _read(self) -> None:
        buffer = bytearray()
        try:
            while data := await self.transport.read():
                buffer += data
                self._take(buffer)
            self.fail("it ended")
        except OSError as error:
            self.fail(f"the connection broke: {error}")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self.fail(f"it sent something that is no frame: {error}")

    def _take(self, buffer: bytearray) -> None:
        """Hand out every whole frame at the start of `buffer` and remove it from there."""
        start = 0
        while len(buffer) - start >= _HEAD.size:
            header_size, body_size = _HEAD.unpack_from(buffer, start)
            if header_size > _HEADER_LIMIT_BYTES or body_size > _BODY_LIMIT_BYTES:
                raise ValueError(f"sizes {header_size} and {body_size}")
            body_start = start + _HEAD.size + header_size
            end = body_start + body_size
            if len(buffer) < end:
                break
            header = json.loads(buffer[start + _HEAD.size : body_start])
            self._hand_out(header, bytes(buffer[body_start:end]))
            start = end
        del buffer[:start]

    def _hand_out(self, header: dict[str, Any], body: bytes) -> None:
        number = header["id"]
        if "part" in header or "taken" in header:
            if number in self._listeners:
                self._listeners[number](header, body)
            elif number not in self._abandoned:
                raise ValueError(f"a part of a reply to a request {number!r} that expects none")
            return
        self._listeners.pop(number, None)
        future = self._waiting.pop(number, None)
        if future is None:
            if number not in self._abandoned:
                raise ValueError(f"a reply to a request {number!r} that was never made")
            self._abandoned.discard(number)
        elif not future.done():
            future.set_result((header, body))

    def fail(self, reason: str) -> None:
        """Declare the worker lost."""
        if self.lost is None:
            self.lost = reason
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(SandboxLost(self._message()))
        self._waiting.clear()

    def _message(self) -> str:
        detail = self.transport.diagnosis()
        return f"the sandbox's worker is lost: {self.lost}" + (f" ({detail})" if detail else "")

    async def close(self) -> None:
        """Stop reading and end the sandbox. Idempotent."""
        self.fail("it was closed")
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self.transport.kill()
