"""Sandboxes without an engine, in namespaces by bubblewrap: for machines where no Docker engine can run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import secrets
import shutil
import signal
import tarfile
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import SandboxStartFailed
from .companions import AccompaniedTransport
from .environment import WorkerSandboxes
from .gate import Pair, open_gate, proxy_environment
from .guest import Guest
from .launch import (
    GUEST_UID,
    SCRATCH,
    SHARED_MEMORY,
    WORKSPACE,
    SandboxLimits,
    WorkerSettings,
    open_supply,
    start_guest,
    worker_command,
)
from .rootfs import pack
from .rootfs_host import build, rootfs_home, rootfs_name
from .syscalls import program

_LAST_WORDS_BYTES = 2000
_LAST_WORDS_SECONDS = 1.0
_SCRATCH = (SCRATCH, SHARED_MEMORY)
_DYNAMIC_UIDS = range(61184, 65520)
"""Uids that Linux distributions set aside for services without a user of their own."""


class Local(SandboxLimits):
    """Sandboxes as namespaces of this machine's kernel, made by bubblewrap (`bwrap`). Needs no engine and no root.

    Contains accidents, not attacks: total memory and processor time are not limited, and only a list of system calls is
    refused. Prefer `Docker` wherever an engine can run.
    """

    @property
    def isolation(self) -> str:
        """What keeps a guest in, in words."""
        return (
            f"bubblewrap: {self.network_words}, own file system and processes, unprivileged user, risky system calls refused; "
            "memory and processor time are limited per process only and the host's kernel is shared: this contains accidents, "
            "not attacks"
        )

    async def start(self, run_id: str, store: Path) -> WorkerSandboxes:
        """Return a supply of sandboxes whose snapshots live in the folder `store`; one is ready when this returns.

        Raises:
            SandboxStartFailed: bubblewrap is missing or may not make namespaces here; the message says what to do.
        """
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise SandboxStartFailed(
                "bubblewrap is not installed (no 'bwrap' on PATH): 'apt-get install bubblewrap', or start a Docker engine "
                "(scripts/docker-engine.sh) and use sandbox=bw.sandboxes.Docker()"
            )
        secrets = self.given_secrets()
        root = await asyncio.to_thread(ensure_rootfs, self.packages)
        egress = self.way_out()
        env = {**(proxy_environment() if egress is not None else {}), **self.env}
        told = WorkerSettings(scratch=_SCRATCH, guest=None, limits=self._rlimits(), env=env)

        async def make() -> Guest:
            pair = Pair() if egress is not None else None
            try:
                transport = AccompaniedTransport(await _start([bwrap, *self._arguments(root, run_id, pair)], pair))
                place = "a bubblewrap sandbox (are user namespaces allowed here? see 'sysctl kernel.unprivileged_userns_clone')"
                guest = await start_guest(transport, told, workspace_bytes=self.workspace_bytes, place=place)
                if pair is not None and egress is not None:
                    await open_gate(pair.receive, egress, guest, transport)
            finally:
                if pair is not None:
                    pair.close()
            return guest

        async def on_close() -> None:
            if egress is not None:
                egress.close()

        return await open_supply(make, self, store=store, isolation=self.isolation, on_close=on_close, secrets=secrets)

    def _arguments(self, root: Path, run_id: str, pair: Pair | None) -> list[str]:
        """Return bwrap's arguments; the filter's file descriptor is put in where they say FILTER."""
        arguments = "--unshare-all --unshare-user --die-with-parent --new-session --as-pid-1 --clearenv --cap-drop ALL"
        mounts = ["--ro-bind", str(root), "/", "--proc", "/proc"]
        mounts += ["--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]
        for path, size in ((WORKSPACE, self.workspace_bytes), *((path, self.scratch_bytes) for path in _SCRATCH)):
            mounts += ["--perms", "1777", "--size", str(size), "--tmpfs", path]
        return [
            *arguments.split(),
            *("--uid", str(GUEST_UID), "--gid", str(GUEST_UID), "--hostname", "sandbox"),
            *mounts,
            # Devices stay usable, but nothing can be left among them for the next one.
            *("--remount-ro", "/dev", "--chdir", "/", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin"),
            *("--seccomp", "FILTER", "--"),
            *worker_command(run_id, prelude=pair.prelude if pair is not None else ""),
        ]

    def _rlimits(self) -> dict[str, int]:
        limits = {
            "CORE": 1,  # 0 would not keep the host's handler of crashes from being run; 1 does
            "NOFILE": 1024,
            "FSIZE": self.workspace_bytes,
            "DATA": (self.memory_mb << 20) - self.workspace_bytes,
        }
        if os.geteuid() == 0 or _counts_processes_per_namespace():
            limits["NPROC"] = self.pids
        return limits


def _counts_processes_per_namespace() -> bool:
    """Whether RLIMIT_NPROC counts the sandbox's processes (Linux 5.14) and not all that the user has."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return version is not None and (int(version[1]), int(version[2])) >= (5, 14)


