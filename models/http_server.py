"""A small HTTP/1.1 server on asyncio: enough for the loopback services of this package, nothing more.

One request at a time per connection, bodies with `Content-Length`, answers whole or chunked. A client that goes away
cancels the handler of its request at once, which is how cancelled model calls free what they hold.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from ..core.types import JSON

_HEAD_LIMIT_BYTES = 64 << 10
_BODY_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> JSON:
        """Return the body as JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body)


class Exchange:
    """The answer's side of one request. Either `send` once, or `start_stream`, `write` and `end`."""

    def __init__(self, transport: asyncio.Transport, *, keep: bool) -> None:
        self._transport = transport
        self.keep = keep
        self.started = False

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Answer in one piece."""
        self._head(
            status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}, body
        )

    def send_json(self, status: int, value: JSON, headers: Mapping[str, str] | None = None) -> None:
        """Answer with JSON."""
        self.send(status, json.dumps(value).encode(), headers)

    def start_stream(self, content_type: str = "text/event-stream", status: int = 200) -> None:
        """Begin an answer in chunks."""
        self._head(status, {"Content-Type": content_type, "Transfer-Encoding": "chunked", "Cache-Control": "no-store"})

    def write(self, data: bytes) -> None:
        """Send a chunk."""
        if data:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Say that the chunks are complete."""
        self._transport.write(b"0\r\n\r\n")

    def break_off(self) -> None:
        """Send what was written and hang up without an end, as a server does that dies."""
        self.keep = False
        self._transport.close()

    def _head(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.started = True
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        lines.append(f"Connection: {'keep-alive' if self.keep else 'close'}")
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


Handler = Callable[[Request, Exchange], Awaitable[None]]


class _Connection(asyncio.Protocol):
    def __init__(self, handler: Handler, connections: set[_Connection]) -> None:
        self._handler = handler
        self._connections = connections
        self._buffer = bytearray()
        self._work: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class names it
        self._connections.discard(self)
        if self._work is not None:
            self._work.cancel()

    def eof_received(self) -> bool:
        return False  # a client that will not read on is gone: close, which cancels its request

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._work is None:
            self._next()

    def _next(self) -> None:
        """Start on the request in the buffer, if all of it has come."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _HEAD_LIMIT_BYTES:
                self._refuse(431)
            return
        try:
            method, path, headers = _parse_head(bytes(self._buffer[:end]))
            length = int(headers.get("content-length", "0"))
        except ValueError:
            self._refuse(400)
            return
        if length > _BODY_LIMIT_BYTES or "transfer-encoding" in headers:
            self._refuse(413)
            return
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        exchange = Exchange(self.transport, keep=headers.get("connection", "").lower() != "close")
        work = self._handler(Request(method, path, headers, body), exchange)
        self._work = asyncio.ensure_future(work)
        self._work.add_done_callback(lambda done: self._done(done, exchange))

    def _done(self, work: asyncio.Future[None], exchange: Exchange) -> None:
        self._work = None
        if work.cancelled() or self.transport.is_closing():
            self.transport.close()
            return
        if error := work.exception():
            asyncio.get_running_loop().call_exception_handler({"message": "a handler failed", "exception": error})
            if not exchange.started:
                exchange.keep = False
                exchange.send_json(500, {"error": {"message": type(error).__name__, "code": 500}})
            self.transport.close()
        elif exchange.keep:
            self._next()
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        Exchange(self.transport, keep=False).send_json(status, {"error": {"message": "bad request", "code": status}})
        self.transport.close()


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines)
    return method, path, {name.strip().lower(): value.strip() for name, value in pairs}


class HttpServer:
    """A listening server on 127.0.0.1. Closing it hangs up on everybody.

    Args:
        handler: answers a request; cancelled when the client goes away.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, handler: Handler, *, port: int = 0) -> None:
        self._handler = handler
        self.port = port
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen; `port` is the real one from then on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._handler, self._connections), "127.0.0.1", self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and hang up."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        await self._server.wait_closed()
        self._server = None
