"""Set-up commands: run once over an image, in a container of their own, and kept as a layer on top of it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import tarfile
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path

from ..core.errors import SandboxStartFailed, UsageError
from .build import add_folder, ignored
from .companions import AccompaniedTransport
from .containers import ContainerSettings, ContainerTransport
from .docker_engine import ENGINE_ERRORS, DockerEngine, advice, reason_of
from .door import Door
from .egress import Egress
from .gate import BY_DOOR, GATE, by_door, open_gate, proxy_environment
from .holder import held, holder_command
from .owner import LABEL
from .progress import say

SET_UP = "branchwise/setup"
_RECIPE = 2
_FOLDER = "/workspace"
_MEMORY_BYTES = 4 << 30
_TMP_BYTES = 2 << 30
_PIDS = 1024
_COMMAND_SECONDS = 1800.0
_LAST_CHARACTERS = 1500
# Package managers give files away and become other users; nothing else of root's rights is theirs.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID", "KILL")
_PREPARE = f"import os\nos.makedirs({_FOLDER!r}, exist_ok=True)\nos.chmod({_FOLDER!r}, 0o1777)"
_SWEEP = f"""import os, shutil
for entry in os.scandir({_FOLDER!r}):
    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
"""


@dataclass(frozen=True, slots=True)
class SetUp:
    """What is to be done to an image."""

    commands: Sequence[str]
    """Lines for a shell, run as root in a folder with `files`."""
    files: Sequence[Path] = ()
    """Files of this machine, and folders whose content the commands find beside them."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    cpus: float = 1.0


async def ensure_set_up(
    engine: DockerEngine, image: str, work: SetUp, *, egress: Egress | None, run_id: str, runtime: str | None = None
) -> str:
    """Return the name of the image with the commands' effects, made where the engine does not hold it yet.

    It is found again by the image's id, the commands, their environment and the contents of the files. Commands reach the
    network as far as the sandbox's policy goes, and are given no secrets: what they leave is kept.

    Raises:
        SandboxStartFailed: a command failed; the message has what it said last.
        UsageError: a file cannot be read.
    """
    with tempfile.TemporaryFile(prefix="branchwise-setup-") as archive:
        digest = await asyncio.to_thread(_pack, work, archive)
        base = (await asyncio.to_thread(engine.image, image))["Id"]
        key = repr((_RECIPE, base, list(work.commands), sorted(work.environment.items()), digest))
        name = f"{SET_UP}:{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        async with only_one():
            if not await asyncio.to_thread(engine.has_image, name):
                await _make(engine, image, work, archive, name, egress=egress, run_id=run_id, runtime=runtime)
    return name


def _pack(work: SetUp, into: IO[bytes]) -> str:
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in work.files:
            source = path.expanduser()
            if source.is_dir():
                add_folder(archive, source, ignored(source))
            elif source.is_file():
                content = source.read_bytes()
                info = tarfile.TarInfo(source.name)
                info.size, info.mode = len(content), source.stat().st_mode & 0o777
                with source.open("rb") as stream:
                    archive.addfile(info, stream)
            else:
                raise UsageError(f"setup_files: {str(path)!r} is neither a file nor a folder")
    into.seek(0)
    digest = hashlib.file_digest(into, "sha256").hexdigest()  # type: ignore[arg-type]  # any open file will do
    into.seek(0)
    return digest


async def _make(
    engine: DockerEngine,
    image: str,
    work: SetUp,
    archive: IO[bytes],
    name: str,
    *,
    egress: Egress | None,
    run_id: str,
    runtime: str | None,
) -> None:
    begun = time.monotonic()
    # Not the container's: its variables would become the image's.
    env = {**(proxy_environment() if egress is not None else {}), **work.environment}
    say(f"setting up the sandbox image: {len(work.commands)} commands (once, until they or their files change)")
    async with _container(engine, image, work, egress=egress, run_id=run_id, runtime=runtime) as container:
        try:
            await asyncio.to_thread(engine.run_inside, container.number, _python(_PREPARE))
            await asyncio.to_thread(engine.api.put_archive, container.number, _FOLDER, archive)
            for index, command in enumerate(work.commands, 1):
                say(f"  {index}/{len(work.commands)}: {command}")
                await _run(engine, container, command, env)
            await asyncio.to_thread(engine.run_inside, container.number, _python(_SWEEP))
            repository, _, tag = name.partition(":")
            changes = [f"LABEL {LABEL}=image", 'ENTRYPOINT ["python3"]', "CMD []", "WORKDIR /"]
            await asyncio.to_thread(
                engine.api.commit, container.number, repository, tag, pause=False, changes="\n".join(changes)
            )
        except ENGINE_ERRORS as error:
            reason = reason_of(error)
            raise SandboxStartFailed(f"the sandbox image could not be set up: {reason}{advice(reason)}") from error
    say(f"set it up in {time.monotonic() - begun:.1f} s: {name}")


@contextlib.asynccontextmanager
async def _container(
    engine: DockerEngine, image: str, work: SetUp, *, egress: Egress | None, run_id: str, runtime: str | None
) -> AsyncGenerator[ContainerTransport]:
    """Hold a container whose file system the commands may change, with the way out that the policy gives."""
    async with contextlib.AsyncExitStack() as stack:
        door = None
        if egress is not None:
            door = Door(GATE)
            stack.callback(door.close)
        settings = ContainerSettings(
            image=image,
            command=holder_command(BY_DOOR if door is not None else ""),
            memory_bytes=_MEMORY_BYTES,
            cpus=work.cpus,
            pids=_PIDS,
            tmpfs={"/tmp": f"rw,nosuid,nodev,exec,mode=1777,size={_TMP_BYTES}"},  # noqa: S108  # inside
            file_bytes=None,
            runtime=runtime,
            role="setup",
            mounts=[door.mount] if door is not None else [],
            capabilities=_CAPABILITIES,
            read_only=False,
        )
        container = await engine.start(settings, run_id)
        transport = AccompaniedTransport(container)
        stack.push_async_callback(transport.kill)
        await held(container)
        if egress is not None and door is not None:
            await open_gate(by_door(door), egress, transport, transport)
        yield container


async def _run(engine: DockerEngine, container: ContainerTransport, command: str, env: Mapping[str, str]) -> None:
    """Run one command to its end.

    Raises:
        SandboxStartFailed: it failed, or took too long.
    """
    shell = ["/bin/sh", "-c", f"cd {_FOLDER} && {{ {command}\n}}"]
    try:
        async with asyncio.timeout(_COMMAND_SECONDS):
            status, said = await asyncio.to_thread(engine.run_inside, container.number, shell, env=env, patient=True)
    except TimeoutError:
        raise SandboxStartFailed(f"the set-up command {command!r} took more than {_COMMAND_SECONDS:g} s") from None
    if status != 0:
        words = " | ".join(said[-_LAST_CHARACTERS:].split("\n")).strip(" |")
        raise SandboxStartFailed(
            f"the set-up command {command!r} ended with status {status}: {words or 'it said nothing'}"
        )


def _python(text: str) -> list[str]:
    return ["python3", "-I", "-S", "-c", text]


@contextlib.asynccontextmanager
async def only_one() -> AsyncGenerator[None]:
    """Let the other runs of this user wait: they would make the same image."""
    home = user_cache_path("branchwise", ensure_exists=True)
    with (home / "setup.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
