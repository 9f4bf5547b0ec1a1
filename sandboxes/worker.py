"""The program inside a sandbox: serves one host over its standard streams until they close.

It is sent to the sandbox as text and never imported by the framework. It needs Python 3.8 and nothing but the standard
library, and it insists on being process 1 of its own pid namespace: that makes `kill(-1)` mean "every process of this
sandbox" and nothing else, and makes it the parent of every orphan, so that no process can hide from it.

Frames, both ways: two big-endian 32-bit lengths, a JSON object, raw bytes. A request has an `id` and an `op`; its reply
has the same `id` and either results or `error`. Only `exec` takes time, and while it runs the stream is still read:
`ping` is answered, `cancel` obeyed, other requests wait, and the end of the stream kills everything. Files are only
touched while no program of the guest runs, with the guest's own rights, so that there is nothing to race and nothing to
gain from links.
"""

# Names that are not UTF-8, links and rights matter here: plain os calls, no pathlib. Modes are those of a guest's files.
# ruff: noqa: PTH101, PTH103, PTH105, PTH106, PTH108, PTH112, PTH113, PTH115, PTH116, PTH118, PTH119, PTH120, PTH123
# ruff: noqa: PTH211, S103

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from collections.abc import Callable

    Header = dict[str, Any]
    Frame = tuple[Header, bytes]
    Row = list[Any]
    """One line of a manifest: kind, path, mode, size, SHA-256 of a file or target of a link."""
    Hashes = dict[str, tuple[tuple[int, ...], str]]
    """What identifies a file's state, and its SHA-256, by path."""

T = TypeVar("T")

HEAD = struct.Struct(">II")
CHUNK = 1 << 16
SKIPPED_FOLDERS = frozenset(["__pycache__", ".pytest_cache"])
SKIPPED_SUFFIX = ".pyc"
HASH_SETTLED_NS = 100_000_000
REAP_SECONDS = 10.0
"""How long processes may take to die of SIGKILL before the sandbox is given up."""
NICENESS = 5
PR_SET_DUMPABLE = 4


