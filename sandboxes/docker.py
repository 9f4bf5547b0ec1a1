"""Sandboxes in hardened Docker containers: the default."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .environment import WorkerSandboxes
from .guest import Guest
from .launch import (
    GUEST_UID,
    SCRATCH,
    SHARED_MEMORY,
    WORKSPACE,
    SandboxLimits,
    open_supply,
    start_guest,
    worker_command,
)

if TYPE_CHECKING:
    from .docker_engine import ContainerSettings, DockerEngine

_QUEUES = "/dev/mqueue"
"""Message queues outlive the programs that made them; they are files here."""


class Docker(SandboxLimits):
    """Sandboxes as containers of the Docker engine that DOCKER_HOST names, else of the local one.

    Without `image`, one is made from this machine's own Python and its usual command-line programs; no registry is
    needed. An image of your own needs nothing but a `python3` (3.8 or newer) on its PATH.
    """

    image: str | None = Field(
        default=None, min_length=1, description="an image that the engine holds; None: one is made"
    )
    inodes: int = Field(default=20_000, ge=100, description="most files and folders in the work space")
    cpus: float = Field(default=1.0, gt=0, le=64)
    network: Literal["none", "bridge"] = Field(default="none", description="'bridge' lets programs reach the network")
    runtime: str | None = Field(
        default=None, min_length=1, description="a runtime of the engine, such as 'runsc' (gVisor)"
    )

    @property
    def isolation(self) -> str:
        """What keeps a guest in, in words."""
        network = "no network" if self.network == "none" else "WITH network"
        kernel = "the host's kernel is shared" if self.runtime in {None, "runc", "crun"} else f"runtime {self.runtime}"
        return (
            f"docker: {network}, unprivileged user, no capabilities, read-only system, own system-call filter, limits on "
            f"memory ({self.memory_mb} MiB), processors ({self.cpus:g}), processes and files; {kernel}"
        )

    async def start(self, run_id: str, store: Path) -> WorkerSandboxes:
        """Return a supply of sandboxes whose snapshots live in the folder `store`; one is ready when this returns.

        Raises:
            SandboxStartFailed: no engine answers, or it cannot start a sandbox; the message says what to do.
        """
        from .docker_engine import DockerEngine  # the client library takes its time to load

        engine = await asyncio.to_thread(DockerEngine.connect)

        async def on_close() -> None:
            await asyncio.to_thread(engine.close)

        try:
            image, volumes = await asyncio.to_thread(self._prepare, engine)
            settings = self._settings(image, volumes, run_id)

            async def make() -> Guest:
                transport = await engine.start(settings, run_id)
                place = f"the image {image!r}"
                return await start_guest(transport, workspace_bytes=self.workspace_bytes, place=place)

            return await open_supply(make, self, store=store, isolation=self.isolation, on_close=on_close)
        except BaseException:
            await on_close()
            raise

    def _prepare(self, engine: DockerEngine) -> tuple[str, list[str]]:
        """Tidy up after dead runs; return the image's name and its volumes."""
        from .image import ensure_base_image

        engine.reap()
        image = self.image or ensure_base_image(engine, self.packages)
        return image, engine.image_volumes(image)

    def _settings(self, image: str, volumes: Sequence[str], run_id: str) -> ContainerSettings:
        from .docker_engine import ContainerSettings

        options = f"rw,nosuid,nodev,exec,mode=1777,nr_inodes={self.inodes}"
        # Volumes of the image would outlive a change of state: they become scratch space.
        scratch = [SCRATCH, SHARED_MEMORY, *(path for path in volumes if path != WORKSPACE)]
        return ContainerSettings(
            image=image,
            command=worker_command(run_id, [*scratch, _QUEUES], guest=GUEST_UID),
            memory_bytes=self.memory_mb << 20,
            cpus=self.cpus,
            pids=self.pids,
            network=self.network,
            tmpfs={
                **dict.fromkeys(scratch, f"{options},size={self.scratch_bytes}"),
                WORKSPACE: f"{options},size={self.workspace_bytes}",
            },
            file_bytes=self.workspace_bytes,
            runtime=self.runtime,
        )
