"""One connection from a sandbox to its proxy: a request is read, checked, and carried on, or refused in words."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import cast
from urllib.parse import urlsplit

import h11

from .egress import Egress, Refused
from .network import split_port

_HEAD_BYTES = 32 << 10
_HEAD_SECONDS = 10.0
_IDLE_SECONDS = 120.0
_PIECE_BYTES = 1 << 16
_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer upgrade expect".split()
)
"""Headers that are for the proxy, not for the host behind it."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Visit:
    """Serves one connection: a tunnel (CONNECT) or one plain request, after which it is closed.

    A plain request is read and written anew by an HTTP parser, so that what was checked is what is sent; a redirect comes
    back as a request of its own.
    """

    def __init__(self, guest: Streams, egress: Egress) -> None:
        self._reader, self._writer = guest
        self._egress = egress
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._answered = False

    async def run(self) -> None:
        """Serve to the end; whatever goes wrong on either side ends it."""
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                event = await self._next()
            if isinstance(event, h11.Request):
                await self._serve(event)
        except Refused as refusal:
            await self._answer(refusal.status, str(refusal))
        except h11.RemoteProtocolError as error:
            await self._answer(error.error_status_hint, f"that is no request to a proxy: {error}")
        except TimeoutError:
            await self._answer(408, "too slow")
        except (OSError, h11.LocalProtocolError, asyncio.IncompleteReadError):
            return  # one of the two has hung up

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        """Return the next part of what the guest says."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            data = await self._reader.read(_PIECE_BYTES)
            self._egress.count(len(data))
            self._http.receive_data(data)
        return cast("h11.Event | type[h11.PAUSED]", event)

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._egress.count(len(data))
            self._writer.write(data)
            await self._writer.drain()

    async def _answer(self, status: int, text: str) -> None:
        """Refuse, unless the reply has begun already."""
        if self._answered or self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        self._answered = True
        body = f"branchwise: {text}\n".encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        response = h11.Response(
            status_code=status,
            reason=text.encode("ascii", "replace")[:200],
            headers=[*headers, ("connection", "close")],
        )
        with contextlib.suppress(OSError, h11.LocalProtocolError, TimeoutError):
            async with asyncio.timeout(_HEAD_SECONDS):
                pieces = [self._http.send(part) or b"" for part in (response, h11.Data(data=body), h11.EndOfMessage())]
                self._writer.write(b"".join(pieces))
                await self._writer.drain()

    async def _serve(self, request: h11.Request) -> None:
        if request.method == b"CONNECT":
            host, port = _authority(request.target)
            async with _closing(await self._egress.connect(host, port)) as far:
                await self._tunnel(far)
            return
        host, port, path = _absolute(request.target)
        async with _closing(await self._egress.connect(host, port)) as far:
            await self._forward(request, far, host if port == 80 else f"{host}:{port}", path)

    async def _tunnel(self, far: Streams) -> None:
        self._answered = True
        self._writer.write(self._http.send(h11.Response(status_code=200, headers=[], reason=b"Connected")) or b"")
        early, _ = self._http.trailing_data
        far[1].write(early)
        await far[1].drain()
        async with asyncio.timeout(_IDLE_SECONDS) as idle, asyncio.TaskGroup() as both:
            both.create_task(self._pour(self._reader, far[1], idle))
            both.create_task(self._pour(far[0], self._writer, idle))

    async def _pour(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, idle: asyncio.Timeout) -> None:
        with contextlib.suppress(OSError, Refused):
            while data := await source.read(_PIECE_BYTES):
                idle.reschedule(asyncio.get_running_loop().time() + _IDLE_SECONDS)
                self._egress.count(len(data))
                sink.write(data)
                await sink.drain()
            sink.write_eof()
            return
        sink.transport.abort()  # one side is gone, so the other has nobody to talk to
        self._writer.transport.abort()

    async def _forward(self, request: h11.Request, far: Streams, authority: str, path: bytes) -> None:
        dropped = {*_HOP, b"host"}
        if any(name == b"transfer-encoding" for name, _ in request.headers):
            dropped.add(b"content-length")  # the parser went by the other; nobody shall go by this one
        headers = [(name, value) for name, value in request.headers if name not in dropped]
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        opening = h11.Request(
            method=request.method,
            target=path,
            headers=[(b"host", authority.encode("ascii")), *headers, (b"connection", b"close")],
        )
        far[1].write(http.send(opening) or b"")
        sending = asyncio.create_task(self._send_body(http, far[1]), name="sandbox-request-body")
        try:
            async with asyncio.timeout(_IDLE_SECONDS) as idle:
                await self._return_reply(http, far[0], idle)
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending

    async def _send_body(self, http: h11.Connection, far: asyncio.StreamWriter) -> None:
        try:
            while isinstance(event := await self._next(), h11.Data | h11.EndOfMessage):
                far.write(http.send(event) or b"")
                await far.drain()
                if isinstance(event, h11.EndOfMessage):
                    return
        except (OSError, Refused, h11.ProtocolError):
            far.transport.abort()  # the reply to half a request is not waited for

    async def _return_reply(self, http: h11.Connection, far: asyncio.StreamReader, idle: asyncio.Timeout) -> None:
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = await far.read(_PIECE_BYTES)
                idle.reschedule(asyncio.get_running_loop().time() + _IDLE_SECONDS)
                http.receive_data(data)
            elif isinstance(event, h11.Response):
                kept = [(name, value) for name, value in event.headers if name not in _HOP]
                self._answered = True
                reply = h11.Response(
                    status_code=event.status_code, reason=event.reason, headers=[*kept, (b"connection", b"close")]
                )
                await self._send(reply)
            elif isinstance(event, h11.Data):
                await self._send(h11.Data(data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self._send(h11.EndOfMessage())
                return
            elif not isinstance(event, h11.InformationalResponse):
                return


@contextlib.asynccontextmanager
async def _closing(streams: Streams) -> AsyncGenerator[Streams]:
    try:
        yield streams
    finally:
        streams[1].close()
        with contextlib.suppress(OSError):
            await streams[1].wait_closed()


def _authority(target: bytes) -> tuple[str, int]:
    text = target.decode("ascii", "replace")
    try:
        host, port = split_port(text, text[:300])
    except ValueError as error:
        raise Refused(400, str(error)) from error
    if port is None:
        raise Refused(400, "CONNECT needs HOST:PORT")
    return host, port


def _absolute(target: bytes) -> tuple[str, int, bytes]:
    """Return host, port and path of `http://HOST[:PORT]/PATH`."""
    text = target.decode("ascii", "replace")
    try:
        parts = urlsplit(text)
        host, port = split_port(parts.netloc, text[:300])
    except ValueError as error:
        raise Refused(400, str(error)) from error
    if parts.scheme != "http":
        raise Refused(400, "a proxy takes http://HOST/PATH, and CONNECT for everything else")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, port or 80, path.encode("ascii", "replace")
