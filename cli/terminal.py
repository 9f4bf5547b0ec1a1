"""A shell in a sandbox on the user's own terminal, and programs there between pipes."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
import termios
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from ..agents.states import Paid
from ..core.protocols import Process
from ..core.types import Python

_DAY_SECONDS = 86_400.0
_PIECE_BYTES = 1 << 16
_HEAD = struct.Struct(">BI")
_TYPED, _RESIZED = 0, 1
_SIZE = struct.Struct(">HH")
_ERRORS = 2

_RELAY = r"""
import fcntl, os, pty, select, struct, sys, termios

def resize(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

def write(handle, data):
    while data:
        data = data[os.write(handle, data):]

program = sys.argv[3:]
child, master = pty.fork()
if child == 0:
    try:
        os.execvp(program[0], program)
    finally:
        os._exit(127)
resize(int(sys.argv[1]), int(sys.argv[2]))
waiting, open_input = b"", True
while True:
    ready = select.select([master, 0] if open_input else [master], [], [])[0]
    if master in ready:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        write(1, data)
    if 0 in ready:
        data = os.read(0, 65536)
        open_input = bool(data)
        waiting += data
        while len(waiting) >= 5:
            kind, length = struct.unpack(">BI", waiting[:5])
            if len(waiting) < 5 + length:
                break
            body, waiting = waiting[5:5 + length], waiting[5 + length:]
            if kind:
                resize(*struct.unpack(">HH", body))
            else:
                write(master, body)
status = os.waitpid(child, 0)[1]
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
"""
"""Runs in the sandbox: a terminal there for a program, whose input and size come in over its own standard input."""

_APART = r"""
import os, select, struct, sys

outputs = {}
for number in (1, 2):
    source, sink = os.pipe()
    outputs[source] = number, sink
child = os.fork()
if child == 0:
    for number, sink in outputs.values():
        os.dup2(sink, number)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        os.write(2, ("cannot run: %s: %s\n" % (sys.argv[1], error.strerror)).encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(127)
os.close(0)
for _, sink in outputs.values():
    os.close(sink)
while outputs:
    for source in select.select(list(outputs), [], [])[0]:
        data = os.read(source, 65536)
        message = struct.pack(">BI", outputs[source][0], len(data)) + data
        while message:
            message = message[os.write(1, message):]
        if not data:
            del outputs[source]
status = os.waitpid(child, 0)[1]
os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
"""
"""Runs in the sandbox: a program whose two outputs come out in pieces that say which of them they are of, as they come."""


async def converse(environment: Paid, program: Sequence[str]) -> int:
    """Run a program on a terminal in the sandbox that is this process's own; return its exit status.

    Everything typed goes there, Ctrl-C too. However it ends, the user's terminal is as it was.
    """
    size = os.get_terminal_size(sys.stdin.fileno())
    relay = Python(_RELAY, (str(size.lines), str(size.columns), *program))
    env = {"TERM": os.environ.get("TERM", "xterm")}
    async with environment.start(relay, timeout_seconds=_DAY_SECONDS, env=env) as process:
        with _raw_terminal():
            with _typing(process):
                while data := await process.receive():
                    _write(sys.stdout.fileno(), data)
            return (await process.wait()).exit_code


@contextmanager
def _raw_terminal() -> Generator[None]:
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setraw(handle)
        yield
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


@contextmanager
def _typing(process: Process) -> Generator[None]:
    """Send on, in order, what is typed and how large the window becomes."""
    loop = asyncio.get_running_loop()
    handle = sys.stdin.fileno()
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def typed() -> None:
        data = os.read(handle, _PIECE_BYTES)
        if not data:
            loop.remove_reader(handle)
        queue.put_nowait(_HEAD.pack(_TYPED, len(data)) + data if data else b"")

    def resized() -> None:
        size = os.get_terminal_size(handle)
        queue.put_nowait(_HEAD.pack(_RESIZED, _SIZE.size) + _SIZE.pack(size.lines, size.columns))

    async def send() -> None:
        while data := await queue.get():
            await process.send(data)
        await process.close_input()

    sending = asyncio.create_task(send())
    loop.add_reader(handle, typed)
    loop.add_signal_handler(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
        loop.remove_reader(handle)
        sending.cancel()


async def pipe(environment: Paid, program: Sequence[str]) -> int:
    """Run a program between this process's standard streams; return its exit status."""
    relay = Python(_APART, tuple(program))
    async with environment.start(relay, timeout_seconds=_DAY_SECONDS, output_limit_bytes=1 << 24) as process:
        feeding = asyncio.create_task(_feed(process))
        waiting = b""
        try:
            while data := await process.receive():
                waiting = _pass_on(waiting + data)
            ended = await process.wait()
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding
    _write(sys.stderr.fileno(), ended.stderr.encode())
    return ended.exit_code if ended.exit_code >= 0 else 128 - ended.exit_code


def _pass_on(data: bytes) -> bytes:
    """Write every whole piece of the program's outputs to this process's own; return the rest."""
    while len(data) >= _HEAD.size:
        number, size = _HEAD.unpack_from(data)
        end = _HEAD.size + size
        if len(data) < end:
            break
        _write((sys.stderr if number == _ERRORS else sys.stdout).fileno(), data[_HEAD.size : end])
        data = data[end:]
    return data


async def _feed(process: Process) -> None:
    """Send on what comes in on standard input, unless that is a terminal: then there is nothing to send."""
    if sys.stdin.isatty():
        await process.close_input()
        return
    loop = asyncio.get_running_loop()
    handle = sys.stdin.fileno()
    while True:
        readable = loop.create_future()
        try:
            loop.add_reader(handle, _once, readable)
        except PermissionError:
            readable.set_result(None)  # a plain file is always readable, and cannot be waited for
        try:
            await readable
        finally:
            loop.remove_reader(handle)
        data = os.read(handle, _PIECE_BYTES)
        if not data:
            await process.close_input()
            return
        await process.send(data)


def _once(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
