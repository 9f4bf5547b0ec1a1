"""The program inside a sandbox: serves one host until it goes, over a socket of the host's or its standard streams.

It is sent to the sandbox as text and never imported by the framework. It needs Python 3.8 and nothing but the standard
library, and it insists on being process 1 of its own pid namespace: that makes `kill(-1)` mean "every process of this
sandbox" and nothing else, and makes it the parent of every orphan, so that no process can hide from it.

A request has an `id` and an `op`; its reply has the same `id` and either results or `error`. Only `exec` takes time, and
while it runs the stream is still read: `ping` is answered, `cancel` obeyed, `input` handed to the program, other requests
wait, and the end of the stream kills everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from . import kernel
from .branches import attempt
from .files import Files
from .frames import Hangup, Refused, connected
from .namespaces import any_id, has_own_ids
from .nursery import Guest, Nursery
from .programs import Program
from .sessions import Cell, Sessions

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from collections.abc import Callable
    from typing import Any, NoReturn

    from .branches import Branches
    from .frames import Frame, Header

T = TypeVar("T")

REAP_SECONDS = 10.0
"""How long processes may take to die of SIGKILL before the sandbox is given up."""
PRIVATE_SCRATCH = ("/tmp", "/dev/shm")
"""Of these every branch has its own."""


class Worker:
    """Serves requests one after the other."""

    def __init__(self, settings: Header) -> None:
        self.root: str = settings["root"]
        self.uid: int | None = settings["guest"]
        self.environment: dict[str, str] = {**os.environ, **settings["env"]}
        # Without its filter a guest could mount as the worker can: a machine that there is none for gets no sandbox.
        text = bytes.fromhex(settings["filters"][os.uname().machine]) if settings["filters"] else None
        self.scratch: list[str] = settings["scratch"]
        self.stream = connected(settings["wire"])
        self.backlog: list[Frame] = []
        if self.uid is None:
            # The guest has the worker's own uid: keep it from /proc/1, through which it could write frames.
            kernel.set_dumpable(False)
        else:
            os.setgroups([])
            if os.stat(self.root).st_uid == 0:
                os.chmod(self.root, 0o1777)  # where the image has the folder, its mode replaces the mount's
        self.branches: Branches | None = None
        if settings["branches"] and text is not None and self.uid is not None:
            self.branches = self.open_branches(settings["branches"], self.uid)
        if self.uid is not None and settings["own_id"] and not has_own_ids():
            self.uid = any_id()
        self.guest = Guest(self.uid, settings["limits"], text)
        self.nursery = Nursery(self.guest)
        self.sessions = Sessions(self)
        self.files = Files(self.root, self.scratch)
        self.wakeup, wakeup_write = os.pipe()
        for handle in (self.wakeup, wakeup_write):
            os.set_blocking(handle, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _noted)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)

    def open_branches(self, limits: dict[str, int], guest: int) -> Branches | None:
        """Prepare for several branches, where the host allows it and a guest could not do the same."""
        own = [folder for folder in self.scratch if folder in PRIVATE_SCRATCH]
        branches = attempt(self.root, own, limits, guest)
        if branches is not None:
            self.scratch = [folder for folder in self.scratch if folder not in own]
        return branches

    def as_guest(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` with the guest's rights over files. Only while no program of the guest runs."""
        if self.uid is None:
            return work(*arguments)
        os.setegid(self.uid)
        os.seteuid(self.uid)
        try:
            return work(*arguments)
        finally:
            os.seteuid(0)
            os.setegid(0)

    @property
    def sources(self) -> list[int]:
        """What tells of processes that have ended."""
        return [self.wakeup, self.nursery.socket.fileno()] if self.nursery.alive else [self.wakeup]

    def reap(self, program: Program) -> None:
        """Collect the dead without waiting."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakeup, 512):
                pass
        for pid, status in self.nursery.news():
            self.note(program, pid, status)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.nursery.pid:
                    self.nursery.end()
                self.note(program, pid, status)

    def note(self, program: Program, pid: int, status: int) -> None:
        """Hear that a process has ended."""
        program.note(pid, status)
        self.sessions.note(pid)

    def kill_all(self, program: Program) -> None:
        """End every process but this one, the nursery and the sessions, which stay stopped.

        All are stopped before the first is killed, at once: none is left that could fork while the others are looked for.
        """
        deadline = time.monotonic() + REAP_SECONDS
        while True:
            self.reap(program)
            others = self.others()
            if not others and program.status is not None:
                return
            if time.monotonic() > deadline:
                os._exit(70)  # something does not die: the host replaces the sandbox
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGSTOP)
            for pid in self.others():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.nursery.alive:
                os.kill(self.nursery.pid, signal.SIGCONT)
            select.select(self.sources, [], [], 0.05)

    def others(self) -> list[int]:
        """Return the processes that are to be gone, those not yet collected included.

        What a session has not collected of its dead does no more than wait until the session goes on.
        """
        sessions = self.sessions.pids()
        own = {1, self.nursery.pid} | sessions
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid not in own]
        return [pid for pid in found if not (sessions and dead_child_of(pid, sessions))]

    def attend(self, program: Program, handle: int) -> None:
        """Take in what has arrived while a program runs."""
        if handle == self.stream.life:
            raise Hangup
        self.stream.fill()
        self.sort(program)

    def sort(self, program: Program) -> None:
        """Answer pings, put everything else off, and see whether the program is to be cancelled."""
        while True:
            frame = self.stream.take()
            if frame is None:
                break
            if frame[0]["op"] == "ping":
                self.stream.send({"id": frame[0]["id"]})
            elif frame[0]["op"] == "input":
                if frame[0]["target"] == program.number:  # else it is for one that has ended
                    program.take(frame[1], end=frame[0]["end"], room=frame[0]["room"])
            else:
                self.backlog.append(frame)
        program.cancelled = any(head["op"] == "cancel" and head["target"] == program.number for head, _ in self.backlog)

    def op_ping(self, _request: Header, _body: bytes) -> Frame:
        """Say that this worker is there."""
        return {}, b""

    def op_cancel(self, _request: Header, _body: bytes) -> Frame:
        """Answered once nothing runs any more: what was to be cancelled is gone with every process of it."""
        return {}, b""

    def op_exec(self, request: Header, body: bytes) -> Frame:
        """Run a program to its end."""
        if self.uid is None:
            self.files.claim(self.root)  # the work space itself is the guest's here, who may have locked it
        cwd = self.as_guest(self.files.resolve, request["cwd"])
        return Program(self, {**request, "cwd": cwd, "env": {**self.environment, **request["env"]}}, body).run()

    def op_cell(self, request: Header, _body: bytes) -> Frame:
        """Run a cell in the branch's session; without one, say so or (`fresh`) start it."""
        branch = request.get("branch")
        cwd = self.as_guest(self.files.resolve, ".")
        session = self.sessions.live.get(branch)
        if session is None and request["fresh"]:
            session = self.sessions.start(branch, {**self.environment, **request["env"]}, cwd)
        if session is None:
            return {"gone": True}, b""
        return Cell(self, {**request, "cwd": cwd}, session).run()

    def op_end(self, request: Header, _body: bytes) -> Frame:
        """End the branch's session."""
        self.sessions.drop(request.get("branch"))
        return {}, b""

    def op_environment(self, request: Header, _body: bytes) -> Frame:
        """Give the programs that come further environment variables."""
        self.environment.update(request["env"])
        return {}, b""

    def op_open(self, request: Header, _body: bytes) -> Frame:
        """Make a branch, in a known state or empty."""
        self.known().open(request["number"], request["state"])
        self.sessions.bring(request["number"], request["state"])
        return {}, b""

    def op_drop(self, request: Header, _body: bytes) -> Frame:
        """Remove a branch."""
        self.sessions.drop(request["number"])
        self.known().drop(request["number"])
        return {}, b""

    def op_freeze(self, request: Header, _body: bytes) -> Frame:
        """Give a branch's present files a name under which further branches can start."""
        dropped = self.known().freeze(request["number"], request["state"])
        self.sessions.forget(dropped)
        self.sessions.keep(request["number"], request["state"])
        return {"dropped": dropped}, b""

    def op_changes(self, request: Header, _body: bytes) -> Frame:
        """Describe what the branch has changed since its last state."""
        rows, folders = self.known().changes(request["branch"])
        self.as_guest(self.files.complete, rows)
        return {}, json.dumps([rows, folders]).encode()

    def known(self) -> Branches:
        """Return the branches; the host asks for them only where this sandbox said that it has them."""
        if self.branches is None:
            raise Refused("branches", "this sandbox has a single branch")
        return self.branches

    def op_read(self, request: Header, _body: bytes) -> Frame:
        """Read a part of a file."""
        size, data = self.as_guest(self.files.read, request["path"], request["offset"], request["size"])
        return {"size": size}, data

    def op_write(self, request: Header, body: bytes) -> Frame:
        """Write a part of a file."""
        arguments = (request["path"], request["offset"], request["total"], body, request["mode"])
        self.as_guest(self.files.write, *arguments)
        return {}, b""

    def op_put(self, request: Header, body: bytes) -> Frame:
        """Write whole small files; `files` is [path, mode, size] in the order of the body."""
        self.as_guest(self.files.put, request["files"], body)
        return {}, b""

    def op_get(self, request: Header, _body: bytes) -> Frame:
        """Read whole small files."""
        pieces = self.as_guest(self.files.get, request["paths"], request["limit"])
        return {"sizes": [len(piece) for piece in pieces]}, b"".join(pieces)

    def op_remove(self, request: Header, _body: bytes) -> Frame:
        """Remove a file, a link or a folder; the work space itself is only emptied."""
        path = os.path.normpath(os.path.join(self.root, request["path"]))
        if path != self.root:
            # The link itself goes, not what it points to.
            parent = self.as_guest(self.files.resolve, os.path.dirname(path))
            self.as_guest(self.files.remove, os.path.join(parent, os.path.basename(path)))
        else:
            self.as_guest(self.files.apply, [])
        return {}, b""

    def op_manifest(self, _request: Header, _body: bytes) -> Frame:
        """Describe the work space."""
        return {}, json.dumps(self.as_guest(self.files.manifest)).encode()

    def op_apply(self, request: Header, body: bytes) -> Frame:
        """Make the work space what the body describes."""
        if not request["keep"]:
            self.sessions.drop(request.get("branch"))
        return {}, json.dumps(self.as_guest(self.files.apply, json.loads(body))).encode()

    def answer(self, request: Header, body: bytes) -> Frame:
        """Do what is asked; what cannot be done is said in the reply."""
        try:
            if request["op"] != "write" and self.files.part is not None:
                self.as_guest(self.files.abandon)
            if self.branches is not None and "branch" in request and self.branches.switch(request["branch"]):
                self.as_guest(self.files.clear_scratch)
            operation: Callable[[Header, bytes], Frame] = getattr(self, "op_" + request["op"])
            return operation(request, body)
        except Refused as error:
            return {"error": error.kind, "message": str(error)}, b""
        except OSError as error:
            return {"error": "os", "errno": error.errno, "message": error.strerror or str(error)}, b""

    def serve(self) -> NoReturn:
        """Answer until the stream ends."""
        has = {"branches": self.branches is not None, "wire": self.stream.life is not None}
        self.stream.send({"id": 0, "python": sys.version.split()[0], **has})
        while True:
            request, body = self.backlog.pop(0) if self.backlog else self.stream.wait()
            if request["op"] == "input":
                continue  # for a program that has ended
            reply, data = self.answer(request, body)
            self.stream.send({**reply, "id": request["id"]}, data)


def dead_child_of(pid: int, parents: set[int]) -> bool:
    """Whether a process is dead and one of `parents` has to collect it; one that is gone altogether counts as such."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return True
    return fields[0] == b"Z" and int(fields[1]) in parents


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: that a handler exists is what makes the signal arrive at the wake-up pipe."""


def main(settings: str) -> None:
    """Serve as process 1."""
    if os.getpid() != 1:
        # kill(-1) would end every process of the user on this machine.
        sys.exit(f"this program must be process 1 of a pid namespace; it is number {os.getpid()}")
    worker = Worker(json.loads(settings))
    try:
        worker.serve()
    except (Hangup, BrokenPipeError, ConnectionResetError):
        os._exit(0)
