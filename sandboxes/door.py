"""Sockets of this process that one starting container can connect to, and nobody after it.

They lie in a folder of their own, which is mounted into the container. The first program inside connects before any program
of a guest exists; then the folder is removed, and with it every path to them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import SandboxStartFailed
from .owner import Owner

T = TypeVar("T")

DOOR_FOLDER = "/run/branchwise"
"""Where a container sees the folder; empty once the door is closed."""


class Door:
    """A folder with listening Unix sockets that is mounted into one starting container; gone once they have been used.

    Args:
        names: of the sockets.
    """

    def __init__(self, *names: str) -> None:
        self._place = own_place()
        self._listeners: dict[str, socket.socket] = {}
        try:
            self.folder = self._place / "in"
            self.folder.mkdir()
            # The worker's uid, whatever the engine maps it to, must get through; nobody else gets into what is around it.
            self.folder.chmod(0o711)
            for name in names:
                self._listeners[name] = listen(self.folder, name)
                # The worker's uid, whatever the engine maps it to.
                (self.folder / name).chmod(0o666)
        except BaseException:
            self.close()
            raise

    @property
    def mount(self) -> dict[str, Any]:
        """What the engine is told, so that the container sees the folder."""
        return {"Type": "bind", "Source": str(self.folder), "Target": DOOR_FOLDER, "ReadOnly": True}

    def __getitem__(self, name: str) -> socket.socket:
        """The listening socket of that name."""
        return self._listeners[name]

    def close(self) -> None:
        """Remove the folder; who has connected stays connected. Idempotent."""
        for listener in self._listeners.values():
            listener.close()
        shutil.rmtree(self._place, ignore_errors=True)


def listen(folder: Path, name: str) -> socket.socket:
    """Return a Unix socket that listens by a name in a folder, however long its path is."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        try:
            listener.bind(f"/proc/self/fd/{handle}/{name}")  # paths of sockets must be short
        finally:
            os.close(handle)
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener


def path_inside(name: str) -> str:
    """Return the path by which a container reaches a socket."""
    return f"{DOOR_FOLDER}/{name}"


async def knock(listener: socket.socket, *others: asyncio.Future[Any], timeout_seconds: float | None = None) -> bool:
    """Wait until somebody has connected, or something else is done, or the time is over.

    Nobody is accepted here, and nothing is waited for once it is known: who is cancelled meanwhile has accepted nobody, whom nobody
    else would then close.

    Args:
        listener: does not block.
        others: what else may come first.
        timeout_seconds: longest wait; None: without end.

    Returns:
        Whether somebody has connected.
    """
    loop = asyncio.get_running_loop()
    knocked: asyncio.Future[None] = loop.create_future()

    def told() -> None:
        if not knocked.done():
            knocked.set_result(None)

    loop.add_reader(listener, told)
    try:
        await asyncio.wait({knocked, *others}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(listener)
    return knocked.done()


async def brought(coming: Awaitable[T], drop: Callable[[T], object]) -> T:
    """Return what a thread brings. A thread cannot be stopped: where this is cancelled `drop` gets what it brings, when it does."""

    def let_go(done: asyncio.Future[T]) -> None:
        if not done.cancelled() and done.exception() is None:
            drop(done.result())

    bringing = asyncio.ensure_future(coming)
    try:
        return await asyncio.shield(bringing)
    except asyncio.CancelledError:
        bringing.add_done_callback(let_go)
        raise


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


def places() -> list[tuple[Path, bool]]:
    """Return the folders that `own_place` has made and that are still there, and whether their process is dead."""
    observer = Owner.current()
    named = [(place, Owner.parse(":".join(place.name.split("_")[:4]))) for place in _home().iterdir()]
    return [(place, owner.is_dead(observer)) for place, owner in named if owner is not None]


def reap_doors() -> None:
    """Remove what dead processes have left."""
    for place, is_dead in places():
        if is_dead:
            shutil.rmtree(place, ignore_errors=True)
