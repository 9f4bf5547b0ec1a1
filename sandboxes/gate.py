"""How a sandbox without network gets its way out: it hands a listening socket of its own loopback to this process.

Programs in the sandbox connect to 127.0.0.1, and who accepts is the proxy outside. There is no bridge, no route and no
code inside to trust: the socket is opened before any program of the guest runs, nobody inside keeps it, and when this
process ends, nobody listens any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from ..core.errors import SandboxStartFailed
from .companions import AccompaniedTransport
from .door import Door, brought, knock, path_inside
from .egress import Egress
from .forwarding import Visit
from .network import PROXY_PORT

_log = logging.getLogger(__name__)

GATE = "gate"
"""The name of the socket in the door's folder by which a container hands its own over."""
_HANDOVER_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
"""Who holds the sandbox's end of the socket may keep a thread in accept."""
_PACE_SECONDS = 0.005
"""Between two connections, so that a program that makes nothing but connections cannot keep this process busy."""


def proxy_environment() -> dict[str, str]:
    """Return the variables by which programs find the proxy."""
    proxy = f"http://127.0.0.1:{PROXY_PORT}"
    direct = "localhost,127.0.0.1,::1"
    names = {"http_proxy": proxy, "https_proxy": proxy, "all_proxy": proxy, "no_proxy": direct}
    return {**names, **{name.upper(): value for name, value in names.items()}, "NODE_USE_ENV_PROXY": "1"}


def handover(door: str) -> str:
    """Return the Python text that opens the socket and hands it over; it runs before the worker.

    Args:
        door: Python text that makes `d` a connected Unix socket.
    """
    return (
        "import array,socket\n"
        "s=socket.socket();s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n"
        f"s.bind(('127.0.0.1',{PROXY_PORT}));s.listen(64)\n"
        f"{door}\n"
        "d.sendmsg([b'.'],[(socket.SOL_SOCKET,socket.SCM_RIGHTS,array.array('i',[s.fileno()]))])\n"
        "d.close();s.close();del s,d\n"
    )


BY_DOOR = handover(f"d=socket.socket(socket.AF_UNIX);d.connect({path_inside(GATE)!r})")
"""The handover by a door that has a socket named `GATE`."""


class Ending(Protocol):
    """What can be ended: a guest, or a bare container."""

    async def kill(self) -> None:
        """End it. Idempotent."""
        ...


def by_door(door: Door) -> Callable[[], socket.socket]:
    """Return what takes the socket that a container, whose first program has answered by now, has handed over."""

    def receive() -> socket.socket:
        listener = door[GATE]
        listener.settimeout(_HANDOVER_SECONDS)
        connection, _ = listener.accept()
        with connection:
            return _received(connection)

    return receive


class Pair:
    """Two connected sockets, of which a starting process inherits one."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self.prelude = handover(f"d=socket.socket(fileno={self.theirs.fileno()})")

    def receive(self) -> socket.socket:
        """Take the socket that was handed over."""
        return _received(self._ours)

    def close(self) -> None:
        """Close both ends. Idempotent."""
        self._ours.close()
        self.theirs.close()


def _received(connection: socket.socket) -> socket.socket:
    connection.settimeout(_HANDOVER_SECONDS)
    _, handles, _, _ = socket.recv_fds(connection, 1, 1)
    if not handles:
        raise OSError(errno.EPROTO, "the sandbox handed over no socket")
    return listening(handles[0])


def listening(handle: int) -> socket.socket:
    """Return the listening socket that a sandbox has handed over.

    Raises:
        OSError: it is none; it is closed.
    """
    listener = socket.socket(fileno=handle)
    if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.close()
        raise OSError(errno.EPROTO, "the sandbox handed over something that does not listen")
    listener.setblocking(False)
    return listener


class Gate:
    """Takes the connections of one sandbox's programs, a bounded number at a time.

    Args:
        listener: the sandbox's own socket.
        egress: where they may go.
        connections: most at a time; None: as many as the policy says.
        pace_seconds: between two of them.
    """

    def __init__(
        self,
        listener: socket.socket,
        egress: Egress,
        *,
        connections: int | None = None,
        pace_seconds: float = _PACE_SECONDS,
    ) -> None:
        self._listener = listener
        self._egress = egress
        self._pace_seconds = pace_seconds
        self._slots = asyncio.Semaphore(connections or egress.policy.connections)
        self._visits: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept(), name="sandbox-gate")

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._slots.acquire()
            await knock(self._listener)
            accepting = loop.run_in_executor(self._egress.acceptor, lambda: self._listener.accept()[0])
            try:
                connection = await brought(accepting, socket.socket.close)
            except asyncio.CancelledError:
                await asyncio.wait({accepting}, timeout=_CLOSE_SECONDS)  # `close` frees the thread
                raise
            except OSError as error:
                self._slots.release()
                if error.errno not in {errno.EAGAIN, errno.ECONNABORTED}:
                    _log.warning("a sandbox's way out has a fault: %s", error)
                    await asyncio.sleep(1.0)
                continue
            visit = asyncio.create_task(self._visit(connection), name="sandbox-visit")
            self._visits.add(visit)
            visit.add_done_callback(self._ended)
            await asyncio.sleep(self._pace_seconds)

    def _ended(self, visit: asyncio.Task[None]) -> None:
        self._visits.discard(visit)
        self._slots.release()

    async def _visit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 17)
        try:
            await Visit((reader, writer), self._egress).run()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Cut all connections and take no more. Idempotent."""
        tasks = [self._accepting, *self._visits]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # frees a thread that waits in accept
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    def diagnosis(self) -> str:
        """A gate does not end by itself."""
        return ""


async def open_gate(
    receive: Callable[[], socket.socket], egress: Egress, sandbox: Ending, transport: AccompaniedTransport
) -> None:
    """Take the socket that a started sandbox has handed over, and serve it for as long as the sandbox lives.

    Raises:
        SandboxStartFailed: it has handed over none; it is ended.
    """
    try:
        listener = await brought(asyncio.to_thread(receive), socket.socket.close)
    except OSError as error:
        await sandbox.kill()
        raise SandboxStartFailed(f"the sandbox's way to the network did not open: {error}") from error
    except BaseException:
        await sandbox.kill()
        raise
    transport.add(Gate(listener, egress))
