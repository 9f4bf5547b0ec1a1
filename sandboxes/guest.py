"""A sandbox as the host sees it: one worker, its requests one at a time, the branches of its work space."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from ..core.errors import OutputLimitExceeded, SandboxError, SandboxLost, UsageError
from .channel import Channel

_OPERATION_SECONDS = 60.0
_CANCEL_SECONDS = 15.0

Listener = Callable[[dict[str, Any], bytes], None]


class Guest:
    """One sandbox.

    Where its worker has branches, several work spaces can live in it side by side, each in a state of its own; the worker
    attends to one at a time.

    Args:
        channel: the connection to its worker.
        workspace: path of the work space inside.
        workspace_bytes: largest work space.
        has_branches: whether its worker has said that it has branches.
    """

    def __init__(self, channel: Channel, *, workspace: str, workspace_bytes: int, has_branches: bool = False) -> None:
        self._channel = channel
        self.workspace = workspace
        self.workspace_bytes = workspace_bytes
        self.has_branches = has_branches
        self.states: set[str] = set()
        """States in which a branch can start without anything being moved."""
        self.latest: str | None = None
        """The state that was last in use."""
        self.holders = 0
        """Environments that live here."""
        self.has_wire = False
        """Whether its worker has said that it talks to this process past the engine."""
        self.single_use = False
        """Whether something beside the files cannot be brought back, so that it serves one environment and one state only."""
        self._turn = asyncio.Lock()
        self._speaker: asyncio.Task[Any] | None = None
        self._branches = 0

    @property
    def lost(self) -> bool:
        """Whether the sandbox can no longer be used."""
        return self._channel.lost is not None

    @property
    def busy(self) -> bool:
        """Whether it is at work for somebody, so that others have to wait."""
        return self._turn.locked()

    @property
    def channel(self) -> Channel:
        """The connection to its worker."""
        return self._channel

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """Have the worker for oneself.

        Raises:
            UsageError: the caller has it already, for a conversation with a program.
        """
        if self._speaker is not None and self._speaker is asyncio.current_task():
            raise UsageError(
                "a program that was started with start() still runs in this sandbox; leave its block before using the "
                "environment for something else"
            )
        async with self._turn:
            self._speaker = asyncio.current_task()
            try:
                yield
            finally:
                self._speaker = None

    async def call(
        self,
        op: str,
        fields: dict[str, Any],
        body: bytes = b"",
        *,
        path: str = ".",
        timeout_seconds: float = _OPERATION_SECONDS,
    ) -> tuple[dict[str, Any], bytes]:
        """Make a request when it is its turn.

        Raises:
            SandboxLost: no reply within the time, or the worker is gone.
            UsageError: `path` leads out of the work space.
            OutputLimitExceeded: the work space is full.
            OSError: what the operating system inside said.
        """
        async with self.turn():
            reply, content = await self._channel.request(op, fields, body, timeout_seconds=timeout_seconds)
        self.check(reply, path)
        return reply, content

    async def run(
        self,
        fields: dict[str, Any],
        stdin: bytes,
        *,
        path: str,
        timeout_seconds: float,
        number: int | None = None,
        listener: Listener | None = None,
        op: str = "exec",
    ) -> tuple[dict[str, Any], bytes]:
        """Run a program, its turn being there; where the caller is cancelled, kill it and wait until it is gone."""
        number = self._channel.new_id() if number is None else number
        try:
            reply, output = await self._channel.request(
                op, fields, stdin, timeout_seconds=timeout_seconds, request_id=number, listener=listener
            )
        except asyncio.CancelledError:
            await finish(self._cancel(number))
            raise
        self.check(reply, path)
        return reply, output

    async def _cancel(self, number: int) -> None:
        """Have the worker kill what runs, and wait until it says that it has."""
        try:
            await self._channel.request("cancel", {"target": number}, timeout_seconds=_CANCEL_SECONDS)
        except SandboxLost:
            await self.kill()

    @contextmanager
    def reading(self) -> Generator[None]:
        """Read an answer; a worker whose answer cannot be read is lost.

        Raises:
            SandboxLost: the answer makes no sense.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, SandboxError) as error:
            if isinstance(error, (UsageError, SandboxLost, OutputLimitExceeded)):
                raise
            self._channel.fail(f"it gave no answer that makes sense: {error!r}")
            raise SandboxLost(f"the sandbox's worker is lost: it gave no answer that makes sense: {error!r}") from error

    def check(self, reply: dict[str, Any], path: str) -> None:
        """Turn a worker's refusal into an exception."""
        kind = reply.get("error")
        if kind is None:
            return
        with self.reading():
            number, message = _refusal(reply)
        if kind == "outside" or number == errno.ELOOP:
            raise self.outside(path)
        if number in {errno.ENOSPC, errno.EDQUOT}:
            raise OutputLimitExceeded(
                f"{path!r} does not fit into the sandbox's work space of {self.workspace_bytes >> 20} MiB; "
                "raise workspace_mb or remove files"
            )
        # OSError picks its own subclass: FileNotFoundError, IsADirectoryError and so on.
        raise OSError(number, message, path)

    def outside(self, path: str) -> UsageError:
        """Return the error for a path that leads out of the work space."""
        return UsageError(
            f"{path!r} leads out of the sandbox's work space; use a path relative to {self.workspace}, "
            "such as 'src/main.py'"
        )

    # --- branches ---

    async def open(self, state: str | None) -> int:
        """Make a branch, in one of `states` or empty, and return its number."""
        self._branches += 1
        number = self._branches
        await self.call("open", {"number": number, "state": state})
        if state is not None:
            self.latest = state
        return number

    async def freeze(self, number: int, state: str) -> None:
        """Call a branch's present files `state`."""
        reply, _ = await self.call("freeze", {"number": number, "state": state})
        self.states.add(state)
        with self.reading():
            self.states.difference_update(reply["dropped"])
        self.latest = state

    async def drop(self, number: int) -> None:
        """Remove a branch."""
        await self.call("drop", {"number": number})

    async def kill(self) -> None:
        """End the sandbox and remove it. Idempotent."""
        await self._channel.close()


def _refusal(reply: dict[str, Any]) -> tuple[int, str]:
    """Return the number and the words of an error."""
    number = reply.get("errno") or 0
    message = reply.get("message", "unknown error")
    if type(number) is not int or type(message) is not str or type(reply["error"]) is not str:
        raise TypeError(f"an error that is none: {repr(reply)[:200]}")
    return number, message


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end even when the caller is cancelled again meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
