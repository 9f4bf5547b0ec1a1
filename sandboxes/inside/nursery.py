"""A process that has seen nothing, from which Python programs are forked.

A fork has a copy of its parent's memory. The worker's memory holds what earlier programs were told, secrets among it, so no
program is forked from the worker: this process parts from it before the first request, keeps an interpreter warm, and
never reads an order itself. Orders reach the new process through a pipe.
"""

from __future__ import annotations

import array
import contextlib
import errno
import gc
import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING

from . import kernel, python, session
from .frames import pour, read_all

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from collections.abc import Callable
    from types import CodeType
    from typing import NoReturn

    from .frames import Header

NEWS = struct.Struct("=ii")
"""A process and its exit status as `wait` has it; -1 where it has only just been born."""
BORN = -1
ANSWER_SECONDS = 10.0
MOST_KEPT = 32
NICENESS = 5


class Guest:
    """What makes a process a guest's."""

    def __init__(self, uid: int | None, limits: dict[str, int], text: bytes | None) -> None:
        self.uid = uid
        self.limits = limits
        self.filter = None if text is None else kernel.Filter(text)

    def become(self) -> None:
        """Be killed first when memory runs out, be limited, be the guest."""
        if self.uid is None:
            kernel.set_dumpable(True)
        pour(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"1000")
        os.nice(NICENESS)  # so that the worker is heard while the guest burns all the processor time there is
        for name, wanted in self.limits.items():
            number = getattr(resource, "RLIMIT_" + name)
            hard = resource.getrlimit(number)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(number, (value, value))
        os.umask(0o022)
        if self.uid is not None:
            os.setgroups([])
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)
        if self.filter is not None:
            self.filter.install()


class Nursery:
    """The worker's end: asks for processes and hears of their ends."""

    def __init__(self, guest: Guest) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self.socket.close()
            close_all_but([theirs.fileno()])  # the way to the host is the worker's
            Keeper(guest, theirs).serve()
        theirs.close()
        self.shares_uid = guest.uid is None
        self.alive = True
        self.unheard: list[tuple[int, int]] = []
        self.known: list[str] = []
        """Digests of the programs that it keeps compiled, the one used last at the end."""
        self.socket.setblocking(False)

    def fork(self, handles: list[int], order: bytes) -> int | None:
        """Have a process forked and give it its order; return its number, None where the nursery is gone.

        Args:
            handles: its standard streams, where it says what trouble it has, and, of a session, its end of the control.
            order: what it is to do.
        """
        try:
            if self.shares_uid:
                os.kill(self.pid, signal.SIGCONT)  # a guest may have stopped it
            sink = self.ask(b"fork", handles)
        except OSError:
            self.end()
            return None
        try:
            pid = self.hear_of_birth()
        except OSError:
            self.end()
            os.close(sink)
            return None
        pour(sink, order)
        return pid

    def ask(self, message: bytes, handles: list[int]) -> int:
        """Send a message with files, the last of them a pipe to read from; return where to write into it.

        Raises:
            OSError: the nursery is gone.
        """
        source, sink = os.pipe()
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*handles, source]))
            self.socket.sendmsg([message], [rights])
        except OSError:
            os.close(sink)
            raise
        finally:
            os.close(source)
        return sink

    def learn(self, text: str) -> str | None:
        """Have a program kept compiled; return its digest, None where that fails."""
        encoded = text.encode()
        digest = hashlib.sha256(encoded).hexdigest()
        if digest in self.known:
            self.known.remove(digest)
        else:
            forgotten = self.known.pop(0) if len(self.known) >= MOST_KEPT else ""
            try:
                sink = self.ask(f"learn {digest} {forgotten}".encode(), [])
            except OSError:
                self.end()
                return None
            pour(sink, encoded)
        self.known.append(digest)
        return digest

    def hear_of_birth(self) -> int:
        """Return the number of the process that was asked for."""
        while True:
            if not select.select([self.socket], [], [], ANSWER_SECONDS)[0]:
                raise TimeoutError
            data = self.socket.recv(NEWS.size)
            if not data:
                raise BrokenPipeError
            pid, status = NEWS.unpack(data)
            if status == BORN:
                return int(pid)
            self.unheard.append((pid, status))

    def end(self) -> None:
        """Give it up; programs are started without it from now on. Those it has started become the worker's own."""
        if self.alive:
            self.alive = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.pid = 0

    def news(self) -> list[tuple[int, int]]:
        """Return which processes have ended since the last time, and how."""
        ended, self.unheard = self.unheard, []
        while self.alive:
            try:
                data = self.socket.recv(NEWS.size)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if data:
                ended.append(NEWS.unpack(data))
            else:
                self.end()
        return ended


