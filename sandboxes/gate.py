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
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any, Protocol

from ..core.errors import SandboxStartFailed
from .companions import AccompaniedTransport
from .egress import Egress
from .forwarding import Visit
from .network import PROXY_PORT
from .owner import Owner

_log = logging.getLogger(__name__)

DOOR_FOLDER = "/run/branchwise"
"""Where a container sees the door; empty once the socket is handed over."""
_DOOR = "door"
_HANDOVER_SECONDS = 10.0
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
        door: an expression for a connected or connectable Unix socket, as `Door` and `Pair` have it.
    """
    return (
        "import array,socket\n"
        "s=socket.socket();s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n"
        f"s.bind(('127.0.0.1',{PROXY_PORT}));s.listen(64)\n"
        f"{door}\n"
        "d.sendmsg([b'.'],[(socket.SOL_SOCKET,socket.SCM_RIGHTS,array.array('i',[s.fileno()]))])\n"
        "d.close();s.close();del s,d\n"
    )


class Ending(Protocol):
    """What can be ended: a guest, or a bare container."""

    async def kill(self) -> None:
        """End it. Idempotent."""
        ...


class Door:
    """A Unix socket in a folder that is mounted into one starting container; gone once it has been used."""

    prelude = handover(f"d=socket.socket(socket.AF_UNIX);d.connect('{DOOR_FOLDER}/{_DOOR}')")

    def __init__(self) -> None:
        self._place = own_place()
        try:
            self.folder = self._place / "in"
            self.folder.mkdir()
            # The worker's uid, whatever the engine maps it to, must get through; nobody else gets into what is around it.
            self.folder.chmod(0o711)
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.settimeout(_HANDOVER_SECONDS)
            handle = os.open(self.folder, os.O_PATH | os.O_CLOEXEC)
            try:
                self._listener.bind(f"/proc/self/fd/{handle}/{_DOOR}")  # paths of sockets must be short
            finally:
                os.close(handle)
            (self.folder / _DOOR).chmod(0o666)
            self._listener.listen(1)
        except BaseException:
            shutil.rmtree(self._place, ignore_errors=True)
            raise

    @property
    def mount(self) -> dict[str, Any]:
        """What the engine is told, so that the container sees the door."""
        return {"Type": "bind", "Source": str(self.folder), "Target": DOOR_FOLDER, "ReadOnly": True}

    def receive(self) -> socket.socket:
        """Return the socket that the sandbox, whose worker has answered by now, has handed over.

        Raises:
            OSError: it has not.
        """
        connection, _ = self._listener.accept()
        with connection:
            return _received(connection)

    def close(self) -> None:
        """Remove the door. Idempotent."""
        self._listener.close()
        shutil.rmtree(self._place, ignore_errors=True)


class Pair:
    """Two connected sockets, of which a starting process inherits one."""

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self.prelude = handover(f"d=socket.socket(fileno={self.theirs.fileno()})")

    def receive(self) -> socket.socket:
        """As `Door.receive`."""
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
    listener = socket.socket(fileno=handles[0])
    if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.close()
        raise OSError(errno.EPROTO, "the sandbox handed over something that does not listen")
    listener.setblocking(False)
    return listener


class Gate:
    """Takes the connections of one sandbox's programs, a bounded number at a time."""

    def __init__(self, listener: socket.socket, egress: Egress) -> None:
        self._listener = listener
        self._egress = egress
        self._slots = asyncio.Semaphore(egress.policy.connections)
        self._visits: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept(), name="sandbox-gate")

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._slots.acquire()
            await _readable(self._listener)
            try:
                connection, _ = await loop.run_in_executor(self._egress.acceptor, self._listener.accept)
            except OSError as error:
                self._slots.release()
                if error.errno not in {errno.EAGAIN, errno.ECONNABORTED}:
                    _log.warning("a sandbox's way out has a fault: %s", error)
                    await asyncio.sleep(1.0)
                continue
            visit = asyncio.create_task(self._visit(connection), name="sandbox-visit")
            self._visits.add(visit)
            visit.add_done_callback(self._ended)
            await asyncio.sleep(_PACE_SECONDS)

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


async def open_gate(door: Door | Pair, egress: Egress, sandbox: Ending, transport: AccompaniedTransport) -> None:
    """Take the socket that a started sandbox has handed over, and serve it for as long as the sandbox lives.

    Raises:
        SandboxStartFailed: it has handed over none; it is ended.
    """
    try:
        listener = await asyncio.to_thread(door.receive)
    except OSError as error:
        await sandbox.kill()
        raise SandboxStartFailed(f"the sandbox's way to the network did not open: {error}") from error
    except BaseException:
        await sandbox.kill()
        raise
    transport.add(Gate(listener, egress))


async def _readable(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(listener, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(listener)


def _home() -> Path:
    """Return the folder for what lives as long as a sandbox's start.

    Raises:
        SandboxStartFailed: somebody else has made it.
    """
    home = Path(tempfile.gettempdir()) / f"branchwise-sandboxes-{os.geteuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    status = home.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077 or home.is_symlink():
        raise SandboxStartFailed(
            f"{str(home)!r} belongs to somebody else or is open to others: remove it, or set TMPDIR to another folder"
        )
    return home


def own_place() -> Path:
    """Return a new folder for this process; once it is dead `reap_doors` removes it."""
    place = _home() / f"{Owner.current()}:{secrets.token_hex(4)}".replace(":", "_")
    place.mkdir(mode=0o700)
    return place


def reap_doors() -> None:
    """Remove the doors that dead processes have left."""
    observer = Owner.current()
    for place in _home().iterdir():
        owner = Owner.parse(":".join(place.name.split("_")[:4]))
        if owner is not None and owner.is_dead(observer):
            shutil.rmtree(place, ignore_errors=True)
