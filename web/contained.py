"""One browser's process in a container of its own, which Playwright takes for a program of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shlex
import shutil
import socket
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from ..core.errors import SandboxError, SandboxStartFailed
from ..sandboxes.containers import ContainerTransport
from ..sandboxes.docker_engine import DockerEngine
from ..sandboxes.door import Door, brought, knock, listen, own_place, path_inside, reap_doors
from ..sandboxes.egress import Egress
from ..sandboxes.gate import Gate
from .container import Container
from .container_image import ensure_browser_image, font_mounts
from .container_settings import DOWNLOADS, HOME, PROFILE, container_settings
from .keeping import ANSWER_SECONDS, Keeper, Told, line

_log = logging.getLogger(__name__)

_KEEPER, _RELAY = "keeper", "relay"
_PACKAGE = __name__.rpartition(".")[0]
_START_SECONDS = 60.0
_LAST_WORDS_SECONDS = 3.0
_CONNECTIONS = 1024
"""Most at a time of one supply; Chromium itself has at most 32 for each of its contexts."""
_PROFILE_FLAG = "--user-data-dir="
_INSIDE = (
    "/ms-playwright/chromium_headless_shell-*/chrome*/*headless*shell",
    "/ms-playwright/chromium-*/chrome*/chrome",
    "/usr/lib/chromium/chromium-headless-shell",
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
)
"""Where images have a Chromium."""


class Contained:
    """Made by `Contained.start`; closed by whoever has started it, when the container has ended by itself, too."""

    def __init__(
        self, engine: DockerEngine, container: ContainerTransport, watch: asyncio.Task[str], keeper: Keeper, told: Told
    ) -> None:
        self.number = container.number
        """The container's id."""
        self.told = told
        self._engine = engine
        self._container = container
        self._keeper = keeper
        self._gates: dict[int, Gate] = {}
        self._place = own_place()
        self._relay: asyncio.Task[None] | None = None
        self._watch = watch
        """Done when the container has ended."""

    @classmethod
    async def start(cls, wanted: Container, program: str | None, found: Path | None, run_id: str) -> Contained:
        """Return a container that is ready to start the browser.

        Args:
            wanted: what the user has set.
            program: what the user calls the browser, inside of an image of their own.
            found: this machine's browser, where the image is made from it.
            run_id: goes into the labels.

        Raises:
            SandboxStartFailed: there is no engine, or it cannot start the container; the message says what to do.
        """
        engine = await brought(asyncio.to_thread(DockerEngine.connect), DockerEngine.close)
        try:
            return await _started(engine, wanted, program, found, run_id)
        except BaseException:
            await asyncio.to_thread(engine.close)
            raise

    def program(self) -> Path:
        """Return a program for Playwright to start as the browser, once.

        It is a script that becomes `relay.py`, since Playwright's arguments are for Chromium alone.
        """
        listener = listen(self._place, _RELAY)
        script = self._place / "browser"
        relay = str(files(_PACKAGE).joinpath("relay.py"))
        words = shlex.join([sys.executable, "-I", "-S", relay, str(self._place)])
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        script.chmod(0o700)
        self._relay = asyncio.create_task(self._serve(listener), name="browser-relay")
        return script

    async def _serve(self, listener: socket.socket) -> None:
        """Start the browser with the pipe of the program that connects, and have each of the two end with the other."""
        with listener:
            await knock(listener)
            connection, _ = listener.accept()
        with connection:
            try:
                await self._begin(connection)
            except (OSError, ValueError, SandboxError) as error:
                with contextlib.suppress(OSError):
                    connection.sendall(f"the browser does not start in its container: {error}\n".encode())
                return
            finally:
                await asyncio.to_thread(shutil.rmtree, self._place, ignore_errors=True)
            connection.setblocking(False)
            hanging_up = asyncio.create_task(asyncio.get_running_loop().sock_recv(connection, 1))
            try:
                await asyncio.wait({hanging_up, self._watch}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._keeper.hang_up()
                hanging_up.cancel()
                await asyncio.gather(hanging_up, return_exceptions=True)

    async def _begin(self, connection: socket.socket) -> None:
        """Start the browser by the words and the pipe that Playwright's program sends.

        Raises:
            OSError: it has hung up.
            SandboxError: the browser does not start.
            ValueError: it has said something else.
        """
        connection.settimeout(ANSWER_SECONDS)
        text, pipe = await asyncio.to_thread(line, connection, most_handles=2)
        given: list[str] = json.loads(text)
        # The folder is one of this machine.
        words = [f"{_PROFILE_FLAG}{PROFILE}" if word.startswith(_PROFILE_FLAG) else word for word in given]
        await self._keeper.start([self.told.program, *words], pipe)

    async def open_way(self, port: int, egress: Egress) -> None:
        """Have programs inside reach what `egress` lets through, by a proxy at a port of their loopback.

        Raises:
            SandboxError: the container does not open it.
        """
        listener = await self._keeper.listen(port)
        self._gates[port] = Gate(listener, egress, connections=_CONNECTIONS, pace_seconds=0.0)

    async def close_way(self, port: int) -> None:
        """Close a way out. Idempotent."""
        gate = self._gates.pop(port, None)
        if gate is not None:
            await gate.close()

    async def take(self, name: str) -> int:
        """Return a handle of a downloaded file, which is gone inside.

        Raises:
            SandboxError: there is no such file.
        """
        return await self._keeper.take(name)

    async def last_words(self) -> str:
        """Return what the container has said, once it has ended; nothing where it goes on."""
        await asyncio.wait({self._watch}, timeout=_LAST_WORDS_SECONDS)
        return self._watch.result() if self._watch.done() else ""

    async def close(self) -> None:
        """End the browser and remove its container. Idempotent."""
        for port in list(self._gates):
            await self.close_way(port)
        if self._relay is not None:
            self._relay.cancel()
            await asyncio.gather(self._relay, return_exceptions=True)
        self._keeper.close()
        await self._container.kill()
        [words] = await asyncio.gather(self._watch, return_exceptions=True)
        if words:
            _log.debug("the browser's container ended: %s", words)
        await asyncio.to_thread(shutil.rmtree, self._place, ignore_errors=True)
        await asyncio.to_thread(self._engine.close)


async def _started(
    engine: DockerEngine, wanted: Container, program: str | None, found: Path | None, run_id: str
) -> Contained:
    if not engine.is_local:
        raise SandboxStartFailed(
            f"a contained browser needs an engine on this machine, and DOCKER_HOST is {engine.address!r}; unset it, or leave "
            "contained= out"
        )
    await asyncio.to_thread(engine.reap)
    await asyncio.to_thread(reap_doors)
    if wanted.image is None:
        assert found is not None  # whoever names no image has looked for a browser
        image, inside = await asyncio.to_thread(ensure_browser_image, engine, found, run_id)
        programs, mounts = [inside], font_mounts()
    else:
        image, programs, mounts = wanted.image, [program] if program else list(_INSIDE), []
    processors = float((await asyncio.to_thread(engine.info))["NCPU"])
    with contextlib.closing(Door(_KEEPER)) as door:
        mounts.append(door.mount)
        settings = container_settings(wanted, image, run_id, processors=processors, mounts=mounts)
        container = await engine.start(settings, run_id)
        watch = asyncio.create_task(container.last_words(), name="browser-container")
        try:
            await container.write(_program(programs))
            keeper = await _connected(watch, door[_KEEPER])
            try:
                told = await keeper.told()
            except BaseException:
                keeper.close()
                raise
        except BaseException as error:
            await container.kill()
            await asyncio.gather(watch, return_exceptions=True)
            if isinstance(error, (OSError, SandboxError)) and not isinstance(error, SandboxStartFailed):
                raise SandboxStartFailed(f"the browser's container did not start: {error}") from error
            raise
    contained = Contained(engine, container, watch, keeper, told)
    lacks = (
        ""
        if told.fonts
        else "fonts, without which a browser ends at the first letter; add some, such as Debian's fonts-liberation"
    )
    if not told.program:
        lacks = f"Chromium at {', '.join(programs)}; name it by Browser(executable=...)"
    if lacks:
        await contained.close()
        raise SandboxStartFailed(f"the browser's image {image!r} has no {lacks}")
    return contained


async def _connected(watch: asyncio.Task[str], listener: socket.socket) -> Keeper:
    """Return the container's first program, once it has connected.

    Args:
        watch: ends with the container, and returns its last words.
        listener: where it connects to.

    Raises:
        SandboxStartFailed: it has ended, or does not connect.
    """
    listener.setblocking(False)
    if not await knock(listener, watch, timeout_seconds=_START_SECONDS):
        said = watch.result() if watch.done() else f"it has not begun within {_START_SECONDS:g} s"
        raise SandboxStartFailed(f"the browser's container did not start: {said or 'it said nothing'}")
    return Keeper(listener.accept()[0])


def _program(programs: Sequence[str]) -> bytes:
    """Return the program that becomes the container's first."""
    source = files(_PACKAGE).joinpath("guest_keeper.py").read_text(encoding="utf-8")
    environment = {"HOME": HOME, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}
    settings = {
        "door": path_inside(_KEEPER),
        "programs": list(programs),
        "downloads": DOWNLOADS,
        "environment": environment,
    }
    return f"{source}\nmain({settings!r})\n".encode() + b"\0"