class Keeper:
    """The nursery's own process."""

    def __init__(self, guest: Guest, channel: socket.socket) -> None:
        self.guest = guest
        if guest.filter is not None:
            guest.filter.install()  # once, for all that are born here
            guest.filter = None
        self.channel = channel
        self.kept: dict[str, CodeType | str] = {}
        self.wakeup, wakeup_write = os.pipe()
        for handle in (self.wakeup, wakeup_write):
            os.set_blocking(handle, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        # Only the worker speaks to the host. The end of standard error shall mean that both are gone.
        nothing = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1):
            os.dup2(nothing, handle)
        os.close(nothing)
        python.warm_up()
        for name in [name for name in sys.modules if name.partition(".")[0] == __package__]:
            del sys.modules[name]  # they are no modules for programs to import

    def serve(self) -> NoReturn:
        """Fork when told, report ends, end with the worker."""
        try:
            while True:
                ready, _, _ = select.select([self.channel.fileno(), self.wakeup], [], [])
                if self.wakeup in ready:
                    self.report()
                if self.channel.fileno() in ready:
                    self.fork()
        finally:
            os._exit(0)

    def fork(self) -> None:
        """Fork a process that reads its order by itself."""
        handles = array.array("i")
        space = socket.CMSG_LEN(6 * handles.itemsize)
        message, ancillary, _, _ = self.channel.recvmsg(256, space)
        if not message:
            os._exit(0)
        handles.frombytes(ancillary[0][2])
        if message.startswith(b"learn "):
            self.learn(message.decode().split(" "), handles[0])
            return
        pid = os.fork()
        if pid == 0:
            self.begin(list(handles))
        for handle in handles:
            os.close(handle)
        self.channel.send(NEWS.pack(pid, BORN))

    def learn(self, words: list[str], source: int) -> None:
        """Compile a program that comes often; one that does not compile shall say so when it is run."""
        text = read_all(source).decode()
        self.kept.pop(words[2], None)
        try:
            self.kept[words[1]] = compile(text, python.NAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.kept[words[1]] = text
        gc.freeze()

    def report(self) -> None:
        """Tell the worker who has ended."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakeup, 512):
                pass
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                self.channel.send(NEWS.pack(pid, status))

    def begin(self, handles: list[int]) -> NoReturn:
        """In the new process: become the guest's, read the order, do it."""
        trouble, order = handles[3], handles[-1]
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, handle in enumerate(handles[:3]):
                os.dup2(handle, number)
            close_all_but(handles[3:])
            os.setsid()
            self.guest.become()
            request: Header = json.loads(read_all(order))
            guarded(trouble, lambda: os.chdir(request["cwd"]))
            os.close(trouble)
            if "python" not in request and "kept" not in request:
                session.begin(handles[4], request["env"])
            program = self.kept[request["kept"]] if "kept" in request else request["python"]
            python.become(program, request["argv"], request["env"])
        finally:
            os._exit(127)


def close_all_but(kept: list[int]) -> None:
    """Close every file but the standard streams and these."""
    start = 3
    for handle in sorted(kept):
        os.closerange(start, handle)
        start = handle + 1
    os.closerange(start, 1024)


def guarded(trouble: int, work: Callable[[], object]) -> None:
    """Do what may fail; where it does, say so and end this process."""
    try:
        work()
    except OSError as error:
        os.write(trouble, json.dumps([error.errno, str(error.filename or "")]).encode())
        os._exit(127)
    except ValueError as error:
        os.write(trouble, json.dumps([errno.EINVAL, str(error)]).encode())
        os._exit(127)