def ensure_rootfs(packages: Sequence[str]) -> Path:
    """Return a folder with the file system that sandboxes see, made on first use.

    Raises:
        SandboxStartFailed: it cannot be made from this machine.
    """
    home = rootfs_home()
    root = home / rootfs_name(packages)
    if root.is_dir():
        return root
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=home) as folder:
            archive = Path(folder) / "root.tar"
            pack(build(packages, Path(folder)), archive)
            made = Path(folder) / "root"
            with tarfile.open(archive) as tar:
                tar.extractall(made, filter="fully_trusted", numeric_owner=True)  # noqa: S202  # made above
            made.chmod(0o755)
            with contextlib.suppress(FileExistsError):  # somebody else was faster: theirs is the same
                _move(made, root)
    except OSError as error:
        raise SandboxStartFailed(f"the sandboxes' file system {str(root)!r} could not be made: {error}") from error
    return root


def _move(made: Path, root: Path) -> None:
    try:
        made.rename(root)
    except OSError as error:
        if root.is_dir():
            raise FileExistsError(str(root)) from error
        raise


async def _start(command: Sequence[str], pair: Pair | None) -> PipeTransport:
    """Start a sandbox that waits for a worker's program on its standard input."""
    read, write = os.pipe()
    try:
        os.set_blocking(write, False)
        os.write(write, program())  # a few hundred bytes: a pipe holds them
        os.close(write)
        arguments = [str(read) if part == "FILTER" else part for part in command]
        # bubblewrap that root starts keeps root's powers over the host's kernel settings, whatever uid it shows inside:
        # it must not be root in the first place. A uid of its own also keeps one sandbox from another.
        uid = secrets.choice(_DYNAMIC_UIDS) if os.geteuid() == 0 else None
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            pass_fds=[read, *([pair.theirs.fileno()] if pair is not None else [])],
            cwd="/",
            env={},
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
            start_new_session=True,
            limit=1 << 20,
        )
    except OSError as error:
        raise SandboxStartFailed(f"bubblewrap could not be started: {error}") from error
    finally:
        os.close(read)
    return PipeTransport(process)


class PipeTransport:
    """A worker at the end of pipes. It is process 1 of its namespace: when it ends, the kernel ends everything in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last_words = b""
        self._listener = asyncio.create_task(self._listen(), name="sandbox-stderr")

    async def _listen(self) -> None:
        assert self._process.stderr is not None  # asked for at start
        while data := await self._process.stderr.read(4096):
            self._last_words = (self._last_words + data)[-_LAST_WORDS_BYTES:]

    async def read(self) -> bytes:
        assert self._process.stdout is not None  # asked for at start
        data = await self._process.stdout.read(1 << 20)
        if not data:
            await self._listener  # what it said last explains why
        return data

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None  # asked for at start
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def kill(self) -> None:
        assert self._process.stdin is not None  # asked for at start
        # Killed early, bubblewrap leaves a child that has not asked yet to die with it. That one is still of its process
        # group, or has become the worker already, which ends with its input.
        self._process.stdin.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await asyncio.wait({self._listener}, timeout=_LAST_WORDS_SECONDS)
        self._listener.cancel()

    def diagnosis(self) -> str:
        return self._last_words.decode("utf-8", "replace").strip()
