"""A sandbox as the host sees it: the worker's operations with types, limits and errors."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..core.errors import OutputLimitExceeded, SandboxError, SandboxLost, UsageError
from ..core.types import ExecResult
from . import manifest as manifests
from .channel import Channel
from .manifest import Entry, Manifest, total_bytes
from .store import Store

P = ParamSpec("P")
T = TypeVar("T")

PIECE_BYTES = 4 << 20
"""No frame carries more content than this, so that the worker's memory stays small beside the guest's."""
_ASIDE_BYTES = 256 << 10
_OPERATION_SECONDS = 60.0
_GRACE_SECONDS = 20.0
"""What a worker gets on top of a program's own time: to be scheduled, kill the tree and send the output."""
_CANCEL_SECONDS = 15.0
_OUTPUT_MOST_BYTES = 32 << 20
_INPUT_MOST_BYTES = 32 << 20
"""What a worker can hold beside a full work space."""


class Guest:
    """One sandbox: its work space and the one program that may run in it at a time."""

    def __init__(self, channel: Channel, *, workspace: str, workspace_bytes: int) -> None:
        self._channel = channel
        self._workspace = workspace
        self._workspace_bytes = workspace_bytes

    @property
    def lost(self) -> bool:
        """Whether the sandbox can no longer be used."""
        return self._channel.lost is not None

    async def exec(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes,
        timeout_seconds: float,
        cwd: str,
        env: Mapping[str, str],
        output_limit_bytes: int,
    ) -> ExecResult:
        """Run a program; see `core.protocols.Environment.exec`."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(part) for part in command]
        _check_command(argv, stdin, timeout_seconds, output_limit_bytes, env)
        fields = {
            "argv": argv,
            "timeout": timeout_seconds,
            "limit": output_limit_bytes,
            "cwd": self._inner(cwd),
            "env": dict(env),
        }
        number = self._channel.new_id()
        try:
            reply, output = await self._call(
                "exec", fields, stdin, path=cwd, timeout_seconds=timeout_seconds + _GRACE_SECONDS, request_id=number
            )
        except asyncio.CancelledError:
            await _finish(self._cancel(number))
            raise
        split = reply["stdout"]
        return ExecResult(
            exit_code=reply["code"],
            stdout=output[:split].decode("utf-8", "replace"),
            stderr=output[split:].decode("utf-8", "replace"),
            timed_out=reply["timed_out"],
            truncated=reply["truncated"],
            seconds=reply["seconds"],
        )

    async def _cancel(self, number: int) -> None:
        """Have the worker kill what runs, and wait until it says that it has."""
        try:
            await self._channel.request("cancel", {"target": number}, timeout_seconds=_CANCEL_SECONDS)
        except SandboxLost:
            await self.kill()

    async def read(self, path: str, *, limit_bytes: int) -> bytes:
        """Return a file's content; see `core.protocols.Environment.read`."""
        inner = self._inner(path)
        content = b""
        while True:
            fields = {"path": inner, "offset": len(content), "size": PIECE_BYTES}
            reply, piece = await self._call("read", fields, path=path)
            if reply["size"] > limit_bytes:
                raise OutputLimitExceeded(
                    f"{path!r} has {reply['size']} bytes, more than the limit of {limit_bytes}; "
                    "raise limit_bytes or read a part of it with a command such as head"
                )
            content += piece
            if not piece or len(content) >= reply["size"]:
                return content

    async def write(self, path: str, content: bytes, *, mode: int | None = None) -> None:
        """Write a file, making its folders; see `core.protocols.Environment.write`."""
        inner = self._inner(path)
        for start in range(0, len(content) or 1, PIECE_BYTES):
            fields = {"path": inner, "offset": start, "total": len(content), "mode": mode}
            await self._call("write", fields, content[start : start + PIECE_BYTES], path=path)

    async def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it."""
        await self._call("remove", {"path": self._inner(path)}, path=path)

    async def manifest(self) -> Manifest:
        """Return the manifest of the present work space."""
        _, body = await self._call("manifest", {})
        return self._parse(body)

    async def save(self, store: Store) -> str:
        """Keep the present state in `store` and return its address; only contents that it has not are moved.

        Raises:
            SandboxLost: the worker's account of the files does not agree with their contents.
        """
        manifest = await self.manifest()
        missing = {
            entry.content: (path, entry)
            for path, entry in manifest.items()
            if entry.kind == "f" and not store.has(entry.content)
        }
        for batch in _batches(list(missing.values())):
            contents = await self._contents(batch)
            wrong = await _aside(_keep, store, batch, contents)
            if wrong is not None:
                self._channel.fail(f"the content of {wrong!r} is not what its manifest says")
                raise SandboxLost(f"the sandbox gave a content of {wrong!r} that differs from its own manifest")
        return store.add(manifest)

    async def _contents(self, batch: Sequence[tuple[str, Entry]]) -> list[bytes]:
        if len(batch) == 1:
            path, entry = batch[0]
            return [await self.read(path, limit_bytes=entry.size_bytes)]
        fields = {"paths": [path for path, _ in batch], "limit": PIECE_BYTES}
        reply, body = await self._call("get", fields)
        contents: list[bytes] = []
        start = 0
        for size in reply["sizes"]:
            contents.append(body[start : start + size])
            start += size
        return contents

    async def load(self, manifest: Manifest, store: Store) -> None:
        """Make the work space that of `manifest`; only contents that it has not are moved. Clears scratch space too."""
        body = json.dumps(manifests.rows(manifest)).encode("ascii")
        _, answer = await self._call("apply", {}, body)
        missing = [(path, manifest[path]) for path in json.loads(answer)]
        for batch in _batches(missing):
            contents = await _aside(_kept, store, batch)
            if len(batch) == 1:
                await self.write(batch[0][0], contents[0], mode=batch[0][1].mode)
            else:
                files = [[path, entry.mode, entry.size_bytes] for path, entry in batch]
                await self._call("put", {"files": files}, b"".join(contents))

    async def kill(self) -> None:
        """End the sandbox and remove it. Idempotent."""
        await self._channel.close()

    def _inner(self, path: str) -> str:
        """Return `path` relative to the work space, from whose outside nothing can be named."""
        path = os.fspath(path)
        prefix = self._workspace + "/"
        inner = path.removeprefix(prefix) if (path + "/").startswith(prefix) and path != self._workspace else path
        if path == self._workspace:
            inner = "."
        if not inner or inner.startswith("/") or "\0" in inner:
            raise self._outside(path)
        return inner

    def _outside(self, path: str) -> UsageError:
        return UsageError(
            f"{path!r} leads out of the sandbox's work space; use a path relative to {self._workspace}, "
            "such as 'src/main.py'"
        )

    def _parse(self, body: bytes) -> Manifest:
        try:
            return manifests.parse(json.loads(body))
        except (SandboxError, ValueError) as error:
            self._channel.fail(str(error))
            raise SandboxLost(f"the sandbox's worker sent no manifest: {error}") from error

    async def _call(
        self,
        op: str,
        fields: dict[str, Any],
        body: bytes = b"",
        *,
        path: str = ".",
        timeout_seconds: float = _OPERATION_SECONDS,
        request_id: int | None = None,
    ) -> tuple[dict[str, Any], bytes]:
        """Make a request and turn the worker's refusal into an exception."""
        reply, content = await self._channel.request(
            op, fields, body, timeout_seconds=timeout_seconds, request_id=request_id
        )
        kind = reply.get("error")
        if kind is None:
            return reply, content
        if kind == "outside":
            raise self._outside(path)
        number = int(reply.get("errno") or 0)
        if number in {errno.ENOSPC, errno.EDQUOT}:
            raise OutputLimitExceeded(
                f"{path!r} does not fit into the sandbox's work space of {self._workspace_bytes >> 20} MiB; "
                "raise workspace_mb or remove files"
            )
        if number == errno.ELOOP:
            raise self._outside(path)
        # OSError picks its own subclass: FileNotFoundError, IsADirectoryError and so on.
        raise OSError(number, reply.get("message", "unknown error"), path)


