"""Makes the sandboxes of one run on an engine: the container, its way to the network, its services."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from ..core.errors import SandboxStartFailed
from .channel import Transport
from .companions import AccompaniedTransport
from .containers import ContainerSettings
from .docker_engine import DockerEngine, FoldersUnseen
from .door import Door, reap_doors
from .egress import Egress
from .gate import BY_DOOR, GATE, by_door, open_gate, proxy_environment
from .governor import Governor
from .guest import Guest
from .launch import GUEST_UID, SCRATCH, SHARED_MEMORY, WORKSPACE, WorkerSettings, start_guest, worker_command
from .pod import Pod
from .wire import WIRE, WireTransport

if TYPE_CHECKING:
    from .docker import Docker

_MEMORY_PART = 0.8
_QUEUES = "/dev/mqueue"
"""Message queues outlive the programs that made them; they are files here."""


def check_engine(engine: DockerEngine, wanted: Docker) -> None:
    """Tidy up after dead runs, and see whether the engine has what is asked of it.

    Raises:
        SandboxStartFailed: it has not.
    """
    engine.reap()
    reap_doors()
    if wanted.runtime is not None:
        runtimes = sorted(engine.info().get("Runtimes") or {})
        if wanted.runtime not in runtimes:
            raise SandboxStartFailed(
                f"the engine at {engine.address} has no runtime {wanted.runtime!r} (it has {', '.join(runtimes)}); install it "
                "and name it in the engine's daemon.json under 'runtimes', or leave runtime= out"
            )
    if not engine.is_local and (wanted.network != "none" or wanted.mounts):
        raise SandboxStartFailed(
            f"network=Allow(...) and mounts= need an engine on this machine, and DOCKER_HOST is {engine.address!r}; unset it, or "
            "leave them out"
        )


def far_governor(engine: DockerEngine) -> Governor | None:
    """Return the governor of the machine on which an engine runs; None where that is this one."""
    return None if engine.is_local else _governor(engine.address, int(engine.info()["MemTotal"]))


@cache
def _governor(_address: str, memory_bytes: int) -> Governor:
    return Governor(int(memory_bytes * _MEMORY_PART))


class DockerSupply:
    """Makes one sandbox with every call."""

    def __init__(
        self,
        engine: DockerEngine,
        wanted: Docker,
        *,
        image: str,
        run_id: str,
        egress: Egress | None,
        environment: Mapping[str, str],
    ) -> None:
        self._engine = engine
        self._wanted = wanted
        self._image = image
        self._run_id = run_id
        self._egress = egress
        self._environment = {**(proxy_environment() if egress is not None else {}), **environment}
        self._volumes: list[str] = []
        self._has_wires = engine.is_local and wanted.runtime != "runsc"
        """Whether workers may have a way to this process past the engine. gVisor lets nobody out to a socket."""

    async def prepare(self) -> None:
        """Learn what has to be known of the image.

        Raises:
            SandboxStartFailed: the engine does not hold it.
        """
        self._volumes = await asyncio.to_thread(self._engine.image_volumes, self._image)

    async def __call__(self) -> Guest:
        """Return a new sandbox.

        Raises:
            SandboxStartFailed: it could not be made; nothing of it is left.
        """
        try:
            return await self._make()
        except FoldersUnseen:
            if not self._has_wires or self._egress is not None or self._wanted.mounts:
                raise
            self._has_wires = False  # the engine's own stream does it too
            return await self._make()

    async def _make(self) -> Guest:
        names = [*([WIRE] if self._has_wires else []), *([GATE] if self._egress is not None else [])]
        door = Door(*names) if names else None
        try:
            return await self._behind(door)
        finally:
            if door is not None:
                door.close()

    async def _behind(self, door: Door | None) -> Guest:
        """Start a sandbox whose first program finds a door, where there is one."""
        transport, wire = await self._start(door)
        place = f"the image {self._image!r}"
        told = self._told(wire)
        guest = await start_guest(transport, told, workspace_bytes=self._wanted.workspace_bytes, place=place)
        guest.single_use = bool(self._wanted.services)
        if door is not None and self._egress is not None:
            await open_gate(by_door(door), self._egress, guest, transport)
        return guest

    async def _start(self, door: Door | None) -> tuple[AccompaniedTransport, WireTransport | None]:
        """Start the services, then the container beside them."""
        pod = None
        if self._wanted.services:
            pod = await Pod.start(self._engine, self._wanted.services, image=self._image, run_id=self._run_id)
        try:
            container = await self._engine.start(self._settings(door, pod), self._run_id)
        except BaseException:
            if pod is not None:
                await pod.close()
            raise
        wire = WireTransport(container, door[WIRE]) if door is not None and self._has_wires else None
        worker: Transport = container if wire is None else wire
        if pod is None:
            return AccompaniedTransport(worker), wire
        pod.dependent = worker
        return AccompaniedTransport(worker, pod), wire

    def _settings(self, door: Door | None, pod: Pod | None) -> ContainerSettings:
        wanted = self._wanted
        options = f"rw,nosuid,nodev,exec,mode=1777,nr_inodes={wanted.inodes}"
        return ContainerSettings(
            image=self._image,
            command=worker_command(self._run_id, prelude=BY_DOOR if self._egress is not None else ""),
            memory_bytes=wanted.memory_mb << 20,
            cpus=wanted.cpus,
            pids=wanted.pids,
            tmpfs={
                **dict.fromkeys(self._scratch(), f"{options},size={wanted.scratch_bytes}"),
                WORKSPACE: f"{options},size={wanted.workspace_bytes}",
            },
            file_bytes=wanted.workspace_bytes,
            runtime=wanted.runtime,
            mounts=[*(mount.settings() for mount in wanted.mounts), *([door.mount] if door is not None else [])],
            holder=pod.number if pod is not None else None,
        )

    def _told(self, wire: WireTransport | None) -> WorkerSettings:
        """Return what the worker is told."""
        shares_files = any(mount.writable for mount in self._wanted.mounts)
        return WorkerSettings(
            scratch=[*self._scratch(), _QUEUES],
            guest=GUEST_UID,
            branches={} if self._wanted.services or shares_files else self._branches(),
            own_id=not shares_files,
            env=self._environment,
            wire=None if wire is None else wire.told,
        )

    def _scratch(self) -> list[str]:
        """Return the folders of scratch space. Volumes of the image would outlive a change of state: they are such too."""
        mounted = {mount.target for mount in self._wanted.mounts}
        volumes = [path for path in self._volumes if path != WORKSPACE and path not in mounted]
        return [SCRATCH, SHARED_MEMORY, *volumes]

    def _branches(self) -> dict[str, int]:
        """Return the limits of the work spaces that live side by side in one container."""
        return {
            "size_bytes": self._wanted.workspace_bytes,
            "scratch_bytes": self._wanted.scratch_bytes,
            "inodes": self._wanted.inodes,
            "kept_bytes": self._wanted.spare_bytes,
        }
