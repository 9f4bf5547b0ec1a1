"""Sandboxes in hardened Docker containers: the default."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..core.errors import SandboxLost, SandboxStartFailed
from .channel import Channel
from .docker_engine import ContainerSettings, DockerEngine
from .environment import WorkerSandboxes
from .guest import Guest
from .image import ensure_base_image
from .store import Store

WORKSPACE = "/workspace"
SCRATCH = "/tmp"  # noqa: S108  # inside the sandbox
_GUEST_UID = 65532
_WORKER_MB = 64
"""Memory for the worker and the guest's programs beside what files may take."""
_START_SECONDS = 60.0
_BOOTSTRAP = (
    "import os\nb=b''\nwhile b[-1:]!=b'\\0':\n c=os.read(0,65536)\n if not c:os._exit(0)\n b+=c\n"
    "exec(compile(b[:-1],'worker','exec'))"
)
"""Reads the worker's program from standard input, up to a NUL, and becomes it: nothing has to be mounted or installed."""


class Docker(BaseModel):
    """Sandboxes as containers of the Docker engine that DOCKER_HOST names, else of the local one.

    Without `image`, one is made from this machine's own Python and its usual command-line programs; no registry is
    needed. An image of your own needs nothing but a `python3` (3.8 or newer) on its PATH.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str | None = Field(None, min_length=1, description="an image that the engine holds; None: one is made")
    packages: tuple[str, ...] = Field(
        ("pytest",), description="installed Python packages that the made image gets, with what they require"
    )
    memory_mb: int = Field(512, ge=128, description="of each sandbox, files in its work space included")
    workspace_mb: int = Field(256, ge=1, description="largest work space")
    scratch_mb: int = Field(64, ge=1, description="size of /tmp, which is emptied with every change of state")
    inodes: int = Field(20_000, ge=100, description="most files and folders in the work space")
    cpus: float = Field(1.0, gt=0, le=64)
    pids: int = Field(128, ge=16, description="most processes and threads")
    network: Literal["none", "bridge"] = Field("none", description="'bridge' lets programs reach the network")
    runtime: str | None = Field(None, description="a runtime of the engine, for example 'runsc' (gVisor)")
    max_idle: int = Field(4, ge=0, description="most sandboxes that are kept ready while nobody uses them")

    @model_validator(mode="after")
    def _fits(self) -> Docker:
        needed = self.workspace_mb + self.scratch_mb + _WORKER_MB
        if self.memory_mb < needed:
            raise ValueError(
                f"memory_mb={self.memory_mb} is too little: files count as memory, so workspace_mb + scratch_mb + "
                f"{_WORKER_MB} = {needed} are needed"
            )
        return self

    @property
    def isolation(self) -> str:
        """What keeps a guest in, in words."""
        network = "no network" if self.network == "none" else "WITH network"
        kernel = f"runtime {self.runtime}" if self.runtime else "the host's kernel is shared"
        return (
            f"docker: {network}, unprivileged user, no capabilities, read-only system, own system-call filter, limits on "
            f"memory ({self.memory_mb} MiB), processors ({self.cpus:g}), processes and files; {kernel}"
        )

    async def start(self, run_id: str, store: Path) -> WorkerSandboxes:
        """Return a supply of sandboxes whose snapshots live in the folder `store`; one is ready when this returns.

        Raises:
            SandboxStartFailed: no engine answers, or it cannot start a sandbox; the message says what to do.
        """
        engine = await asyncio.to_thread(DockerEngine.connect)
        try:
            return await self._start(engine, run_id, store)
        except BaseException:
            engine.close()
            raise

    async def _start(self, engine: DockerEngine, run_id: str, store: Path) -> WorkerSandboxes:
        await asyncio.to_thread(engine.reap)
        image = self.image or await asyncio.to_thread(ensure_base_image, engine, self.packages)
        volumes = await asyncio.to_thread(engine.image_volumes, image)
        settings = self._settings(image, volumes)
        worker = _worker_program()

        async def make() -> Guest:
            channel = Channel(await engine.start(settings, run_id))
            try:
                await channel.transport.write(worker)
                await channel.open(_START_SECONDS)
            except (SandboxLost, OSError) as error:
                await channel.close()
                raise SandboxStartFailed(f"the worker did not start in the image {image!r}: {error}") from error
            except BaseException:
                await channel.close()
                raise
            return Guest(channel, workspace=WORKSPACE, workspace_bytes=self.workspace_mb << 20)

        async def on_close() -> None:
            await asyncio.to_thread(engine.close)

        supply = WorkerSandboxes(
            make,
            store=await asyncio.to_thread(Store, store),
            isolation=self.isolation,
            workspace_bytes=self.workspace_mb << 20,
            max_idle=self.max_idle,
            on_close=on_close,
        )
        try:
            await supply.pool.warm()
        except BaseException:
            await supply.pool.aclose()
            raise
        return supply

    def _settings(self, image: str, volumes: list[str]) -> ContainerSettings:
        options = "rw,nosuid,nodev,exec,mode=1777"
        scratch = f"{options},size={self.scratch_mb}m,nr_inodes={self.inodes}"
        scratch_folders = [SCRATCH, *(path for path in volumes if path not in {SCRATCH, WORKSPACE})]
        return ContainerSettings(
            image=image,
            command=["python3", "-I", "-S", "-X", "utf8", "-c", _BOOTSTRAP, worker_settings(scratch_folders, _GUEST_UID)],
            memory_bytes=self.memory_mb << 20,
            cpus=self.cpus,
            pids=self.pids,
            network=self.network,
            tmpfs={
                WORKSPACE: f"{options},size={self.workspace_mb}m,nr_inodes={self.inodes}",
                # Volumes of the image would outlive a change of state: they are scratch space as well.
                **dict.fromkeys(scratch_folders, scratch),
            },
            file_bytes=self.workspace_mb << 20,
            runtime=self.runtime,
        )


def worker_settings(scratch: list[str], guest: int | None, limits: dict[str, int] | None = None) -> str:
    """Return the argument with which a worker is started.

    Args:
        scratch: folders that are emptied with every change of state.
        guest: the uid of the guest's programs; None where the worker has that uid itself.
        limits: resource limits of the guest's programs, by their names in `resource`.
    """
    environment = {
        "HOME": SCRATCH,
        "TMPDIR": SCRATCH,
        "USER": "guest",
        "LOGNAME": "guest",
        "LANG": "C.UTF-8",
        # A .pyc is matched to its source by size and by seconds: a file that is changed and run twice within a second,
        # as a search does, would run as what it was before.
        "PYTHONDONTWRITEBYTECODE": "1",
        "BRANCHWISE_SANDBOX": "1",
    }
    return json.dumps(
        {"root": WORKSPACE, "scratch": scratch, "guest": guest, "limits": limits or {}, "env": environment}
    )


def _worker_program() -> bytes:
    return files(__package__).joinpath("worker.py").read_bytes() + b"\0"
