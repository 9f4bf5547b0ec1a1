"""The worker's side of Python sessions: one per branch, parked while nobody uses it, forked with the branch.

Between its cells a session is stopped. The processes that a cell starts end with the cell, like those of every program; threads
stay. So only one thing of a guest's ever runs in a sandbox at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
from typing import TYPE_CHECKING

from .programs import Program
from .session import send

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from typing import Any, Self

    from .frames import Header
    from .worker import Worker

ANSWER_SECONDS = 5.0
MOST_TEMPLATES = 4
"""Sessions kept as they were when a state was named. Memory is what they cost."""
CREDENTIALS = struct.Struct("=iii")


class Ends:
    """What leads to an interpreter that is to be: a socket and two pipes, closed with the block unless a session takes them."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        self.far = [theirs.detach(), stdout, stderr]
        """The interpreter's ends: of the control, and where it writes to."""
        self.taken = False

    def part(self) -> None:
        """Close the interpreter's ends, which it has by now."""
        while self.far:
            os.close(self.far.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.part()
        if not self.taken:
            self.control.close()
            os.close(self.stdout)
            os.close(self.stderr)


class Session:
    """One interpreter's process and the worker's ends of what leads to it."""

    def __init__(self, pid: int, ends: Ends) -> None:
        ends.taken = True
        self.pid = pid
        self.control = ends.control
        self.stdout = ends.stdout
        self.stderr = ends.stderr
        self.alive = True
        for handle in (self.stdout, self.stderr):
            os.set_blocking(handle, False)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def close(self) -> None:
        """End it. Idempotent."""
        self.signal(signal.SIGKILL)
        if self.alive:
            self.alive = False
            self.control.close()
            os.close(self.stdout)
            os.close(self.stderr)

    def ask(self, message: dict[str, str], handles: list[int]) -> bool:
        """Have a parked session do something short; return whether it did."""
        self.signal(signal.SIGCONT)
        try:
            send(self.control, message, handles)
            return bool(answer(self.control))
        except (OSError, ValueError):
            return False
        finally:
            self.signal(signal.SIGSTOP)


class Sessions:
    """The sessions of a sandbox."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.live: dict[int | None, Session] = {}
        """By branch; None is the branch of a sandbox that has only one."""
        self.templates: dict[str, Session] = {}
        """By state."""

    def pids(self) -> set[int]:
        """The processes that outlive a program."""
        return {session.pid for session in (*self.live.values(), *self.templates.values()) if session.alive}

    def note(self, pid: int) -> None:
        """Hear that a process has ended."""
        for session in (*self.live.values(), *self.templates.values()):
            if session.pid == pid:
                session.close()
        self.live = {branch: session for branch, session in self.live.items() if session.alive}
        self.templates = {state: session for state, session in self.templates.items() if session.alive}

    def start(self, branch: int | None, environment: dict[str, str], cwd: str) -> Session | None:
        """Start a session, parked; return None where the nursery is gone."""
        order = json.dumps({"env": environment, "cwd": cwd}).encode()
        stdin = os.open(os.devnull, os.O_RDONLY)
        trouble, trouble_write = os.pipe()
        with Ends() as ends:
            control, stdout, stderr = ends.far
            pid = self.worker.nursery.fork([stdin, stdout, stderr, trouble_write, control], order)
            for handle in (stdin, trouble, trouble_write):
                os.close(handle)
            if pid is None:
                return None
            self.live[branch] = Session(pid, ends)
        return self.live[branch]

    def fork(self, source: Session) -> Session | None:
        """Return a parked session that goes on from where `source` is; None where that one does not answer."""
        with Ends() as ends:
            done = source.ask({"do": "fork"}, ends.far)
            ends.part()
            pid = sender(ends.control) if done else None
            if pid is None or pid in self.pids():
                return None
            forked = Session(pid, ends)
        forked.signal(signal.SIGSTOP)
        return forked

    def keep(self, branch: int | None, state: str) -> None:
        """Keep a branch's session, where it has one, as it is in a state that has just been named."""
        session = self.live.get(branch)
        template = self.fork(session) if session is not None else None
        if template is None:
            return
        old = self.templates.pop(state, None)
        if old is not None:
            old.close()
        self.templates[state] = template
        while len(self.templates) > MOST_TEMPLATES:
            self.templates.pop(next(iter(self.templates))).close()

    def bring(self, branch: int, state: str | None) -> None:
        """Give a branch that starts in a state the session that belongs to it, where one is kept."""
        template = self.templates.get(state) if state is not None else None
        forked = self.fork(template) if template is not None else None
        if forked is not None:
            self.live[branch] = forked

    def drop(self, branch: int | None) -> None:
        """End a branch's session."""
        session = self.live.pop(branch, None)
        if session is not None:
            session.close()

    def forget(self, states: list[str]) -> None:
        """End the sessions kept for states that are dropped."""
        for state in states:
            template = self.templates.pop(state, None)
            if template is not None:
                template.close()


class Cell(Program):
    """A cell that runs in a session, as a program that is over with the cell's answer."""

    def __init__(self, worker: Worker, request: Header, session: Session) -> None:
        super().__init__(worker, request, b"")
        self.session = session
        self.over = False
        """Whether the session has said that the cell came to its end, well or not."""
        self.gone = False
        """Whether there was nobody to give the cell to."""

    def start(self) -> None:
        """Wake the session and give it the cell."""
        self.pid = self.session.pid
        self.stdout, self.stderr = self.session.stdout, self.session.stderr
        self.open_outputs = [self.stdout, self.stderr]
        self.outputs = {handle: bytearray() for handle in self.open_outputs}
        source_read, source_write = os.pipe()
        try:
            self.session.signal(signal.SIGCONT)
            send(self.session.control, {"do": "enter", "cwd": self.request["cwd"]}, [])
            answer(self.session.control)  # one that was killed meanwhile gives none
            send(self.session.control, {"do": "cell"}, [source_read])
        except (OSError, ValueError):
            self.gone = self.cancelled = True  # it is dead, or deaf: the host brings it back
        finally:
            os.close(source_read)
        with contextlib.suppress(BrokenPipeError), os.fdopen(source_write, "wb") as sink:
            sink.write(self.request["code"].encode())

    def note(self, pid: int, status: int) -> None:
        """Hear of a process that has ended; the session's own takes its pipes along."""
        super().note(pid, status)
        if pid == self.pid:
            self.over = False
            self.finish()
            self.open_outputs.clear()

    def sources(self) -> list[int]:
        return [self.session.control.fileno()]

    def hear(self, handle: int) -> None:  # noqa: ARG002
        """Take the session's word that the cell is over."""
        try:
            self.status = 0 if json.loads(self.session.control.recv(4096))["ok"] else 1
            self.over = True
        except (OSError, ValueError, KeyError, TypeError):
            self.cancelled = True

    def before_the_end(self) -> None:
        """Park the session; one that is in the middle of something cannot be used again."""
        if self.over and not self.cancelled:
            self.session.signal(signal.SIGSTOP)
        else:
            self.over = False
            self.finish()
            self.worker.sessions.drop(self.request.get("branch"))

    def reply(self, *, timed_out: bool, seconds: float) -> Any:
        """Return how the cell ended."""
        header, body = super().reply(timed_out=timed_out, seconds=seconds)
        return {**header, "over": self.over, "gone": self.gone}, body

    def finish(self) -> None:
        """Take what is left in the pipes, which stay."""
        if not self.session.alive:
            return
        for handle in list(self.open_outputs):
            while self.drain(handle):
                pass


def answer(control: socket.socket) -> Any:
    """Return whether a session says that it has done what was asked.

    Raises:
        OSError, ValueError: it does not answer.
    """
    if not select.select([control], [], [], ANSWER_SECONDS)[0]:
        raise TimeoutError
    return json.loads(control.recv(4096))["ok"]


def sender(control: socket.socket) -> int | None:
    """Return which process has sent the message that waits, as the kernel says."""
    if not select.select([control], [], [], ANSWER_SECONDS)[0]:
        return None
    with contextlib.suppress(OSError):
        _, ancillary, _, _ = control.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                return int(CREDENTIALS.unpack(data[: CREDENTIALS.size])[0])
    return None
