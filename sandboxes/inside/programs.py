"""One run of a guest's program: started, fed, drained, and ended with every process of it."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from typing import NoReturn

    from .frames import Frame, Header
    from .worker import Worker

CHUNK = 1 << 16
WINDOW = 1 << 18
"""How much of a conversation's input is taken in before the host is told to go on."""


class Program:
    """A program in a process of its own, and its standard streams.

    One that the host talks to gets its input piece by piece, and its output is sent on as it comes.
    """

    def __init__(self, worker: Worker, request: Header, stdin: bytes) -> None:
        self.worker = worker
        self.request = request
        self.number: int = request["id"]
        self.talks: bool = request.get("talk", False)
        self.stdin = bytearray(stdin)
        self.ended_input = not self.talks
        self.taken = 0
        self.room: int = request["limit"]
        self.cancelled = False
        self.truncated = False
        self.status: int | None = None
        self.pid = 0
        self.stdin_write: int | None = None
        self.stdout = self.stderr = -1
        self.outputs: dict[int, bytearray] = {}
        self.open_outputs: list[int] = []
        self.trouble = -1

    def start(self) -> None:
        """Fork. Over a pipe that closes on exec the child tells what went wrong before that."""
        stdin_read, self.stdin_write = os.pipe()
        self.stdout, stdout_write = os.pipe()
        self.stderr, stderr_write = os.pipe()
        self.trouble, trouble_write = os.pipe()
        streams = [stdin_read, stdout_write, stderr_write]
        self.pid = self.fork_python([*streams, trouble_write]) or self.fork(streams, trouble_write)
        for handle in (stdin_read, stdout_write, stderr_write, trouble_write):
            os.close(handle)
        self.open_outputs = [self.stdout, self.stderr]
        self.outputs = {handle: bytearray() for handle in self.open_outputs}
        for handle in (self.stdin_write, *self.open_outputs):
            os.set_blocking(handle, False)

    def fork_python(self, handles: list[int]) -> int | None:
        """Start a Python program in the warm interpreter; return None where it is none, or there is no interpreter any more."""
        if "python" not in self.request or not self.worker.nursery.alive:
            return None
        order = {name: self.request[name] for name in ("python", "argv", "env", "cwd")}
        kept = self.worker.nursery.learn(order["python"]) if self.request["keep"] else None
        if kept is not None:
            del order["python"]
            order["kept"] = kept
        return self.worker.nursery.fork(handles, json.dumps(order).encode())

    def fork(self, streams: list[int], trouble: int) -> int:
        """Start any other program."""
        pid = os.fork()
        if pid == 0:
            self.become(streams, trouble)
        return pid

    def become(self, streams: list[int], trouble: int) -> NoReturn:
        """Turn the forked child into the guest's program."""
        try:
            for number, handle in enumerate(streams):
                os.dup2(handle, number)
            signal.set_wakeup_fd(-1)
            for caught in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
                signal.signal(caught, signal.SIG_DFL)
            os.setsid()
            self.worker.guest.become()
            os.chdir(self.request["cwd"])
            command = self.cold_python() if "python" in self.request else self.request["argv"]
            os.execvpe(command[0], command, self.request["env"])
        except OSError as error:
            os.write(trouble, json.dumps([error.errno, str(error.filename or "")]).encode())
        except ValueError as error:
            os.write(trouble, json.dumps([errno.EINVAL, str(error)]).encode())
        finally:
            os._exit(127)

    def cold_python(self) -> list[str]:
        """Return the command that runs a Python program in an interpreter of its own."""
        source_read, source_write = os.pipe()
        if os.fork() == 0:
            os.close(source_read)
            os.write(source_write, self.request["python"].encode())
            os._exit(0)
        os.close(source_write)
        os.dup2(source_read, 3, inheritable=True)
        begin = "import os\nwith os.fdopen(3) as f: c = f.read()\nexec(compile(c, '<string>', 'exec'))"
        return [sys.executable, "-c", begin, *self.request["argv"]]

    def run(self) -> Frame:
        """Return the reply and its body."""
        begun = time.monotonic()
        deadline = begun + self.request["timeout"]
        timed_out = False
        self.start()
        self.worker.sort(self)  # it may have been cancelled before its turn came
        try:
            while self.status is None and not self.cancelled and not timed_out:
                left = deadline - time.monotonic()
                timed_out = left <= 0
                if not timed_out:
                    self.step(left)
        finally:
            self.before_the_end()
            self.worker.kill_all(self)
            seconds = time.monotonic() - begun
            self.finish()
        return self.reply(timed_out=timed_out, seconds=seconds)

    def step(self, left: float) -> None:
        """Wait for something to happen and deal with it."""
        host, dead, others = self.worker.stream.sources, self.worker.sources, self.sources()
        poller = select.poll()
        for handle in (*host, *dead, *self.open_outputs, *others):
            poller.register(handle, select.POLLIN)
        if self.stdin_write is not None and (self.stdin or self.ended_input):
            poller.register(self.stdin_write, select.POLLOUT)
        for handle, _ in poller.poll(min(left, 60.0) * 1000):
            if handle in host:
                self.worker.attend(self, handle)
            elif handle in dead:
                self.worker.reap(self)
            elif handle == self.stdin_write:
                self.feed(handle)
            elif handle in others:
                self.hear(handle)
            elif handle in self.open_outputs:
                self.drain(handle)

    def before_the_end(self) -> None:
        """Do what is to be done before everything is killed."""

    def sources(self) -> list[int]:
        """Return what else is to be listened to."""
        return []

    def hear(self, handle: int) -> None:
        """Take in what one of the `sources` says."""

    def note(self, pid: int, status: int) -> None:
        """Hear of a process that has ended."""
        if pid == self.pid:
            self.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def take(self, data: bytes, *, end: bool, room: int) -> None:
        """Take in a piece of input from the host, and how much more output it will take."""
        self.room += room
        if self.stdin_write is None:
            self.acknowledge(len(data))
        else:
            self.stdin += data
            self.ended_input = self.ended_input or end

    def feed(self, handle: int) -> None:
        """Send the program a piece of its input; close it after the last."""
        try:
            if self.stdin:
                count = os.write(handle, memoryview(self.stdin)[:CHUNK])
                del self.stdin[:count]
                self.acknowledge(count)
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.acknowledge(len(self.stdin))
            self.stdin.clear()
            self.ended_input = True
        if not self.stdin and self.ended_input:
            os.close(handle)
            self.stdin_write = None

    def acknowledge(self, count: int) -> None:
        """Let the host send more of a conversation's input."""
        self.taken += count
        if self.talks and self.taken >= WINDOW:
            self.worker.stream.send({"id": self.number, "taken": self.taken})
            self.taken = 0

    def drain(self, handle: int) -> bool:
        """Take in one piece of output; return whether there may be more."""
        try:
            data = os.read(handle, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.open_outputs.remove(handle)
            return False
        self.truncated = self.truncated or len(data) > self.room
        kept = data[: self.room]
        self.room -= len(kept)
        if self.talks and handle == self.stdout:
            if kept:
                self.worker.stream.send({"id": self.number, "part": True}, kept)
        else:
            self.outputs[handle] += kept
        return True

    def finish(self) -> None:
        """Take what the dead have left in the pipes, and close them."""
        for handle in list(self.open_outputs):
            while self.drain(handle):
                pass
        for handle in self.outputs:
            os.close(handle)
        if self.stdin_write is not None:
            os.close(self.stdin_write)
            self.stdin_write = None

    def reply(self, *, timed_out: bool, seconds: float) -> Frame:
        """Return how it ended."""
        trouble = b""
        if self.trouble >= 0:
            trouble = os.read(self.trouble, 4096)
            os.close(self.trouble)
        code = -signal.SIGKILL if self.status is None else self.status
        stdout, stderr = self.outputs[self.stdout], self.outputs[self.stderr]
        if trouble and not timed_out and not self.cancelled:
            number, name = json.loads(trouble)
            code = 127 if number == errno.ENOENT else 126
            stderr += f"cannot run: {name or self.request['argv'][0]}: {os.strerror(number)}\n".encode()
        header = {
            "code": code,
            "timed_out": timed_out,
            "cancelled": self.cancelled,
            "truncated": self.truncated,
            "seconds": seconds,
            "stdout": len(stdout),
        }
        return header, bytes(stdout + stderr)
