"""Environments and their supply, on top of any kind of sandbox that runs the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from ..core.errors import SandboxError, SandboxLost, UsageError
from ..core.protocols import Capability
from ..core.types import ExecResult
from .guest import Guest
from .manifest import printable
from .pool import Pool
from .store import Store


class WorkerEnvironment:
    """A branch's live state in one sandbox; implements `core.protocols.Environment`.

    State is the work space's files. Programs do not outlive the call that started them, and scratch space (`/tmp`) is
    emptied by `restore`, so that files are all there is.
    """

    capability: Capability = "forkable"

    def __init__(self, guest: Guest, supply: WorkerSandboxes) -> None:
        self._guest: Guest | None = guest
        self._supply = supply
        self.isolation = supply.isolation

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes = b"",
        timeout_seconds: float = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        output_limit_bytes: int = 1 << 20,
    ) -> ExecResult:
        return await self._live().exec(
            command,
            stdin=stdin,
            timeout_seconds=timeout_seconds,
            cwd=cwd,
            env=env or {},
            output_limit_bytes=output_limit_bytes,
        )

    async def read(self, path: str, *, limit_bytes: int = 1 << 24) -> bytes:
        return await self._live().read(path, limit_bytes=limit_bytes)

    async def write(self, path: str, content: bytes) -> None:
        await self._live().write(path, content)

    async def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it.

        Raises:
            UsageError: `path` leads out of the work space.
        """
        await self._live().remove(path)

    async def list(self) -> list[str]:
        manifest = await self._live().manifest()
        return sorted(printable(path) for path, entry in manifest.items() if entry.kind != "d")

    async def snapshot(self) -> str:
        return await self._live().save(self._supply.store)

    async def restore(self, ref: str) -> None:
        manifest = self._supply.store.manifest(ref)
        guest = self._live()
        try:
            await guest.load(manifest, self._supply.store)
        except OSError:
            # The guest has made something that cannot be cleared away. A fresh sandbox can be given the state.
            self._guest = None
            await self._supply.pool.discard(guest)
            self._guest = await self._supply.fresh(ref)

    async def fork(self) -> WorkerEnvironment:
        return await self._supply.open(await self.snapshot())

    async def close(self) -> None:
        guest, self._guest = self._guest, None
        if guest is not None:
            self._supply.pool.give_back(guest)

    def _live(self) -> Guest:
        if self._guest is None:
            raise UsageError("this environment is closed; open another one")
        return self._guest


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
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.isolation = isolation
        self.store = store
        self.pool = Pool(make, max_idle=max_idle)
        self._workspace_bytes = workspace_bytes
        self._on_close = on_close

    async def open(self, ref: str | None = None) -> WorkerEnvironment:
        return WorkerEnvironment(await self.fresh(self.store.empty_ref if ref is None else ref), self)

    async def fresh(self, ref: str) -> Guest:
        """Return a lent guest whose work space is in the state `ref`.

        A used guest that cannot be brought there is replaced by another, a new one in the end.

        Raises:
            SandboxStartFailed: none could be started.
            SandboxError: the state does not fit into a sandbox.
        """
        manifest = self.store.manifest(ref)
        trouble: Exception | None = None
        for _ in range(3):
            guest = await self.pool.take()
            try:
                await guest.load(manifest, self.store)
            except (OSError, SandboxLost) as error:
                trouble = error
                await self.pool.discard(guest)
            except BaseException:
                await self.pool.discard(guest)
                raise
            else:
                return guest
        raise SandboxError(f"no sandbox could be brought into the state {ref}: {trouble}") from trouble

    async def keep(self, folder: Path) -> str:
        return await asyncio.to_thread(self.store.keep, folder, limit_bytes=self._workspace_bytes)

    def diff(self, old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
        return self.store.diff(old, new)

    async def aclose(self) -> None:
        await self.pool.aclose()
        if self._on_close is not None:
            on_close, self._on_close = self._on_close, None
            await on_close()
