"""A Docker engine: reached, made to start hardened containers with the worker in them, and tidied up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Ulimit
from requests.exceptions import RequestException

from ..core.errors import SandboxStartFailed
from .owner import LABEL, OWNER_LABEL, RUN_LABEL, Owner, is_orphan

_log = logging.getLogger(__name__)

_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_CONFLICT = 409
_CALL_SECONDS = 60
_KNOCK_SECONDS = 5
_MUX = struct.Struct(">BxxxI")
_STDOUT = 1
_LAST_WORDS_BYTES = 2000


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """How containers are made."""

    image: str
    command: Sequence[str]
    memory_bytes: int
    cpus: float
    pids: int
    network: str
    tmpfs: Mapping[str, str]
    """Mount options by path."""
    file_bytes: int
    """Largest file that a program may write."""
    runtime: str | None


class DockerEngine:
    """A connection to an engine. Methods block unless they are coroutines; safe for use from several threads."""

    def __init__(self, client: docker.DockerClient, address: str) -> None:
        self._client = client
        self._api: Any = client.api  # its types are mostly unknown
        self.address = address
        self.owner = Owner.current()

    @classmethod
    def connect(cls) -> DockerEngine:
        """Return a connection to the engine that DOCKER_HOST names, else to the local one.

        Raises:
            SandboxStartFailed: none answers.
        """
        address = os.environ.get("DOCKER_HOST") or _DEFAULT_ADDRESS
        try:
            _knock(address)
            client = docker.from_env(timeout=_CALL_SECONDS)
            client.ping()
        except (DockerException, RequestException, OSError, ValueError) as error:
            source = "from DOCKER_HOST" if os.environ.get("DOCKER_HOST") else "DOCKER_HOST is not set"
            raise SandboxStartFailed(
                f"no Docker engine answers at {address} ({source}): {_reason(error)}; start one with "
                "scripts/docker-engine.sh, or use sandbox=bw.sandboxes.Local()"
            ) from error
        return cls(client, address)

    def close(self) -> None:
        """Close the connection; containers are not touched."""
        self._client.close()

    def has_image(self, name: str) -> bool:
        """Whether the engine holds an image of this name."""
        try:
            self._api.inspect_image(name)
        except ImageNotFound:
            return False
        return True

    def import_image(self, archive: Path, *, repository: str, tag: str, changes: Sequence[str]) -> None:
        """Make an image of a tar archive that holds a whole file system."""
        self._api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=list(changes))

    def image_volumes(self, name: str) -> list[str]:
        """Return the folders that an image declares as volumes.

        Raises:
            SandboxStartFailed: the engine does not hold the image.
        """
        try:
            config: dict[str, Any] = self._api.inspect_image(name).get("Config") or {}
        except ImageNotFound as error:
            raise SandboxStartFailed(
                f"the engine at {self.address} has no image {name!r}; bring it with 'docker pull {name}' or build it, "
                "or leave image= away to use the one made from this machine's Python"
            ) from error
        volumes: dict[str, Any] = config.get("Volumes") or {}
        return sorted(volumes)

    async def start(self, settings: ContainerSettings, run_id: str) -> ContainerTransport:
        """Start a container that waits for a worker's program on its standard input.

        Raises:
            SandboxStartFailed: the engine refused.
        """
        starting = asyncio.create_task(asyncio.to_thread(self._start, settings, run_id))
        try:
            number, stream = await asyncio.shield(starting)
        except asyncio.CancelledError:
            with contextlib.suppress(DockerException, RequestException):
                number, stream = await starting  # a thread cannot be stopped, what it makes can be removed
                stream.close()
                await asyncio.to_thread(self.remove, number)
            raise
        except (DockerException, RequestException) as error:
            raise SandboxStartFailed(self._why_not(settings, error)) from error
        reader, writer = await asyncio.open_connection(sock=stream, limit=1 << 20)
        return ContainerTransport(self, number, reader, writer)

    def _start(self, settings: ContainerSettings, run_id: str) -> tuple[str, socket.socket]:
        api = self._api
        number: str = api.create_container(
            settings.image,
            entrypoint=list(settings.command),
            command=[],
            user="0:0",
            hostname="sandbox",
            working_dir="/",
            stdin_open=True,
            host_config=self._host_config(settings),
            labels={LABEL: "sandbox", RUN_LABEL: run_id, OWNER_LABEL: str(self.owner)},
            healthcheck={"test": ["NONE"]},
            use_config_proxy=False,  # proxy settings may hold passwords
        )["Id"]
        stream: socket.socket | None = None
        try:
            # Attached before it starts: no byte can be missed, and when this process dies the engine closes the
            # container's input, which ends the worker, whose container then removes itself.
            stream = self._attach(number)
            api.start(number)
        except BaseException:
            if stream is not None:
                stream.close()
            self.remove(number)
            raise
        stream.setblocking(False)
        return number, stream

    def _attach(self, number: str) -> socket.socket:
        parameters = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        attached: Any = self._api.attach_socket(number, params=parameters)
        stream = socket.socket(fileno=os.dup(attached.fileno()))
        attached._sock.close()  # noqa: SLF001  # what the library keeps would stay open until it is collected
        attached.close()
        return stream

    def _host_config(self, settings: ContainerSettings) -> dict[str, Any]:
        seccomp = files(__name__.rpartition(".")[0]).joinpath("seccomp.json").read_text(encoding="utf-8")
        config: dict[str, Any] = self._api.create_host_config(
            auto_remove=True,
            cap_drop=["ALL"],
            # The worker becomes the guest with the first two and kills it with the third. The guest has none.
            cap_add=["SETUID", "SETGID", "KILL"],
            security_opt=["no-new-privileges", f"seccomp={seccomp}"],
            read_only=True,
            tmpfs=dict(settings.tmpfs),
            network_mode=settings.network,
            ipc_mode="private",
            mem_limit=settings.memory_bytes,
            memswap_limit=settings.memory_bytes,
            nano_cpus=int(settings.cpus * 1e9),
            pids_limit=settings.pids,
            ulimits=[
                Ulimit(name="core", soft=0, hard=0),
                Ulimit(name="nofile", soft=1024, hard=1024),
                Ulimit(name="fsize", soft=settings.file_bytes, hard=settings.file_bytes),
            ],
            # What the worker says is for this process only; a log on disk would grow with every file that is moved.
            log_config=LogConfig(type="none"),
            runtime=settings.runtime,
        )
        return config

    def _why_not(self, settings: ContainerSettings, error: Exception) -> str:
        reason = _reason(error)
        if isinstance(error, ImageNotFound):
            return f"the engine at {self.address} has no image {settings.image!r} any more: {reason}"
        if "executable file not found" in reason or "no such file or directory" in reason:
            return (
                f"the image {settings.image!r} has no {settings.command[0]!r}, which the sandbox's worker needs "
                "(Python 3.8 or newer, nothing but its standard library); add it to the image"
            )
        if settings.runtime is not None and "runtime" in reason:
            return f"the engine at {self.address} has no runtime {settings.runtime!r}: {reason}; install it, or leave it out"
        return f"the engine at {self.address} could not start a sandbox: {reason}"

    def remove(self, number: str) -> None:
        """Kill a container and return when it is gone; one that is gone already is fine."""
        try:
            try:
                self._api.remove_container(number, force=True, v=True)
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise
                self._api.wait(number, timeout=_CALL_SECONDS, condition="removed")  # its own removal is under way
        except NotFound:
            return

    def containers(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return what the engine lists of our containers, of one run or of all."""
        # The value counts: a container that the user makes of our image inherits the image's labels.
        labels = [f"{LABEL}=sandbox", *([] if run_id is None else [f"{RUN_LABEL}={run_id}"])]
        found: list[dict[str, Any]] = self._api.containers(all=True, filters={"label": labels})
        return found

    def reap(self) -> list[str]:
        """Remove the containers of processes that are dead, and return their ids. Others' are never touched."""
        reaped: list[str] = []
        for container in self.containers():
            label = container["Labels"].get(OWNER_LABEL, "")
            running = container["State"] == "running"
            if is_orphan(label, running=running, created=container["Created"], observer=self.owner):
                self.remove(container["Id"])
                reaped.append(container["Id"])
        if reaped:
            _log.info("removed %d sandboxes that dead runs had left", len(reaped))
        return reaped


