"""Environments and their supply, on top of any kind of sandbox that runs the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from ..core.errors import SandboxError, SandboxLost, UsageError
from ..core.protocols import Capability, Process
from ..core.types import Command, ExecResult, StateCost
from .governor import Governor
from .guest import Guest
from .history import visible
from .manifest import printable
from .notebook import NoSession, Notebook
from .pool import Pool
from .secret import CleanProcess, Secrets
from .store import Store
from .workspace import WorkSpace

NO_COST = StateCost()


class WorkerEnvironment:
    """A branch's live state in a sandbox; implements `core.protocols.Environment`.

    State is the work space's files. Programs do not outlive the call that started them, and scratch space (`/tmp`) is
    empty after `restore`, so that files are all there is.

    A fork gets its place when it is first used: beside its parent, where the sandbox has branches and is not at work, else
    in a sandbox of its own.
    """

    def __init__(
        self, supply: WorkerSandboxes, space: WorkSpace | None, *, ref: str = "", near: Guest | None = None
    ) -> None:
        self.isolation = supply.isolation
        self.capability: Capability = supply.capability
        self._supply = supply
        self._space = space
        self._ref = ref
        self._near = near
        self._closed = False

    @property
    def cost(self) -> StateCost:
        """What keeping states and bringing them back has cost here."""
        return NO_COST if self._space is None else self._space.cost

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
        space = await self._live()
        secrets = self._supply.secrets
        result = await space.exec(
            command,
            stdin=stdin,
            timeout_seconds=timeout_seconds,
            cwd=cwd,
            env={**secrets.environment, **(env or {})},
            output_limit_bytes=output_limit_bytes,
        )
        return secrets.cleaned(result)

    @asynccontextmanager
    async def start(
        self,
        command: Command,
        *,
        timeout_seconds: float = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        output_limit_bytes: int = 1 << 20,
    ) -> AsyncGenerator[Process]:
        space = await self._live()
        secrets = self._supply.secrets
        async with space.start(
            command,
            timeout_seconds=timeout_seconds,
            cwd=cwd,
            env={**secrets.environment, **(env or {})},
            output_limit_bytes=output_limit_bytes,
        ) as process:
            yield CleanProcess(process, secrets) if secrets else process

    async def cell(self, code: str, *, timeout_seconds: float = 60.0, output_limit_bytes: int = 1 << 20) -> ExecResult:
        try:
            return await self._cell(code, timeout_seconds, output_limit_bytes)
        except NoSession:
            await self._move(await self.snapshot())
            return await self._cell(code, timeout_seconds, output_limit_bytes)

    async def _cell(self, code: str, timeout_seconds: float, output_limit_bytes: int) -> ExecResult:
        notebook = Notebook(await self._live(), self._supply.store, self._supply.secrets)
        return await notebook.run(code, timeout_seconds=timeout_seconds, output_limit_bytes=output_limit_bytes)

    async def _move(self, ref: str) -> None:
        """Go on in another sandbox, in the state `ref`."""
        space, self._space = await self._live(), None
        await self._supply.discard(space)
        self._space = await self._supply.place(ref)
        self._space.cost += space.cost

    async def read(self, path: str, *, limit_bytes: int = 1 << 24) -> bytes:
        return self._supply.secrets.redact(await (await self._live()).read(path, limit_bytes=limit_bytes))

    async def write(self, path: str, content: bytes) -> None:
        await (await self._live()).write(path, content)

    async def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it.

        Raises:
            UsageError: `path` leads out of the work space.
        """
        await (await self._live()).remove(path)

    async def list(self) -> list[str]:
        manifest = await (await self._live()).manifest(self._supply.store)
        return sorted(printable(path) for path, entry in visible(manifest).items() if entry.kind != "d")

    async def snapshot(self) -> str:
        return await (await self._live()).save(self._supply.store, self._supply.secrets)

    async def restore(self, ref: str) -> None:
        self._supply.store.manifest(ref)  # one that does not exist is the caller's mistake and changes nothing
        space = await self._live()
        if not space.guest.single_use:
            try:
                self._space = await space.restore(ref, self._supply.store)
            except OSError:
                pass  # the guest has made something that cannot be cleared away
            else:
                return
        await self._move(ref)  # a fresh sandbox can be given the state

    async def fork(self) -> WorkerEnvironment:
        space = await self._live()
        return self._supply.beside(space.guest, await space.save(self._supply.store, self._supply.secrets))

    async def close(self) -> None:
        self._closed = True
        space, self._space = self._space, None
        near, self._near = self._near, None
        if space is not None:
            await self._supply.release(space)
        if near is not None:
            self._supply.leave(near)

    async def _live(self) -> WorkSpace:
        if self._closed:
            raise UsageError("this environment is closed; open another one")
        if self._space is None:
            near, self._near = self._near, None
            self._space = await self._supply.place(self._ref, near)
        return self._space


