"""One work space in a sandbox: programs run in it, files go in and out, its states are kept and brought back."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..core.errors import OutputLimitExceeded, SandboxLost, UsageError
from ..core.types import Command, ExecResult, Python, StateCost
from . import manifest as manifests
from .changes import is_unchanged, merged
from .conversation import Conversation
from .guest import Guest
from .manifest import Entry, Manifest, total_bytes
from .reply import count, exec_result
from .secret import Secrets
from .store import Store

P = ParamSpec("P")
T = TypeVar("T")

PIECE_BYTES = 4 << 20
"""No frame carries more content than this, so that the worker's memory stays small beside the guest's."""
_ASIDE_BYTES = 256 << 10
_GRACE_SECONDS = 20.0
"""What a worker gets on top of a program's own time: to be scheduled, kill the tree and send the output."""
_OUTPUT_MOST_BYTES = 32 << 20
_INPUT_MOST_BYTES = 32 << 20
"""What a worker can hold beside a full work space."""


class WorkSpace:
    """A branch of a sandbox's work space, or all of it where the sandbox has no branches."""

    def __init__(self, guest: Guest, number: int | None, state: str | None) -> None:
        self.guest = guest
        self.cost = StateCost()
        self._number = number
        self._state = state
        """What the branch stands on; None for the empty work space."""

    @classmethod
    async def open(cls, guest: Guest, ref: str, store: Store) -> WorkSpace:
        """Return a work space in the state `ref`.

        Raises:
            OSError, SandboxLost: the sandbox cannot be brought into that state.
            UsageError: there is no such state.
        """
        if not guest.has_branches:
            space = cls(guest, None, None)
            await space.load(ref, store)
            return space
        known = ref in guest.states
        state = ref if known else guest.latest if guest.latest in guest.states else None
        begun = time.monotonic()
        space = cls(guest, await guest.open(state), state)
        if known:
            space.cost += StateCost(time.monotonic() - begun, len(store.manifest(ref)))
        else:
            await space.load(ref, store)
            await guest.freeze(space._branch, ref)
            space._state = ref
        return space

    async def close(self) -> None:
        """Remove the branch."""
        if self._number is not None and not self.guest.lost:
            await self.guest.drop(self._number)

    @property
    def _branch(self) -> int:
        assert self._number is not None  # only asked for where there are branches
        return self._number

    # --- programs ---

    async def exec(
        self,
        command: Command,
        *,
        stdin: bytes,
        timeout_seconds: float,
        cwd: str,
        env: Mapping[str, str],
        output_limit_bytes: int,
    ) -> ExecResult:
        """Run a program; see `core.protocols.Environment.exec`."""
        fields = self._program(command, timeout_seconds, cwd, env, output_limit_bytes)
        if len(stdin) > _INPUT_MOST_BYTES:
            raise UsageError(
                f"{len(stdin)} bytes of stdin are more than {_INPUT_MOST_BYTES}; write them to a file instead"
            )
        async with self.guest.turn():
            reply, output = await self.guest.run(
                fields, stdin, path=cwd, timeout_seconds=timeout_seconds + _GRACE_SECONDS
            )
        with self.guest.reading():
            return exec_result(reply, output, most_bytes=output_limit_bytes)

    @asynccontextmanager
    async def start(
        self,
        command: Command,
        *,
        timeout_seconds: float,
        cwd: str,
        env: Mapping[str, str],
        output_limit_bytes: int,
    ) -> AsyncGenerator[Conversation]:
        """Run a program and talk to it; see `core.protocols.Environment.start`."""
        fields = {**self._program(command, timeout_seconds, cwd, env, output_limit_bytes), "talk": True}
        async with self.guest.turn():
            conversation = Conversation(self.guest, output_limit_bytes)
            running = asyncio.create_task(
                self.guest.run(
                    fields,
                    b"",
                    path=cwd,
                    timeout_seconds=timeout_seconds + _GRACE_SECONDS,
                    number=conversation.number,
                    listener=conversation.hear,
                ),
                name="sandbox-conversation",
            )
            conversation.follow(running)
            await asyncio.sleep(0)  # the task sends its request before anything is said to the program
            try:
                yield conversation
            finally:
                running.cancel()
                await asyncio.wait([running])
                if not running.cancelled():
                    running.exception()  # whoever waits has been told; nobody has to

    # --- the session ---

    async def cell(
        self, code: str, timeout_seconds: float, output_limit_bytes: int, *, env: Mapping[str, str], fresh: bool
    ) -> tuple[ExecResult, bool] | None:
        """Run a cell in the session.

        Returns:
            How it went, and whether the session is still there; None where there is no session and none may be started.
        """
        if "\0" in code:
            raise UsageError("a cell cannot hold a NUL character")
        _check([], timeout_seconds, output_limit_bytes, {})
        fields = {
            "code": code,
            "timeout": timeout_seconds,
            "limit": output_limit_bytes,
            "env": dict(env),
            "fresh": fresh,
        }
        async with self.guest.turn():
            seconds = timeout_seconds + _GRACE_SECONDS
            reply, output = await self.guest.run(
                self._fields(fields), b"", path=".", timeout_seconds=seconds, op="cell"
            )
        with self.guest.reading():
            if reply.get("gone"):
                return None
            return exec_result(reply, output, most_bytes=output_limit_bytes), bool(reply["over"])

    async def end_session(self) -> None:
        """End the session, if there is one."""
        await self._call("end", {})

    def _program(
        self, command: Command, timeout_seconds: float, cwd: str, env: Mapping[str, str], limit_bytes: int
    ) -> dict[str, Any]:
        """Return the fields of a request to run a program."""
        match command:
            case Python(code, args, keep):
                if "\0" in code:
                    raise UsageError("a Python program cannot hold a NUL character")
                what: dict[str, Any] = {"python": code, "argv": list(args), "keep": keep}
            case str():
                what = {"argv": ["/bin/sh", "-c", command]}
            case _:
                what = {"argv": [str(part) for part in command]}
                if not what["argv"]:
                    raise UsageError("the command is empty; give a program and its arguments, or a line for the shell")
        _check(what["argv"], timeout_seconds, limit_bytes, env)
        inner = self._inner(cwd)
        return self._fields(what | {"timeout": timeout_seconds, "limit": limit_bytes, "cwd": inner, "env": dict(env)})

    # --- files ---

    async def read(self, path: str, *, limit_bytes: int) -> bytes:
        """Return a file's content; see `core.protocols.Environment.read`."""
        inner = self._inner(path)
        content = b""
        while True:
            fields = {"path": inner, "offset": len(content), "size": PIECE_BYTES}
            reply, piece = await self._call("read", fields, path=path)
            with self.guest.reading():
                size = count(reply, "size")
            if size > limit_bytes:
                raise OutputLimitExceeded(
                    f"{path!r} has {size} bytes, more than the limit of {limit_bytes}; "
                    "raise limit_bytes or read a part of it with a command such as head"
                )
            content += piece
            if not piece or len(content) >= size:
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

    # --- states ---

    async def manifest(self, store: Store) -> Manifest:
        """Return the manifest of the present files.

        Raises:
            SandboxLost: the worker does not describe them.
        """
        return self._read(await self._describe(), store)

    async def _describe(self) -> bytes:
        """Have the worker describe the files, or, of a branch, what has changed since its state."""
        _, text = await self._call("manifest" if self._number is None else "changes", {})
        return text

    def _read(self, text: bytes, store: Store) -> Manifest:
        with self.guest.reading():
            if self._number is None:
                return manifests.parse(json.loads(text))
            return merged(store.manifest(store.empty_ref if self._state is None else self._state), text)

    async def save(self, store: Store, secrets: Secrets) -> str:
        """Keep the present state in `store` and return its address; only contents that it has not are moved.

        Raises:
            SandboxLost: the worker's account of the files does not agree with their contents.
            SandboxError: a file holds one of the secrets; nothing is kept.
        """
        begun = time.monotonic()
        text = await self._describe()
        if self._state is not None and is_unchanged(text) and store.holds(self._state):
            self.cost += StateCost(time.monotonic() - begun, len(store.manifest(self._state)))
            return self._state
        manifest = self._read(text, store)
        with store.saving(manifest) as missing:
            for batch in _batches(missing):
                contents = await self._contents(batch)
                secrets.refuse((path for path, _ in batch), contents)
                wrong = await _aside(_keep, store, batch, contents)
                if wrong is not None:
                    self.guest.channel.fail(f"the content of {wrong!r} is not what its manifest says")
                    raise SandboxLost(f"the sandbox gave a content of {wrong!r} that differs from its own manifest")
            ref = store.add(manifest)
        if self._number is not None and ref != self._state:
            await self.guest.freeze(self._number, ref)
            self._state = ref
        new_bytes = total_bytes(entry for _, entry in missing)
        self.cost += StateCost(time.monotonic() - begun, len(manifest), len(missing), new_bytes)
        return ref

    async def restore(self, ref: str, store: Store) -> WorkSpace:
        """Return the work space, this one or one that takes its place, in another state; scratch space is empty."""
        if self._number is None:
            await self.load(ref, store)
            return self
        space = await WorkSpace.open(self.guest, ref, store)
        space.cost += self.cost
        await self.close()
        return space

    async def load(self, ref: str, store: Store, *, keep_session: bool = False) -> None:
        """Make the work space that of a state; only contents that it has not are moved.

        Clears scratch space too, and ends the session, which belonged to other files, unless it is to be kept.
        """
        begun = time.monotonic()
        manifest = store.manifest(ref)
        body = json.dumps(manifests.rows(manifest)).encode("ascii")
        _, answer = await self._call("apply", {"keep": keep_session}, body)
        with self.guest.reading():
            missing = [(path, manifest[path]) for path in json.loads(answer)]
        for batch in _batches(missing):
            contents = await _aside(_kept, store, batch)
            if len(batch) == 1:
                await self.write(batch[0][0], contents[0], mode=batch[0][1].mode)
            else:
                files = [[path, entry.mode, entry.size_bytes] for path, entry in batch]
                await self._call("put", {"files": files}, b"".join(contents))
        self.cost += StateCost(time.monotonic() - begun, len(manifest))

    async def _contents(self, batch: Sequence[tuple[str, Entry]]) -> list[bytes]:
        if len(batch) == 1:
            path, entry = batch[0]
            return [await self.read(path, limit_bytes=entry.size_bytes)]
        fields = {"paths": [path for path, _ in batch], "limit": PIECE_BYTES}
        reply, body = await self._call("get", fields)
        contents: list[bytes] = []
        start = 0
        with self.guest.reading():
            for (path, _), size in zip(batch, reply["sizes"], strict=True):
                end = start + count({path: size}, path)
                contents.append(body[start:end])
                start = end
        return contents

    # --- requests ---

    def _inner(self, path: str) -> str:
        """Return `path` relative to the work space, from whose outside nothing can be named."""
        path = os.fspath(path)
        prefix = self.guest.workspace + "/"
        if path == self.guest.workspace:
            return "."
        inner = path.removeprefix(prefix) if path.startswith(prefix) else path
        if not inner or inner.startswith("/") or "\0" in inner:
            raise self.guest.outside(path)
        return inner

    def _fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        return fields if self._number is None else {**fields, "branch": self._number}

    async def _call(
        self, op: str, fields: dict[str, Any], body: bytes = b"", *, path: str = "."
    ) -> tuple[dict[str, Any], bytes]:
        return await self.guest.call(op, self._fields(fields), body, path=path)


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
    for (path, entry), kept in zip(batch, store.put_many(contents), strict=True):
        if kept != entry.content:
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


def _check(argv: Sequence[str], timeout_seconds: float, limit_bytes: int, env: Mapping[str, str]) -> None:
    if any("\0" in part for part in (*argv, *env, *env.values())):
        raise UsageError("a command and its environment cannot hold a NUL character; pass such data by stdin or a file")
    if any(not name or "=" in name for name in env):
        raise UsageError(f"names of environment variables cannot be empty or hold '=': {sorted(env)!r}")
    if not timeout_seconds > 0:
        raise UsageError(f"timeout_seconds={timeout_seconds!r} must be above 0")
    if not 0 <= limit_bytes <= _OUTPUT_MOST_BYTES:
        raise UsageError(f"output_limit_bytes={limit_bytes!r} must be between 0 and {_OUTPUT_MOST_BYTES}")