class ContainerTransport:
    """The attached stream of one container: standard output and error arrive interleaved, each piece with its size."""

    def __init__(
        self, engine: DockerEngine, number: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._last_words = b""
        self._removed = False

    async def read(self) -> bytes:
        while True:
            try:
                stream, size = _MUX.unpack(await self._reader.readexactly(_MUX.size))
                data = await self._reader.readexactly(size)
            except asyncio.IncompleteReadError:
                return b""
            if stream == _STDOUT and data:
                return data
            self._last_words = (self._last_words + data)[-_LAST_WORDS_BYTES:]

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def kill(self) -> None:
        if self._removed:
            return
        self._removed = True
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        try:
            await asyncio.to_thread(self._engine.remove, self.number)
        except (DockerException, RequestException) as error:
            # With its input closed the container ends and removes itself; the next run's reaper looks for it too.
            _log.warning("could not remove the sandbox %s: %s", self.number[:12], _reason(error))

    def diagnosis(self) -> str:
        return self._last_words.decode("utf-8", "replace").strip()


def _knock(address: str) -> None:
    """See whether anybody listens at a local address; the client library leaves a socket open where nobody does."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_KNOCK_SECONDS)
            probe.connect(address.removeprefix("unix://"))


def _reason(error: Exception) -> str:
    explanation = getattr(error, "explanation", None)
    return " ".join(str(explanation or error).split())