class WorkerSandboxes:
    """A supply of environments over a warm pool; implements `core.protocols.Sandboxes`."""

    def __init__(
        self,
        make: Callable[[], Awaitable[Guest]],
        *,
        store: Store,
        isolation: str,
        workspace_bytes: int,
        max_idle: int,
        memory_bytes: int,
        on_close: Callable[[], Awaitable[None]] | None = None,
        secrets: Secrets | None = None,
        capability: Capability = "forkable",
        governor: Governor | None = None,
    ) -> None:
        self.isolation = isolation
        self.capability: Capability = capability
        self.secrets = secrets or Secrets({})
        self.store = store
        self.pool = Pool(make, max_idle=max_idle, memory_bytes=memory_bytes, governor=governor)
        self._workspace_bytes = workspace_bytes
        self._on_close = on_close

    @property
    def snapshots(self) -> Store:
        """Where the states are kept."""
        return self.store

    async def open(self, ref: str | None = None) -> WorkerEnvironment:
        return WorkerEnvironment(self, await self.place(self.store.empty_ref if ref is None else ref))

    def beside(self, guest: Guest, ref: str) -> WorkerEnvironment:
        """Return an environment in the state `ref` that goes where `guest` is, if it can when it is first used."""
        if not guest.has_branches:
            return WorkerEnvironment(self, None, ref=ref)
        guest.holders += 1
        return WorkerEnvironment(self, None, ref=ref, near=guest)

    async def place(self, ref: str, near: Guest | None = None) -> WorkSpace:
        """Return a work space in the state `ref`, in a guest that is lent until `release`.

        A used guest that cannot be brought there is replaced by another, a new one in the end.

        Args:
            ref: the state.
            near: a guest that the caller holds; used if it has the state at hand and is not at work.

        Raises:
            SandboxStartFailed: none could be started.
            SandboxError: the state does not fit into a sandbox.
        """
        self.store.manifest(ref)
        if near is not None:
            if ref in near.states and not near.busy and not near.lost:
                return await WorkSpace.open(near, ref, self.store)
            self.leave(near)
        trouble: Exception | None = None
        for _ in range(3):
            guest = await self.pool.take(ref)
            guest.holders = 1
            try:
                return await WorkSpace.open(guest, ref, self.store)
            except (OSError, SandboxLost) as error:
                trouble = error
                await self.pool.discard(guest)
            except BaseException:
                await self.pool.discard(guest)
                raise
        raise SandboxError(f"no sandbox could be brought into the state {ref}: {trouble}") from trouble

    async def release(self, space: WorkSpace) -> None:
        """Give up a work space; its guest goes back to the pool with the last one."""
        try:
            await space.close()
        except (SandboxLost, OSError):
            space.guest.channel.fail("a branch of it could not be removed")
        finally:
            self.leave(space.guest)

    async def discard(self, space: WorkSpace) -> None:
        """Give up a work space and the guest that it is in."""
        space.guest.holders -= 1
        await self.pool.discard(space.guest)

    def leave(self, guest: Guest) -> None:
        """Give up a place in a guest."""
        guest.holders -= 1
        if guest.holders <= 0:
            self.pool.give_back(guest)

    async def keep(self, folder: Path) -> str:
        return await asyncio.to_thread(self.store.keep, folder, limit_bytes=self._workspace_bytes)

    def diff(self, old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
        return self.store.diff(old, new)

    async def aclose(self) -> None:
        await self.pool.aclose()
        if self._on_close is not None:
            on_close, self._on_close = self._on_close, None
            await on_close()
