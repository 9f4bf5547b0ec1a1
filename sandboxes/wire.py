"""A worker's own way to this process: a socket, past the engine, whose daemon and shim would else pass on every byte.

The container's attached stream brings the worker its program, with a secret in it, and from then on stands for life and death:
when either side's end of it closes, the sandbox is over. Before it serves anybody the worker connects to a door, shows the
secret and is handed one of two sockets that nobody else has and that have no name. Where it cannot connect (an engine on another machine or in a machine of its own, gVisor), it goes on with the
attached stream, and so does this side.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import socket

from .channel import Transport
from .door import knock, path_inside

WIRE = "wire"
"""The name of the socket in the door's folder."""
_SECRET_BYTES = 32
_LAST_WORDS_SECONDS = 1.0
_BUFFER_BYTES = 1 << 20

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class WireTransport:
    """A worker's transport by a socket of its own, or by the attached stream where it makes no use of that.

    Args:
        attached: the container's attached stream.
        listener: where the worker is to connect, once.
    """

    def __init__(self, attached: Transport, listener: socket.socket) -> None:
        self._attached = attached
        self._listener = listener
        self._listener.setblocking(False)
        self._secret = secrets.token_hex(_SECRET_BYTES)
        self._streams: Streams | None = None
        self._settled = False
        """Whether it is known which of the two ways the worker takes."""
        self._life: asyncio.Task[bytes] | None = None

    @property
    def told(self) -> dict[str, str]:
        """What the worker is told of it."""
        return {"path": path_inside(WIRE), "secret": self._secret}

    async def read(self) -> bytes:
        if not self._settled:
            said = await self._settle()
            if said is not None:
                return said
        if self._streams is None:
            return await self._attached.read()
        data = await self._streams[0].read(_BUFFER_BYTES)
        if not data and self._life is not None:
            await asyncio.wait({self._life}, timeout=_LAST_WORDS_SECONDS)  # what it said last explains why
        return data

    async def write(self, data: bytes) -> None:
        if self._streams is None:
            await self._attached.write(data)
        else:
            writer = self._streams[1]
            writer.write(data)
            await writer.drain()

    async def _settle(self) -> bytes | None:
        """Learn which way the worker takes; return what it said by the attached stream, None where it has connected.

        Raises:
            OSError: somebody else has connected.
        """
        self._life = asyncio.create_task(self._attached.read(), name="sandbox-life")
        try:
            if not await knock(self._listener, self._life):
                life, self._life = self._life, None
                return life.result()
            connection, _ = self._listener.accept()
        finally:
            self._listener.close()
            self._settled = True
        with connection:
            connection.setblocking(False)
            ours = await self._hand_over(connection)
        self._streams = await asyncio.open_connection(sock=ours, limit=_BUFFER_BYTES)
        self._life.add_done_callback(self._ended)
        return None

    async def _hand_over(self, connection: socket.socket) -> socket.socket:
        """Give who has connected one end of the wire, and return the other.

        Raises:
            OSError: it does not know what only the worker was told, or is gone.
        """
        wanted, shown = self._secret.encode("ascii"), b""
        while len(shown) < len(wanted):
            piece = await asyncio.get_running_loop().sock_recv(connection, len(wanted) - len(shown))
            if not piece:
                break
            shown += piece
        if not secrets.compare_digest(shown, wanted):
            raise OSError(errno.EPERM, "somebody else than its worker has connected")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(connection, [b"."], [theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        return ours

    def _ended(self, life: asyncio.Task[bytes]) -> None:
        """End the connection: the attached stream has ended, or broken, or has been used for what it is not there for."""
        if not life.cancelled():
            life.exception()  # whoever waits for an answer learns of the end
        self._cut()

    def _cut(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()

    async def kill(self) -> None:
        if self._settled and self._life is not None:
            self._life.cancel()  # before, its end is what tells `_settle`
        self._cut()
        if self._streams is not None:
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
        await self._attached.kill()

    def diagnosis(self) -> str:
        return self._attached.diagnosis()