def _batches(items: Sequence[tuple[str, Entry]]) -> Iterator[list[tuple[str, Entry]]]:
    """Group items so that no group's contents exceed one piece, unless it is a single item."""
    batch: list[tuple[str, Entry]] = []
    room = PIECE_BYTES
    for item in items:
        if batch and item[1].size_bytes > room:
            yield batch
            batch, room = [], PIECE_BYTES
        batch.append(item)
        room -= item[1].size_bytes
    if batch:
        yield batch


def _keep(store: Store, batch: Sequence[tuple[str, Entry]], contents: Sequence[bytes]) -> str | None:
    """Keep contents; return the path of the first that is not what its entry says, None where all are."""
    for (path, entry), content in zip(batch, contents, strict=True):
        if store.put(content) != entry.content:
            return path
    return None


def _kept(store: Store, batch: Sequence[tuple[str, Entry]]) -> list[bytes]:
    return [store.get(entry.content) for _, entry in batch]


async def _aside(
    work: Callable[Concatenate[Store, Sequence[tuple[str, Entry]], P], T],
    store: Store,
    batch: Sequence[tuple[str, Entry]],
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    """Call `work`, in a thread where there is enough to hash that others would have to wait."""
    if total_bytes(entry for _, entry in batch) < _ASIDE_BYTES:
        return work(store, batch, *arguments, **named)
    return await asyncio.to_thread(work, store, batch, *arguments, **named)


def _check_command(
    argv: Sequence[str], stdin: bytes, timeout_seconds: float, limit_bytes: int, env: Mapping[str, str]
) -> None:
    if not argv:
        raise UsageError("the command is empty; give a program and its arguments, or a line for the shell")
    if any("\0" in part for part in (*argv, *env, *env.values())):
        raise UsageError("a command and its environment cannot hold a NUL character; pass such data by stdin or a file")
    if any(not name or "=" in name for name in env):
        raise UsageError(f"names of environment variables cannot be empty or hold '=': {sorted(env)!r}")
    if not timeout_seconds > 0:
        raise UsageError(f"timeout_seconds={timeout_seconds!r} must be above 0")
    if not 0 <= limit_bytes <= _OUTPUT_MOST_BYTES:
        raise UsageError(f"output_limit_bytes={limit_bytes!r} must be between 0 and {_OUTPUT_MOST_BYTES}")
    if len(stdin) > _INPUT_MOST_BYTES:
        raise UsageError(f"{len(stdin)} bytes of stdin are more than {_INPUT_MOST_BYTES}; write them to a file instead")


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end even when the caller is cancelled again meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
