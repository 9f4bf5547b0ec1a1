"""Programs on this machine as it is, for those who say so: no isolation, only order."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..core.errors import OutputLimitExceeded, UsageError
from ..core.protocols import Capability
from ..core.types import Command, ExecResult, StateCost
from .door import own_place, reap_doors
from .host_files import write_tree
from .host_program import HostProgram
from .launch import SandboxLimits
from .manifest import printable
from .secret import CleanProcess, Secrets
from .store import Store

_log = logging.getLogger(__name__)


class Unprotected(SandboxLimits):
    """Runs programs as the present user, on this machine, with its network and all its files: NO sandbox.

    For machines where neither an engine nor namespaces can be had, and for code that you would run yourself. Work
    spaces are folders, states are kept and forked, the time and output of programs are limited and their processes ended, as
    in the other kinds; memory, network and the rest of the machine are open.
    """

    code_may_do_anything: Literal[True] = Field(description="to be said, or there are no such sandboxes")

    @property
    def isolation(self) -> str:
        """What keeps a guest in, in words."""
        return "NONE: programs run as you, on this machine, with your files and your network"

    async def start(self, run_id: str, store: Path) -> HostSandboxes:
        """Return a supply of work spaces; `run_id` is not needed.

        Raises:
            UsageError: a network policy is asked for, which nothing here could enforce.
        """
        if self.network != "none":
            raise UsageError(
                "network=Allow(...) cannot be enforced without a sandbox; leave it out, or use Docker or Local"
            )
        await asyncio.to_thread(reap_doors)
        _log.warning("programs of run %s run without a sandbox: they may do anything that you may do", run_id)
        return HostSandboxes(self, await asyncio.to_thread(Store, store), self.given_secrets())


class HostSandboxes:
    """Implements `core.protocols.Sandboxes` with folders."""

    def __init__(self, wanted: Unprotected, store: Store, secrets: Secrets) -> None:
        self.isolation = wanted.isolation
        self.wanted = wanted
        self.store = store
        self.secrets = secrets
        self._open: set[HostEnvironment] = set()

    @property
    def snapshots(self) -> Store:
        """Where the states are kept."""
        return self.store

    async def open(self, ref: str | None = None) -> HostEnvironment:
        environment = HostEnvironment(self)
        try:
            await environment.restore(self.store.empty_ref if ref is None else ref)
        except BaseException:
            await environment.close()
            raise
        self._open.add(environment)
        return environment

    async def keep(self, folder: Path) -> str:
        return await asyncio.to_thread(self.store.keep, folder, limit_bytes=self.wanted.workspace_bytes)

    def diff(self, old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
        return self.store.diff(old, new)

    def forget(self, environment: HostEnvironment) -> None:
        """Take note that an environment is closed."""
        self._open.discard(environment)

    async def aclose(self) -> None:
        for environment in list(self._open):
            await environment.close()


class HostEnvironment:
    """Implements `core.protocols.Environment` with a folder of this machine."""

    capability: Capability = "forkable"

    def __init__(self, supply: HostSandboxes) -> None:
        self.isolation = supply.isolation
        self.cost = StateCost()
        self._supply = supply
        self._place = own_place()
        self._root = self._place / "workspace"
        self._scratch = self._place / "tmp"
        self._closed = False
        self._programs: set[HostProgram] = set()

    async def exec(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout_seconds: float = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        output_limit_bytes: int = 1 << 20,
    ) -> ExecResult:
        async with self._running(command, timeout_seconds, cwd, env, output_limit_bytes) as program:
            feeding = asyncio.create_task(_feed(program, stdin))
            try:
                return self._supply.secrets.cleaned(await program.wait())
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    @asynccontextmanager
    async def start(
        self,
        command: Command,
        *,
        timeout_seconds: float = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        output_limit_bytes: int = 1 << 20,
    ) -> AsyncGenerator[CleanProcess]:
        async with self._running(command, timeout_seconds, cwd, env, output_limit_bytes) as program:
            yield CleanProcess(program, self._supply.secrets)

    async def cell(self, code: str, *, timeout_seconds: float = 60.0, output_limit_bytes: int = 1 << 20) -> ExecResult:
        """Refuse: what forks and brings back sessions is a sandbox's worker.

        Raises:
            UsageError: always.
        """
        del code, timeout_seconds, output_limit_bytes
        raise UsageError("a Python session needs a sandbox; use sandbox=bw.sandboxes.Docker() or Local()")

    @asynccontextmanager
    async def _running(
        self, command: Command, timeout_seconds: float, cwd: str, env: Mapping[str, str] | None, limit_bytes: int
    ) -> AsyncGenerator[HostProgram]:
        variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._scratch),
            "TMPDIR": str(self._scratch),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            **self._supply.wanted.env,
            **self._supply.secrets.environment,
            **(env or {}),
        }
        program = await HostProgram.start(
            command,
            cwd=str(self._inner(cwd)),
            env=variables,
            file_bytes=self._supply.wanted.workspace_bytes,
            timeout_seconds=timeout_seconds,
            limit_bytes=limit_bytes,
        )
        self._programs.add(program)
        try:
            yield program
        finally:
            self._programs.discard(program)
            await asyncio.shield(program.end())

    async def read(self, path: str, *, limit_bytes: int = 1 << 24) -> bytes:
        inner = self._inner(path)
        size = inner.stat().st_size
        if size > limit_bytes:
            raise OutputLimitExceeded(
                f"{path!r} has {size} bytes, more than limit_bytes={limit_bytes}; read a part of it"
            )
        return self._supply.secrets.redact(inner.read_bytes())

    async def write(self, path: str, content: bytes) -> None:
        inner = self._inner(path).relative_to(self._root.resolve())
        await asyncio.to_thread(write_tree, self._root, {str(inner): content})

    async def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        inner = self._inner(path)
        if inner.is_dir() and not inner.is_symlink():
            await asyncio.to_thread(shutil.rmtree, inner)
        else:
            inner.unlink(missing_ok=True)

    async def list(self) -> list[str]:
        manifest = self._supply.store.manifest(await self.snapshot())
        return sorted(printable(path) for path, entry in manifest.items() if entry.kind != "d")

    async def snapshot(self) -> str:
        self._live()
        begun = time.monotonic()
        if self._supply.secrets:
            for path in self._root.rglob("*"):
                if path.is_symlink() or not path.is_file():
                    continue
                self._supply.secrets.refuse([str(path.relative_to(self._root))], [path.read_bytes()])
        limit = self._supply.wanted.workspace_bytes
        ref = await asyncio.to_thread(self._supply.store.keep, self._root, limit_bytes=limit)
        self.cost += StateCost(time.monotonic() - begun, len(self._supply.store.manifest(ref)))
        return ref

    async def restore(self, ref: str) -> None:
        self._live()
        begun = time.monotonic()
        manifest = self._supply.store.manifest(ref)
        for folder in (self._root, self._scratch):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            folder.mkdir()
        await asyncio.to_thread(self._supply.store.materialise, ref, self._root)
        self.cost += StateCost(time.monotonic() - begun, len(manifest))

    async def fork(self) -> HostEnvironment:
        return await self._supply.open(await self.snapshot())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._supply.forget(self)
        for program in list(self._programs):
            await program.end()
        await asyncio.to_thread(shutil.rmtree, self._place, ignore_errors=True)

    def _live(self) -> None:
        if self._closed:
            raise UsageError("this environment is closed; open another one")

    def _inner(self, path: str) -> Path:
        """Return where a path of the work space really is; no link leads out."""
        self._live()
        real = (self._root / path).resolve()
        if "\0" in path or not path or not real.is_relative_to(self._root.resolve()):
            raise UsageError(f"{path!r} leads out of the work space; use a relative path, such as 'src/main.py'")
        return real


async def _feed(program: HostProgram, data: bytes) -> None:
    await program.send(data)
    await program.close_input()
