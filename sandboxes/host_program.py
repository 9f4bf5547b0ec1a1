"""A program that runs on this machine as it is: started, fed, drained, and ended with all its children. No isolation."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence

from ..core.errors import UsageError
from ..core.types import Command, ExecResult, Python

_PIECE_BYTES = 1 << 16
_END_SECONDS = 5.0
_SUPERVISOR = """
import ctypes, os, resource, signal, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
def children(pid):
    try:
        text = open(f"/proc/{pid}/task/{pid}/children").read()
    except OSError:
        return []
    return [int(number) for number in text.split()]
def end():
    while True:
        pending = children(os.getpid())
        for pid in pending:
            pending.extend(children(pid))
        for pid in pending:
            try: os.kill(pid, signal.SIGKILL)
            except OSError: pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]: pass
        except ChildProcessError:
            return
        time.sleep(0.002)
def stop(*_):
    end()
    os._exit(143)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
signal.signal(signal.SIGTERM, stop)
program = os.fork()
if program == 0:
    for caught in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(caught, signal.SIG_DFL)
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        os.write(2, f"cannot run: {sys.argv[2]}: {error.strerror}\\n".encode())
        os._exit(127 if error.errno == 2 else 126)
for number in (0, 1, 2):
    os.close(number)
while True:
    pid, status = os.waitpid(-1, 0)
    if pid == program:
        break
end()
if os.WIFSIGNALED(status):
    number = os.WTERMSIG(status)
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
os._exit(os.WEXITSTATUS(status))
"""
"""Takes in orphans (PR_SET_CHILD_SUBREAPER), so that what a program leaves behind can be found; ends with this process."""


def words_of(command: Command) -> list[str]:
    """Return a command as a program and its arguments.

    Raises:
        UsageError: there is no program, or something in it no system call takes.
    """
    match command:
        case Python(code, args):
            words = ["python3", "-c", code, *args]
        case str():
            words = ["/bin/sh", "-c", command]
        case _:
            words = [str(part) for part in command]
    if not words or any("\0" in word for word in words):
        raise UsageError("a command needs a program, and none of its words can hold a NUL character")
    return words


class HostProgram:
    """Implements `core.protocols.Process`."""

    def __init__(self, process: asyncio.subprocess.Process, *, timeout_seconds: float, limit_bytes: int) -> None:
        self._process = process
        self._begun = time.monotonic()
        self._room = limit_bytes
        self._timed_out = False
        self._truncated = False
        self._received = False
        self._stdout: asyncio.Queue[bytes] = asyncio.Queue(maxsize=16)
        self._stderr = bytearray()
        assert process.stdout is not None  # asked for at start
        assert process.stderr is not None  # asked for at start
        self._drains = [
            asyncio.create_task(self._drain(process.stdout, to_queue=True)),
            asyncio.create_task(self._drain(process.stderr, to_queue=False)),
        ]
        self._clock = asyncio.get_running_loop().call_later(timeout_seconds, self._time_is_up)

    @classmethod
    async def start(
        cls,
        command: Command,
        *,
        cwd: str,
        env: Mapping[str, str],
        file_bytes: int,
        timeout_seconds: float,
        limit_bytes: int,
    ) -> HostProgram:
        """Start a program."""
        words: Sequence[str] = [sys.executable, "-I", "-S", "-c", _SUPERVISOR, str(file_bytes), *words_of(command)]
        process = await asyncio.create_subprocess_exec(
            *words, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=cwd, env=dict(env), start_new_session=True
        )
        return cls(process, timeout_seconds=timeout_seconds, limit_bytes=limit_bytes)

    async def send(self, data: bytes) -> None:
        assert self._process.stdin is not None  # asked for at start
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def close_input(self) -> None:
        assert self._process.stdin is not None  # asked for at start
        self._process.stdin.close()

    async def receive(self) -> bytes:
        if self._received:
            return b""
        piece = await self._stdout.get()
        self._received = not piece
        return piece

    async def wait(self) -> ExecResult:
        """Return how it ended, every process of it gone."""
        rest = bytearray()
        while piece := await self.receive():
            rest += piece
        code = await self._process.wait()
        await asyncio.gather(*self._drains)
        self._clock.cancel()
        return ExecResult(
            exit_code=-signal.SIGKILL if self._timed_out else code,
            stdout=rest.decode("utf-8", "replace"),
            stderr=self._stderr.decode("utf-8", "replace"),
            timed_out=self._timed_out,
            truncated=self._truncated,
            seconds=time.monotonic() - self._begun,
        )

    async def end(self) -> None:
        """Kill it with all its children. Idempotent."""
        self._clock.cancel()
        if self._process.returncode is None:
            self._terminate()
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        for drain in self._drains:
            drain.cancel()
        await asyncio.gather(*self._drains, return_exceptions=True)
        await self.close_input()

    def _time_is_up(self) -> None:
        self._timed_out = self._process.returncode is None
        self._terminate()

    def _terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def _drain(self, stream: asyncio.StreamReader, *, to_queue: bool) -> None:
        while data := await stream.read(_PIECE_BYTES):
            kept = data[: self._room]
            self._room -= len(kept)
            self._truncated = self._truncated or len(kept) < len(data)
            if kept and to_queue:
                await self._stdout.put(kept)
            elif kept:
                self._stderr += kept
        if to_queue:
            await self._stdout.put(b"")
