"""The services of one sandbox: each in a container of its own, all with one loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence

from ..core.errors import SandboxStartFailed
from .channel import Transport
from .containers import ContainerSettings, ContainerTransport
from .docker_engine import ENGINE_ERRORS, DockerEngine, reason_of
from .holder import held, holder_command
from .service import Service

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_SETTLING_SECONDS = 0.4
_HOLDER_BYTES = 64 << 20
# Images of services start as root, make their folders their own user's, and become that user.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
_KNOCK = """
import socket, sys, time
end = time.monotonic() + float(sys.argv[2])
while True:
    try: socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close(); break
    except OSError as error:
        if time.monotonic() > end: sys.exit(str(error))
        time.sleep(0.05)
"""


class Pod:
    """The services of one sandbox, and the holder of what they share: a network with nothing but a loopback.

    The services share the holder's processes too: when this process dies the engine closes the holder's input, the
    holder ends, and the kernel ends them all.
    """

    def __init__(self, engine: DockerEngine, holder: ContainerTransport) -> None:
        self._engine = engine
        self._holder = holder
        self._services: dict[str, ContainerTransport] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._ended = ""
        self._closing = False
        self.number = holder.number
        self.dependent: Transport | None = None
        """The sandbox, which is ended when a service ends: what programs then see of it would be no result."""

    @classmethod
    async def start(cls, engine: DockerEngine, services: Mapping[str, Service], *, image: str, run_id: str) -> Pod:
        """Return the pod with all services ready.

        Args:
            engine: where.
            services: by name.
            image: the sandbox's own, which has the holder's Python.
            run_id: goes into the labels.

        Raises:
            SandboxStartFailed: a service did not start, or did not get ready; nothing is left.
        """
        settings = ContainerSettings(
            image=image,
            command=holder_command(),
            memory_bytes=_HOLDER_BYTES,
            cpus=0.5,
            pids=16,
            tmpfs={},
            file_bytes=0,
            role="holder",
            hosts=dict.fromkeys(services, "127.0.0.1"),
            capabilities=(),
        )
        holder = await engine.start(settings, run_id)
        pod = cls(engine, holder)
        try:
            await held(holder)
            async with asyncio.TaskGroup() as all_of_them:
                for name, service in services.items():
                    all_of_them.create_task(pod._add(name, service, run_id))
        except BaseExceptionGroup as group:
            await pod.close()
            raise group.exceptions[0] from group
        except BaseException:
            await pod.close()
            raise
        return pod

    async def _add(self, name: str, service: Service, run_id: str) -> None:
        volumes = await asyncio.to_thread(self._engine.image_volumes, service.image)
        transport = await self._engine.start(_settings(service, volumes, self.number), run_id)
        self._services[name] = transport
        watch = asyncio.create_task(self._watch(name, transport), name=f"service-{name}")
        self._watches.add(watch)
        getting_ready = asyncio.create_task(self._get_ready(name, service, transport.number))
        await asyncio.wait({watch, getting_ready}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done() and not self._closing:
            getting_ready.cancel()
            await asyncio.gather(getting_ready, return_exceptions=True)
            hint = (
                "; it may write into its /tmp, /run, volumes and Service(scratch=...) only"
                if "ead-only" in self._ended
                else ""
            )
            raise SandboxStartFailed(self._ended + hint)
        await getting_ready

    async def _watch(self, name: str, transport: ContainerTransport) -> None:
        """Wait for the end of a service, which is the sandbox's too, unless it is this pod's."""
        words = await transport.last_words()
        if self._closing:
            return
        self._ended = f"the service {name!r} has ended" + (f": {words[-500:]}" if words else "")
        _log.warning("%s", self._ended)
        if self.dependent is not None:
            await self.dependent.kill()

    async def _get_ready(self, name: str, service: Service, number: str) -> None:
        """Wait until a service is ready.

        Raises:
            SandboxStartFailed: it took too long.
        """
        if service.ready is None:
            await asyncio.sleep(_SETTLING_SECONDS)  # one that cannot run has ended by then
            return
        end = time.monotonic() + service.ready_seconds
        if isinstance(service.ready, int):
            command = ["python3", "-I", "-S", "-c", _KNOCK, str(service.ready), str(min(service.ready_seconds, 5.0))]
            number = self.number
        else:
            command = ["/bin/sh", "-c", service.ready] if isinstance(service.ready, str) else list(service.ready)
        while True:
            try:
                status, said = await asyncio.to_thread(self._engine.run_inside, number, command)
            except ENGINE_ERRORS as error:
                status, said = 1, reason_of(error)
            if status == 0:
                return
            if time.monotonic() > end:
                raise SandboxStartFailed(
                    f"the service {name!r} was not ready within {service.ready_seconds:g} s: "
                    f"{json.dumps(service.ready)} last said: {said.strip()[-500:]!r}"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def close(self) -> None:
        """End all services. Idempotent."""
        self._closing = True
        await asyncio.gather(*(service.kill() for service in self._services.values()), self._holder.kill())
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def diagnosis(self) -> str:
        """Which service ended by itself."""
        return self._ended


def _settings(service: Service, volumes: Sequence[str], holder: str) -> ContainerSettings:
    """Return how a service's container is made.

    Args:
        service: what the user asks for.
        volumes: those of its image; they become scratch space, or they would outlive it.
        holder: the container whose network and processes it shares.
    """
    options = f"rw,nosuid,nodev,mode=1777,size={service.scratch_mb << 20}"
    return ContainerSettings(
        image=service.image,
        command=service.command,
        memory_bytes=service.memory_mb << 20,
        cpus=service.cpus,
        pids=service.pids,
        tmpfs=dict.fromkeys(("/tmp", "/run", *volumes, *service.scratch), options),  # noqa: S108  # inside
        file_bytes=None,
        role="service",
        holder=holder,
        shares_processes=True,
        environment=service.env,
        capabilities=_CAPABILITIES,
        own_filter=False,
        user=None,
    )
