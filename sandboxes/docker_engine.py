"""A Docker engine: reached, made to start containers, and tidied up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests.exceptions import RequestException

from ..core.errors import SandboxStartFailed
from .containers import ROLES, ContainerSettings, ContainerTransport
from .owner import LABEL, OWNER_LABEL, RUN_LABEL, Owner, is_orphan

_log = logging.getLogger(__name__)

ENGINE_ERRORS = (DockerException, RequestException)
"""What the client library raises when the engine refuses or goes away."""

_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_OLDEST_API = (1, 40)
"""Docker 19.03."""
_CONFLICT = 409
_CALL_SECONDS = 60
_PATIENT_SECONDS = 3600
_KNOCK_SECONDS = 5


class FoldersUnseen(SandboxStartFailed):
    """The engine does not see this machine's folders."""


class DockerEngine:
    """A connection to an engine. Methods block unless they are coroutines; safe for use from several threads."""

    def __init__(self, client: docker.DockerClient, address: str) -> None:
        self._client = client
        self.api: Any = client.api  # its types are mostly unknown
        self._patient: docker.DockerClient | None = None
        self.address = address
        self.owner = Owner.current()

    @classmethod
    def connect(cls) -> DockerEngine:
        """Return a connection to the engine that DOCKER_HOST names, else to the local one.

        Raises:
            SandboxStartFailed: none answers, or it is none that sandboxes can run on; the message says what to do.
        """
        address = os.environ.get("DOCKER_HOST") or _DEFAULT_ADDRESS
        client: docker.DockerClient | None = None
        try:
            _knock(address)
            client = docker.from_env(timeout=_CALL_SECONDS)
            version: dict[str, Any] = client.version()
        except (*ENGINE_ERRORS, OSError, ValueError) as error:
            if client is not None:
                client.close()
            raise SandboxStartFailed(_no_answer(address, error)) from error
        trouble = _unfit(address, str(client.api.base_url), version)
        if trouble is not None:
            client.close()
            raise SandboxStartFailed(f"the Docker engine at {address} cannot be used: {trouble}")
        return cls(client, address)

    @property
    def is_local(self) -> bool:
        """Whether the engine sees this machine's folders, as far as its address tells."""
        return self.address.startswith("unix://")

    def close(self) -> None:
        """Close the connection; containers are not touched."""
        self._client.close()
        if self._patient is not None:
            self._patient.close()

    def info(self) -> dict[str, Any]:
        """Return what the engine says about itself and its machine."""
        found: dict[str, Any] = self.api.info()
        return found

    def version(self) -> dict[str, Any]:
        """Return the versions of the engine and of its parts."""
        found: dict[str, Any] = self.api.version()
        return found

    def labels(self, role: str, run_id: str) -> dict[str, str]:
        """Return the labels that say whose something is."""
        return {LABEL: role, RUN_LABEL: run_id, OWNER_LABEL: str(self.owner)}

    # --- images -------------------------------------------------------------------------------------------------------

    def has_image(self, name: str) -> bool:
        """Whether the engine holds an image of this name."""
        try:
            self.api.inspect_image(name)
        except ImageNotFound:
            return False
        return True

    def image(self, name: str) -> dict[str, Any]:
        """Return an image's record.

        Raises:
            SandboxStartFailed: the engine does not hold it.
        """
        try:
            found: dict[str, Any] = self.api.inspect_image(name)
        except ImageNotFound as error:
            raise SandboxStartFailed(
                f"the engine at {self.address} has no image {name!r}; bring it with 'docker pull {name}' or build it, "
                "or leave image= away to use the one made from this machine's Python"
            ) from error
        return found

    def image_volumes(self, name: str) -> list[str]:
        """Return the folders that an image declares as volumes.

        Raises:
            SandboxStartFailed: the engine does not hold the image.
        """
        config: dict[str, Any] = self.image(name).get("Config") or {}
        volumes: dict[str, Any] = config.get("Volumes") or {}
        return sorted(volumes)

    # --- containers ---------------------------------------------------------------------------------------------------

    async def start(self, settings: ContainerSettings, run_id: str) -> ContainerTransport:
        """Start a container with its standard streams attached.

        Raises:
            SandboxStartFailed: the engine refused.
        """
        starting = asyncio.create_task(asyncio.to_thread(self._start, settings, run_id))
        try:
            number, stream = await asyncio.shield(starting)
            streams = await asyncio.open_connection(sock=stream, limit=1 << 20)
        except ENGINE_ERRORS as error:
            raise self._why_not(settings, error) from error
        except BaseException:
            with contextlib.suppress(*ENGINE_ERRORS):
                number, stream = await starting  # a thread cannot be stopped, what it has made can be removed
                stream.close()
                await asyncio.to_thread(self.remove, number)
            raise
        return ContainerTransport(number, streams, self._end)

    def _start(self, settings: ContainerSettings, run_id: str) -> tuple[str, socket.socket]:
        api = self.api
        labels = self.labels(settings.role, run_id)
        number: str = api.create_container(**settings.config(labels, api.create_host_config))["Id"]
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
        attached: Any = self.api.attach_socket(number, params=parameters)
        stream = socket.socket(fileno=os.dup(attached.fileno()))
        attached._sock.close()  # noqa: SLF001  # what the library keeps would stay open until it is collected
        attached.close()
        return stream

    def run_inside(
        self, number: str, command: list[str], *, env: Mapping[str, str] | None = None, patient: bool = False
    ) -> tuple[int, str]:
        """Run a program in a running container; return its exit status and what it said.

        Args:
            number: the container's id.
            command: program and arguments.
            env: its environment variables, beside the container's.
            patient: whether it may be silent for minutes; the container's end then ends it.
        """
        api = self._patient_api() if patient else self.api
        made = api.exec_create(number, command, environment=dict(env or {}))
        output: bytes = api.exec_start(made["Id"])
        status = api.exec_inspect(made["Id"])["ExitCode"]
        return (1 if status is None else int(status)), output.decode("utf-8", "replace")

    def _patient_api(self) -> Any:
        if self._patient is None:
            self._patient = docker.from_env(timeout=_PATIENT_SECONDS)
        return self._patient.api

    def _why_not(self, settings: ContainerSettings, error: Exception) -> SandboxStartFailed:
        reason = reason_of(error)
        if "bind source path does not exist" in reason.lower():
            return FoldersUnseen(
                f"the engine at {self.address} does not see this machine's folders ({reason}); mounts and network=Allow(...) "
                "need an engine that runs on this machine"
            )
        return SandboxStartFailed(self._words_on(settings, error))

    def _words_on(self, settings: ContainerSettings, error: Exception) -> str:
        reason = reason_of(error)
        lower = reason.lower()
        if isinstance(error, ImageNotFound):
            return (
                f"the engine at {self.address} has no image {settings.image!r}; bring it with 'docker pull "
                f"{settings.image}' or build it"
            )
        if settings.role != "service" and (
            "executable file not found" in lower or "no such file or directory" in lower
        ):
            program = (settings.command or ["?"])[0]
            return (
                f"the image {settings.image!r} has no {program!r}, which the sandbox's worker needs "
                "(Python 3.8 or newer, nothing but its standard library); add it to the image"
            )
        if settings.runtime is not None and "runtime" in lower:
            return f"the engine at {self.address} has no runtime {settings.runtime!r}: {reason}; install it, or leave it out"
        return f"the engine at {self.address} could not start a {settings.role}: {reason}{advice(reason)}"

    def remove(self, number: str) -> None:
        """Kill a container and return when it is gone; one that is gone already is fine."""
        try:
            try:
                self.api.remove_container(number, force=True, v=True)
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise
                self.api.wait(number, timeout=_CALL_SECONDS, condition="removed")  # its own removal is under way
        except NotFound:
            return

    def _end(self, number: str) -> None:
        """Remove a container, unless the engine is gone, which ends the container too."""
        _knock(self.address)
        self.remove(number)

    def containers(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return what the engine lists of our containers, of one run or of all."""
        labels = [LABEL, *([] if run_id is None else [f"{RUN_LABEL}={run_id}"])]
        found: list[dict[str, Any]] = self.api.containers(all=True, filters={"label": labels})
        # The value counts: a container that the user makes of our image inherits the image's labels.
        return [container for container in found if container["Labels"].get(LABEL) in ROLES]

    def is_left_over(self, container: Mapping[str, Any]) -> bool:
        """Whether a container of ours may be removed because nobody uses it any more."""
        label = container["Labels"].get(OWNER_LABEL, "")
        running = container["State"] == "running"
        return is_orphan(label, running=running, created=container["Created"], observer=self.owner)

    def reap(self) -> list[str]:
        """Remove the containers of processes that are dead, and return their ids. Others' are never touched."""
        reaped: list[str] = []
        for container in self.containers():
            if self.is_left_over(container):
                self.remove(container["Id"])
                reaped.append(container["Id"])
        if reaped:
            _log.info("removed %d containers that dead runs had left", len(reaped))
        return reaped


def _knock(address: str) -> None:
    """See whether anybody listens; the client library leaves a socket open where nobody does, and waits for long."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_KNOCK_SECONDS)
            probe.connect(address.removeprefix("unix://"))
    elif parts.hostname is not None and parts.scheme in {"tcp", "http", "https"}:
        with socket.create_connection((parts.hostname, parts.port or 2375), timeout=_KNOCK_SECONDS):
            return


def _no_answer(address: str, error: Exception) -> str:
    source = "from DOCKER_HOST" if os.environ.get("DOCKER_HOST") else "DOCKER_HOST is not set"
    told = f"no Docker engine answers at {address} ({source}): {reason_of(error)}; "
    if isinstance(error, PermissionError):
        return (
            f"{told}this user may not use it: 'sudo usermod -aG docker $USER' and log in again (members of that group are "
            "root on this machine), or use sandbox=bw.sandboxes.Local()"
        )
    if not address.startswith("unix://"):
        return f"{told}start it there, correct DOCKER_HOST (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH), or unset it for the local one"
    return f"{told}start one with scripts/docker-engine.sh, or use sandbox=bw.sandboxes.Local()"


def _unfit(address: str, url: str, version: Mapping[str, Any]) -> str | None:
    """Return why an engine that answers cannot run sandboxes; None where it can."""
    api = str(version.get("ApiVersion", "0"))
    if tuple(int(part) for part in api.split(".") if part.isdigit()) < _OLDEST_API:
        oldest = ".".join(map(str, _OLDEST_API))
        return f"its API is {api}, and {oldest} is needed (Docker 19.03 or newer); update it"
    if version.get("Os", "linux") != "linux":
        return f"it runs {version['Os']} containers; switch it to Linux containers"
    if url.startswith("https://") or address.startswith("ssh://"):
        return (
            "sandboxes talk to their workers over a plain stream, which TLS and ssh:// addresses do not give; forward its "
            "socket instead: 'ssh -NL /tmp/docker.sock:/var/run/docker.sock HOST' and DOCKER_HOST=unix:///tmp/docker.sock"
        )
    return None


def advice(reason: str) -> str:
    """Return what to do about a refusal of the engine, where that is known, as the end of a sentence."""
    lower = reason.lower()
    if "no space left" in lower or os.strerror(errno.EDQUOT).lower() in lower:
        return "; its disk is full: 'docker system df' says with what, 'branchwise sandbox prune' removes what is ours"
    if "cannot allocate memory" in lower:
        return "; this machine is out of memory: use fewer sandboxes, or a smaller memory_mb"
    return ""


def reason_of(error: Exception) -> str:
    """Return what the engine or the system says, on one line."""
    explanation = getattr(error, "explanation", None)
    return " ".join(str(explanation or error).split())