class Refused(Exception):
    """The request cannot be granted; `kind` tells the host why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Hangup(Exception):
    """The host closed the stream."""


class Stream:
    """Frames over the standard streams. Reading never blocks unless asked to, writing does."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.buffer = bytearray()
        os.set_blocking(source, False)

    def fill(self) -> None:
        """Take in what has arrived, without waiting."""
        try:
            data = os.read(self.source, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            raise Hangup
        self.buffer += data

    def take(self) -> Frame | None:
        """Return the next frame, None where it has not wholly arrived."""
        if len(self.buffer) < HEAD.size:
            return None
        header_size, body_size = HEAD.unpack_from(self.buffer)
        end = HEAD.size + header_size + body_size
        if len(self.buffer) < end:
            return None
        with memoryview(self.buffer) as view:
            header = bytes(view[HEAD.size : HEAD.size + header_size])
            body = bytes(view[HEAD.size + header_size : end])
        del self.buffer[:end]
        return json.loads(header), body

    def wait(self) -> Frame:
        """Return the next frame."""
        while True:
            frame = self.take()
            if frame is not None:
                return frame
            select.select([self.source], [], [])
            self.fill()

    def send(self, header: Header, body: bytes = b"") -> None:
        """Send one frame."""
        text = json.dumps(header).encode()
        write_all(self.sink, HEAD.pack(len(text), len(body)) + text + body)


class Files:
    """The work space, touched with the guest's rights."""

    def __init__(self, root: str, scratch: list[str]) -> None:
        self.root = root
        self.scratch = scratch
        self.hashes: Hashes = {}
        self.part: str | None = None

    def resolve(self, path: str) -> str:
        """Return the real absolute path of `path`, which must be within the work space."""
        real = os.path.realpath(os.path.join(self.root, path))
        if real != self.root and not real.startswith(self.root + "/"):
            raise Refused("outside", "the path leads out of the work space")
        return real

    def open(self, path: str) -> int:
        """Open for reading, even a file that the guest has locked. Never waits, never follows a link."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(path, flags)
        except PermissionError:
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            os.chmod(path, stat.S_IRUSR)
            try:
                return os.open(path, flags)
            finally:
                os.chmod(path, mode)

    def read(self, path: str, offset: int, size: int) -> tuple[int, bytes]:
        """Return the file's total size and at most `size` bytes from `offset`."""
        handle = self.open(self.resolve(path))
        try:
            status = os.fstat(handle)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            data = bytearray()
            while len(data) < size:
                piece = os.pread(handle, size - len(data), offset + len(data))
                if not piece:
                    break
                data += piece
            return status.st_size, bytes(data)
        finally:
            os.close(handle)

    def write(self, path: str, offset: int, total: int, body: bytes, mode: int | None) -> None:
        """Write one part of a file; the file appears, whole, with its last part."""
        real = self.resolve(path)
        if os.path.isdir(real):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        os.makedirs(os.path.dirname(real), exist_ok=True)
        part = os.path.join(os.path.dirname(real), ".part-" + hashlib.sha256(os.fsencode(real)).hexdigest()[:16])
        if mode is None:
            mode = stat.S_IMODE(os.stat(real).st_mode) if os.path.isfile(real) else 0o644
        try:
            if offset == 0:
                self.remove(part)
                self.part = part
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                write_all(handle, body)
                if offset + len(body) == total:
                    os.fchmod(handle, mode)
            finally:
                os.close(handle)
            if offset + len(body) == total:
                os.replace(part, real)
                self.part = None
        except OSError:
            self.abandon()
            raise

    def put(self, files: list[tuple[str, int, int]], body: bytes) -> None:
        """Write whole files: path, mode and size of each, contents one after the other."""
        offset = 0
        for path, mode, size in files:
            self.write(path, 0, size, body[offset : offset + size], mode)
            offset += size

    def get(self, paths: list[str], limit: int) -> list[bytes]:
        """Return the contents of files, of each at most `limit` bytes."""
        return [self.read(path, 0, limit)[1] for path in paths]

    def abandon(self) -> None:
        """Remove what was written of a file whose last part never came."""
        if self.part is not None:
            part, self.part = self.part, None
            self.remove(part)

    def listing(self, folder: str) -> list[os.DirEntry[str]]:
        """Return the entries of a folder, sorted, even of one that the guest has locked."""
        try:
            entries = os.scandir(folder)
        except PermissionError:
            os.chmod(folder, 0o755)
            entries = os.scandir(folder)
        with entries:
            return sorted(entries, key=lambda entry: entry.name)

    def remove(self, path: str) -> None:
        """Remove whatever is at `path`, with all that is in it, following no links. Nothing there is fine."""
        try:
            is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
        except FileNotFoundError:
            return
        if not is_folder:
            os.unlink(path)
            return
        folders = [path]
        for folder in folders:
            os.chmod(folder, 0o755)
            for entry in self.listing(folder):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    os.unlink(entry.path)
        for folder in reversed(folders):
            os.rmdir(folder)

    def manifest(self) -> list[Row]:
        """Return the row of every file, link and empty folder, sorted by path."""
        rows: list[Row] = []
        hashes: Hashes = {}
        folders = [""]
        while folders:
            folder = folders.pop()
            kept = False
            for entry in self.listing(os.path.join(self.root, folder)):
                path = os.path.join(folder, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if entry.name in SKIPPED_FOLDERS:
                        continue
                    folders.append(path)
                elif entry.is_symlink():
                    rows.append(["l", path, 0, 0, os.readlink(entry.path)])
                elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(SKIPPED_SUFFIX):
                    status = entry.stat(follow_symlinks=False)
                    digest = self.digest(path, status, hashes)
                    rows.append(["f", path, stat.S_IMODE(status.st_mode) & 0o777, status.st_size, digest])
                else:
                    continue
                kept = True
            if not kept and folder:
                rows.append(["d", folder, 0, 0, ""])
        self.hashes = hashes
        rows.sort(key=lambda row: str(row[1]))
        return rows

    def digest(self, path: str, status: os.stat_result, hashes: Hashes) -> str:
        """Return the file's SHA-256; one that has not changed since the last time is not read again."""
        key = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self.hashes.get(path)
        if known is not None and known[0] == key:
            hashes[path] = known
            return known[1]
        handle = self.open(os.path.join(self.root, path))
        digest = hashlib.sha256()
        try:
            while True:
                piece = os.read(handle, 1 << 20)
                if not piece:
                    break
                digest.update(piece)
        finally:
            os.close(handle)
        # The kernel's time stamps are coarse: a file changed a moment ago may change again within the same tick.
        if time.time_ns() - status.st_ctime_ns > HASH_SETTLED_NS:
            hashes[path] = (key, digest.hexdigest())
        return digest.hexdigest()

    def apply(self, rows: list[Row]) -> list[str]:
        """Make the work space that of `rows` but for contents; return the paths whose content has to be sent."""
        for folder in self.scratch:
            for entry in self.listing(folder):
                self.remove(entry.path)
        wanted = {row[1]: row for row in rows}
        folders: set[str] = {row[1] for row in rows if row[0] == "d"}
        for row in rows:
            parent = os.path.dirname(row[1])
            while parent and parent not in folders:
                folders.add(parent)
                parent = os.path.dirname(parent)
        self.prune(wanted, folders)
        for folder in sorted(folders):
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)
        present = {row[1]: row for row in self.manifest()}
        missing: list[str] = []
        for path, row in wanted.items():
            full = os.path.join(self.root, path)
            here = present.get(path)
            if row[0] == "l" and here != row:
                self.remove(full)
                os.symlink(row[4], full)
            elif row[0] == "f" and (here is None or here[3:] != row[3:]):
                missing.append(path)
            elif row[0] == "f" and here is not None and here[2] != row[2]:
                os.chmod(full, row[2])
        return missing

    def prune(self, wanted: dict[str, Row], folders: set[str]) -> None:
        """Remove what is neither wanted nor of the kind that is wanted at its path, caches included."""
        pending = [""]
        while pending:
            folder = pending.pop()
            if folder:
                os.chmod(os.path.join(self.root, folder), 0o755)
            for entry in self.listing(os.path.join(self.root, folder)):
                path = os.path.join(folder, entry.name)
                kind = wanted[path][0] if path in wanted else None
                if entry.is_dir(follow_symlinks=False) and path in folders:
                    pending.append(path)
                elif not (kind == "l" and entry.is_symlink()) and not (
                    kind == "f" and entry.is_file(follow_symlinks=False)
                ):
                    self.remove(entry.path)


class Program:
    """One run of a guest's program: starts it, feeds and drains it, ends every process of it."""

    def __init__(self, worker: Worker, request: Header, stdin: bytes) -> None:
        self.worker = worker
        self.request = request
        self.stdin = memoryview(stdin)
        self.room: int = request["limit"]
        self.cancelled = False
        self.truncated = False
        self.status: int | None = None
        self.pid = 0
        self.stdin_write: int | None = None
        self.outputs: dict[int, bytearray] = {}
        self.open_outputs: list[int] = []
        self.trouble = -1

    def start(self) -> None:
        """Fork. Over a pipe that closes on exec the child tells what went wrong before that."""
        stdin_read, self.stdin_write = os.pipe()
        stdout_read, stdout_write = os.pipe()
        stderr_read, stderr_write = os.pipe()
        self.trouble, trouble_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.become((stdin_read, stdout_write, stderr_write), trouble_write)
        for handle in (stdin_read, stdout_write, stderr_write, trouble_write):
            os.close(handle)
        self.open_outputs = [stdout_read, stderr_read]
        self.outputs = {handle: bytearray() for handle in self.open_outputs}
        for handle in (self.stdin_write, *self.open_outputs):
            os.set_blocking(handle, False)

    def become(self, streams: tuple[int, ...], trouble: int) -> NoReturn:
        """Turn the forked child into the guest's program."""
        try:
            for number, handle in enumerate(streams):
                os.dup2(handle, number)
            signal.set_wakeup_fd(-1)
            for caught in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
                signal.signal(caught, signal.SIG_DFL)
            os.setsid()
            self.worker.drop_rights()
            os.chdir(self.request["cwd"])
            os.execvpe(self.request["argv"][0], self.request["argv"], self.request["env"])  # noqa: S606
        except OSError as error:
            os.write(trouble, json.dumps([error.errno, str(error.filename or "")]).encode())
        except ValueError as error:
            os.write(trouble, json.dumps([errno.EINVAL, str(error)]).encode())
        finally:
            os._exit(127)

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
            self.worker.kill_all(self)
            seconds = time.monotonic() - begun
            self.finish()
        return self.reply(timed_out=timed_out, seconds=seconds)

    def step(self, left: float) -> None:
        """Wait for something to happen and deal with it."""
        poller = select.poll()
        poller.register(self.worker.stream.source, select.POLLIN)
        poller.register(self.worker.wakeup, select.POLLIN)
        if self.stdin_write is not None:
            poller.register(self.stdin_write, select.POLLOUT)
        for handle in self.open_outputs:
            poller.register(handle, select.POLLIN)
        for handle, _ in poller.poll(min(left, 60.0) * 1000):
            if handle == self.worker.stream.source:
                self.worker.attend(self)
            elif handle == self.worker.wakeup:
                self.worker.reap(self)
            elif handle == self.stdin_write:
                self.feed(handle)
            else:
                self.drain(handle)

    def feed(self, handle: int) -> None:
        """Send the program a piece of its input; close it after the last."""
        try:
            if self.stdin:
                self.stdin = self.stdin[os.write(handle, self.stdin[:CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.stdin = memoryview(b"")
        if not self.stdin:
            os.close(handle)
            self.stdin_write = None

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
        self.outputs[handle] += data[: self.room]
        self.room -= min(self.room, len(data))
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

    def reply(self, *, timed_out: bool, seconds: float) -> Frame:
        """Return how it ended."""
        trouble = os.read(self.trouble, 4096)
        os.close(self.trouble)
        code = -signal.SIGKILL if self.status is None else self.status
        stdout, stderr = self.outputs.values()
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


class Worker:
    """Serves requests one after the other."""

    def __init__(self, settings: Header) -> None:
        self.root: str = settings["root"]
        self.guest: int | None = settings["guest"]
        self.limits: dict[str, int] = settings["limits"]
        self.environment: dict[str, str] = {**os.environ, **settings["env"]}
        self.files = Files(self.root, settings["scratch"])
        self.stream = Stream(0, 1)
        self.backlog: list[Frame] = []
        self.set_dumpable: Callable[[bool], object] = lambda _: None
        if self.guest is None:
            # The guest has the worker's own uid: keep it from /proc/1, through which it could write frames.
            import ctypes

            prctl = ctypes.CDLL(None).prctl
            self.set_dumpable = lambda allowed: prctl(PR_SET_DUMPABLE, int(allowed), 0, 0, 0)
            self.set_dumpable(False)
        self.wakeup, wakeup_write = os.pipe()
        for handle in (self.wakeup, wakeup_write):
            os.set_blocking(handle, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, _noted)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)

    def drop_rights(self) -> None:
        """In the child: be killed first when memory runs out, be limited, be the guest."""
        self.set_dumpable(True)
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        os.nice(NICENESS)  # so that the worker is heard while the guest burns all the processor time there is
        for name, wanted in self.limits.items():
            number = getattr(resource, "RLIMIT_" + name)
            hard = resource.getrlimit(number)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(number, (value, value))
        os.umask(0o022)
        if self.guest is not None:
            os.setgroups([])
            os.setresgid(self.guest, self.guest, self.guest)
            os.setresuid(self.guest, self.guest, self.guest)

    def as_guest(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` with the guest's rights over files. Only while no program of the guest runs."""
        if self.guest is None:
            return work(*arguments)
        os.setegid(self.guest)
        os.seteuid(self.guest)
        try:
            return work(*arguments)
        finally:
            os.seteuid(0)
            os.setegid(0)

    def reap(self, program: Program) -> bool:
        """Collect the dead without waiting; return whether any process is left."""
        try:
            while os.read(self.wakeup, 512):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == program.pid:
                program.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def kill_all(self, program: Program) -> None:
        """End every process but this one. `kill(-1)` is atomic: no fork escapes it."""
        deadline = time.monotonic() + REAP_SECONDS
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            if not self.reap(program):
                return
            if time.monotonic() > deadline:
                os._exit(70)  # something does not die: the host replaces the sandbox
            select.select([self.wakeup], [], [], 0.05)

    def attend(self, program: Program) -> None:
        """Take in what has arrived while a program runs."""
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
            else:
                self.backlog.append(frame)
        number = program.request["id"]
        program.cancelled = any(head["op"] == "cancel" and head["target"] == number for head, _ in self.backlog)

    def op_ping(self, _request: Header, _body: bytes) -> Frame:
        """Say that this worker is there."""
        return {}, b""

    def op_cancel(self, _request: Header, _body: bytes) -> Frame:
        """Answered once nothing runs any more: what was to be cancelled is gone with every process of it."""
        return {}, b""

    def op_exec(self, request: Header, body: bytes) -> Frame:
        """Run a program to its end."""
        cwd = self.as_guest(self.files.resolve, request["cwd"])
        return Program(self, {**request, "cwd": cwd, "env": {**self.environment, **request["env"]}}, body).run()

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

    def op_apply(self, _request: Header, body: bytes) -> Frame:
        """Make the work space what the body describes."""
        return {}, json.dumps(self.as_guest(self.files.apply, json.loads(body))).encode()

    def answer(self, request: Header, body: bytes) -> Frame:
        """Do what is asked; what cannot be done is said in the reply."""
        try:
            if request["op"] != "write" and self.files.part is not None:
                self.as_guest(self.files.abandon)
            operation: Callable[[Header, bytes], Frame] = getattr(self, "op_" + request["op"])
            return operation(request, body)
        except Refused as error:
            return {"error": error.kind, "message": str(error)}, b""
        except OSError as error:
            return {"error": "os", "errno": error.errno, "message": error.strerror or str(error)}, b""

    def serve(self) -> NoReturn:
        """Answer until the stream ends."""
        self.stream.send({"id": 0, "python": sys.version.split()[0]})
        while True:
            request, body = self.backlog.pop(0) if self.backlog else self.stream.wait()
            reply, data = self.answer(request, body)
            self.stream.send({**reply, "id": request["id"]}, data)


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: that a handler exists is what makes the signal arrive at the wake-up pipe."""


def write_all(handle: int, data: bytes) -> None:
    """Write to the end, however small the pieces are that the other side takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def main() -> None:
    """Serve as process 1."""
    if os.getpid() != 1:
        # kill(-1) would end every process of the user on this machine.
        sys.exit(f"this program must be process 1 of a pid namespace; it is number {os.getpid()}")
    worker = Worker(json.loads(sys.argv[1]))
    if worker.guest is not None:
        os.setgroups([])
        if os.stat(worker.root).st_uid == 0:
            os.chmod(worker.root, 0o1777)  # where the image has the folder, its mode replaces the mount's
    try:
        worker.serve()
    except (Hangup, BrokenPipeError):
        os._exit(0)


main()
