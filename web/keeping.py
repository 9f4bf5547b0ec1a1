"""What is asked of the first program in a browser's container: lines of JSON over a Unix socket, with handles beside them.

What comes back is not trusted: it came from where pages run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..core.errors import SandboxError
from ..sandboxes.door import brought
from ..sandboxes.gate import listening

ANSWER_SECONDS = 15.0
_LINE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Told:
    """What a container says of itself."""

    program: str
    """The browser's path; empty where there is none."""
    namespaces: bool
    """Whether Chromium's own sandbox works in it."""
    fonts: bool
    """Whether it has a font."""


class Keeper:
    """The program, at the other end of a connection; one question at a time."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER_SECONDS)
        self._connection = connection
        self._lock = threading.Lock()

    async def told(self) -> Told:
        """Return its first words.

        Raises:
            SandboxError: it does not say them.
        """
        try:
            said, _ = await asyncio.to_thread(_answer, self._connection)
        except (OSError, ValueError) as error:
            raise SandboxError(f"the browser's container does not answer: {error}") from error
        return Told(str(said.get("program") or ""), bool(said.get("namespaces")), bool(said.get("fonts")))

    async def start(self, words: Sequence[str], pipe: Sequence[int]) -> None:
        """Start the browser.

        Args:
            words: program and arguments.
            pipe: handles of what it reads from and of what it writes to; they are closed.

        Raises:
            SandboxError: it does not start.
        """
        await self._ask({"do": "start", "words": list(words)}, pipe)

    async def listen(self, port: int) -> socket.socket:
        """Return a socket that listens at a port of the container's loopback.

        Raises:
            SandboxError: it does not open.
        """
        handle = await self._ask({"do": "listen", "port": port})
        if handle is None:
            raise SandboxError("the browser's container opens no way out: it gives no socket")
        try:
            return listening(handle)
        except OSError as error:
            raise SandboxError(f"the browser's container opens no way out: {error}") from error

    async def take(self, name: str) -> int:
        """Return a handle of a downloaded file, which is gone inside.

        Raises:
            SandboxError: there is no such file.
        """
        handle = await self._ask({"do": "take", "name": name})
        if handle is not None and stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        if handle is not None:
            os.close(handle)
        raise SandboxError(f"the browser's container gives no file {name!r}")

    async def _ask(self, request: dict[str, Any], handles: Sequence[int] = ()) -> int | None:
        """Ask for something; return the handle that comes back, where one does.

        Raises:
            SandboxError: it refuses, or gives no answer that makes sense.
        """
        asking = asyncio.to_thread(self._asked, request, handles)
        try:
            reply, given = await brought(asking, lambda answer: _close(answer[1]))
        except (OSError, ValueError) as error:
            raise SandboxError(f"the browser's container does not answer: {error}") from error
        if "error" not in reply and len(given) <= 1:
            return given[0] if given else None
        _close(given)
        raise SandboxError(f"the browser's container refuses {request['do']!r}: {str(reply.get('error'))[:300]}")

    def _asked(self, request: dict[str, Any], handles: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
        text = json.dumps(request).encode("ascii") + b"\n"
        with self._lock:
            try:
                if handles:
                    socket.send_fds(self._connection, [text], list(handles))
                else:
                    self._connection.sendall(text)
            finally:
                _close(
                    handles
                )  # nobody else may: a number that is closed too early may be another file's when it is sent
            return _answer(self._connection)

    def hang_up(self) -> None:
        """End the program, and with it the container. Idempotent."""
        with contextlib.suppress(OSError):  # it may have ended by itself
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the program and forget it. Idempotent."""
        self.hang_up()
        self._connection.close()


def _answer(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    text, handles = line(connection, most_handles=1)
    reply = json.loads(text)
    if isinstance(reply, dict):
        return cast("dict[str, Any]", reply), handles
    _close(handles)
    raise ValueError("it says something that is no answer")


def line(connection: socket.socket, *, most_handles: int) -> tuple[bytes, list[int]]:
    """Return the next line of somebody, and the handles that came with it.

    Raises:
        OSError: there is none in time, or the other end has hung up.
        ValueError: it is longer than any that is meant.
    """
    held, handles = b"", list[int]()
    try:
        while not held.endswith(b"\n"):
            held += _piece(connection, handles, most_handles)
            if len(held) > _LINE_BYTES:
                raise ValueError("it says too much")  # noqa: TRY301  # the handles have to be closed
    except BaseException:
        _close(handles)
        raise
    return held, handles


def _piece(connection: socket.socket, handles: list[int], most_handles: int) -> bytes:
    data, more, _, _ = socket.recv_fds(connection, _LINE_BYTES, most_handles)
    handles += more
    if not data:
        raise ConnectionResetError("it has hung up")
    return data


def _close(handles: Sequence[int]) -> None:
    for handle in handles:
        os.close(handle)
