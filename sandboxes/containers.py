"""Containers as this package makes them: what is asked of the engine, and the stream to the program inside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

from docker.errors import DockerException
from docker.types import LogConfig, Ulimit
from requests.exceptions import RequestException

_log = logging.getLogger(__name__)

Role = Literal["sandbox", "holder", "service", "setup", "browser"]
"""What a container is for: the value of its label. `holder` keeps the namespaces that a sandbox shares with services."""

ROLES = frozenset({"sandbox", "holder", "service", "setup", "browser"})

_MUX = struct.Struct(">BxxxI")
_STDOUT = 1
_LAST_WORDS_BYTES = 2000
# The worker becomes the guest with the first two and kills it with the third. The guest has none.
_WORKER_CAPABILITIES = ("SETUID", "SETGID", "KILL", "SETFCAP")


def sandbox_filter() -> str:
    """Return the sandboxes' filter of system calls, as the engine takes it."""
    return files(__name__.rpartition(".")[0]).joinpath("seccomp.json").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """How a container is made. The defaults are those of a sandbox."""

    image: str
    command: Sequence[str] | None
    """None: the image's own."""
    memory_bytes: int
    cpus: float
    pids: int
    tmpfs: Mapping[str, str]
    """Mount options by path."""
    file_bytes: int | None
    """Largest file that a program may write."""
    runtime: str | None = None
    role: Role = "sandbox"
    mounts: Sequence[Mapping[str, Any]] = ()
    holder: str | None = None
    """Id of the container whose network it shares; None: it has none of its own."""
    shares_processes: bool = False
    """Whether it shares the holder's processes too, and ends with it."""
    hosts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Addresses by host name, beside those of the image."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Seen by everybody who may ask the engine: no place for secrets."""
    capabilities: Sequence[str] = _WORKER_CAPABILITIES
    read_only: bool = True
    own_filter: bool = True
    """Whether system calls go through our filter rather than the engine's."""
    filter_text: str | None = None
    """Another filter than the sandboxes', as the engine takes it."""
    files: int = 1024
    """Most open files of a process, where our filter holds."""
    user: str | None = "0:0"
    """None: the image's own."""

    def config(self, labels: Mapping[str, str], host_config: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        """Return what the client library's `create_container` is told.

        Args:
            labels: say whose it is.
            host_config: the client's `create_host_config`.
        """
        command: dict[str, Any] = {}
        if self.command is not None and self.role == "service":
            command = {"command": list(self.command)}
        elif self.command is not None:
            command = {"entrypoint": list(self.command), "command": []}
        return {
            "image": self.image,
            **command,
            **({} if self.user is None else {"user": self.user}),
            # Who shares a network shares the name that comes with it.
            **({} if self.holder else {"hostname": "sandbox"}),
            **({} if self.role == "service" else {"working_dir": "/", "stdin_open": True}),
            "environment": dict(self.environment),
            "host_config": self._host(host_config),
            "labels": dict(labels),
            "healthcheck": {"test": ["NONE"]},
            "use_config_proxy": False,  # proxy settings may hold passwords
        }

    def _host(self, make: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        security = ["no-new-privileges"]
        if self.own_filter:
            security.append(f"seccomp={self.filter_text or sandbox_filter()}")
        sizes = [] if self.file_bytes is None else [Ulimit(name="fsize", soft=self.file_bytes, hard=self.file_bytes)]
        more: dict[str, Any] = {"extra_hosts": dict(self.hosts)} if self.hosts else {}
        if self.shares_processes:
            more["pid_mode"] = f"container:{self.holder}"
        return make(
            auto_remove=True,
            cap_drop=["ALL"],
            cap_add=list(self.capabilities),
            security_opt=security,
            read_only=self.read_only,
            tmpfs=dict(self.tmpfs),
            mounts=[dict(mount) for mount in self.mounts],
            network_mode=f"container:{self.holder}" if self.holder else "none",
            ipc_mode="private",
            mem_limit=self.memory_bytes,
            memswap_limit=self.memory_bytes,
            nano_cpus=int(self.cpus * 1e9),
            pids_limit=self.pids,
            ulimits=[
                # 0 would not keep the host's handler of crashes, which runs as root, from being started; 1 does.
                Ulimit(name="core", soft=1, hard=1),
                *([Ulimit(name="nofile", soft=self.files, hard=self.files)] if self.own_filter else []),
                *sizes,
            ],
            # What is said is for this process only; a log on disk would grow with every file that is moved.
            log_config=LogConfig(type="none"),
            runtime=self.runtime,
            **more,
        )


class ContainerTransport:
    """The attached stream of one container: standard output and error arrive interleaved, each piece with its size."""

    def __init__(
        self,
        number: str,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        remove: Callable[[str], None],
    ) -> None:
        self.number = number
        self._reader, self._writer = streams
        self._remove = remove
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

    async def last_words(self) -> str:
        """Wait until the program ends, and return the end of all that it has said."""
        with contextlib.suppress(OSError):
            while data := await self.read():
                self._last_words = (self._last_words + data)[-_LAST_WORDS_BYTES:]
        return self.diagnosis()

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
            await asyncio.to_thread(self._remove, self.number)
        except (DockerException, RequestException, OSError) as error:
            # With its input closed the container ends and removes itself; the next run's reaper looks for it too.
            _log.warning("could not remove the sandbox %s: %s", self.number[:12], error)

    def diagnosis(self) -> str:
        return self._last_words.decode("utf-8", "replace").strip()
