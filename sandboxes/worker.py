"""The program inside a sandbox: serves one host over its standard streams until they close.

It is sent to the sandbox as text and never imported by the framework. It needs Python 3.8 and nothing but the standard
library, and it insists on being process 1 of its own pid namespace: that makes `kill(-1)` mean "every process of this
sandbox" and nothing else, and makes it the parent of every orphan, so that no process can hide from it.

Frames, both ways: two big-endian 32-bit lengths, a JSON object, raw bytes. A request has an `id` and an `op`; its reply
has the same `id` and either results or `error`. Only `exec` takes time, and while it runs the stream is still
read: `cancel` and `ping` are answered, other requests wait, the end of the stream kills everything. Files are only
touched while no program of the guest runs, with the guest's own rights, so there is nothing to race and nothing to gain
from links.
"""

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

HEAD = struct.Struct(">II")
CHUNK = 1 << 16
SKIP_FOLDERS = frozenset(["__pycache__", ".pytest_cache"])
SKIP_SUFFIXES = (".pyc",)
HASH_SETTLED_NS = 100_000_000
REAP_SECONDS = 10.0
"""How long processes may take to die of SIGKILL before the sandbox is given up."""


class Refused(Exception):
    """The request cannot be granted: `kind` tells the host why."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class Hangup(Exception):
    """The host closed the stream."""


class Stream:
    """Frames over the standard streams. Reading never blocks unless asked to, writing does."""

    def __init__(self, source, sink):
        self.source = source
        self.sink = sink
        self.buffer = bytearray()
        os.set_blocking(source, False)

    def fill(self):
        """Take in what has arrived, without waiting."""
        try:
            data = os.read(self.source, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            raise Hangup
        self.buffer += data

    def take(self):
        """Return the next frame as (header, body), None where it has not wholly arrived."""
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

    def wait(self):
        """Return the next frame."""
        while True:
            frame = self.take()
            if frame is not None:
                return frame
            select.select([self.source], [], [])
            self.fill()

    def send(self, header, body=b""):
        text = json.dumps(header).encode()
        data = memoryview(HEAD.pack(len(text), len(body)) + text + body)
        while data:
            data = data[os.write(self.sink, data) :]


class Files:
    """The work space, touched with the guest's rights."""

    def __init__(self, root, scratch):
        self.root = root
        self.scratch = scratch
        self.hashes = {}
        self.part = None

    def resolve(self, path):
        """Return the real absolute path of `path`, which must be within the work space."""
        if "\0" in path:
            raise Refused("outside", "a path cannot hold a NUL character")
        real = os.path.realpath(os.path.join(self.root, path))
        if real != self.root and not real.startswith(self.root + "/"):
            raise Refused("outside", "the path leads out of the work space")
        return real

    def read(self, path, offset, size):
        """Return the file's total size and at most `size` bytes from `offset`."""
        handle = os.open(self.resolve(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "Is a directory")
            if not stat.S_ISREG(status.st_mode):
                raise Refused("outside", "not a regular file")
            data = bytearray()
            while len(data) < size:
                piece = os.pread(handle, size - len(data), offset + len(data))
                if not piece:
                    break
                data += piece
            return status.st_size, bytes(data)
        finally:
            os.close(handle)

    def write(self, path, offset, total, body, mode):
        """Write one part of a file; the file appears, whole, with its last part."""
        real = self.resolve(path)
        if os.path.isdir(real):
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        os.makedirs(os.path.dirname(real), exist_ok=True)
        part = os.path.join(os.path.dirname(real), ".part-" + hashlib.sha256(os.fsencode(real)).hexdigest()[:16])
        if mode is None:
            mode = stat.S_IMODE(os.stat(real).st_mode) if os.path.isfile(real) else 0o644
        try:
            if offset == 0:
                self.remove(part)
                self.part = part
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(part, flags, 0o600)
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

    def abandon(self):
        """Remove what was written of a file whose last part never came."""
        if self.part is not None:
            part, self.part = self.part, None
            self.remove(part)

    def listing(self, folder):
        """Return the entries of a folder, sorted, even of one that the guest has locked."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except PermissionError:
            os.chmod(folder, 0o755)
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)

    def remove(self, path):
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

    def empty(self, folder):
        for entry in self.listing(folder):
            self.remove(entry.path)

    def manifest(self):
        """Return [kind, path, mode, size, digest or target] of every file, link and empty folder, sorted by path."""
        rows = []
        hashes = {}
        folders = [""]
        while folders:
            folder = folders.pop()
            kept = 0
            for entry in self.listing(os.path.join(self.root, folder)):
                path = os.path.join(folder, entry.name)
                if entry.is_symlink():
                    rows.append(["l", path, 0, 0, os.readlink(entry.path)])
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name in SKIP_FOLDERS:
                        continue
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(SKIP_SUFFIXES):
                    status = entry.stat(follow_symlinks=False)
                    digest = self.digest(entry.path, status, hashes)
                    rows.append(["f", path, stat.S_IMODE(status.st_mode) & 0o777, status.st_size, digest])
                else:
                    continue
                kept += 1
            if not kept and folder:
                rows.append(["d", folder, 0, 0, ""])
        self.hashes = hashes
        rows.sort(key=lambda row: row[1])
        return rows

    def digest(self, path, status, hashes):
        """Return the file's SHA-256; one that has not changed since the last time is not read again."""
        key = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self.hashes.get(path)
        if known is not None and known[0] == key:
            hashes[path] = known
            return known[1]
        digest = hashlib.sha256()
        try:
            handle = open(path, "rb", buffering=0)
        except PermissionError:
            os.chmod(path, stat.S_IMODE(status.st_mode) | stat.S_IRUSR)
            try:
                handle = open(path, "rb", buffering=0)
            finally:
                os.chmod(path, stat.S_IMODE(status.st_mode))
        with handle:
            while True:
                piece = handle.read(1 << 20)
                if not piece:
                    break
                digest.update(piece)
        result = digest.hexdigest()
        # The kernel's time stamps are coarse: a file changed a moment ago may change again within the same tick.
        if time.time_ns() - status.st_ctime_ns > HASH_SETTLED_NS:
            hashes[path] = (key, result)
        return result

    def apply(self, rows):
        """Make the work space that of `rows` but for contents; return the paths whose content has to be sent."""
        for folder in self.scratch:
            self.empty(folder)
        wanted = {row[1]: row for row in rows}
        folders = {row[1] for row in rows if row[0] == "d"}
        for row in rows:
            parent = os.path.dirname(row[1])
            while parent and parent not in folders:
                folders.add(parent)
                parent = os.path.dirname(parent)
        self.prune(wanted, folders)
        for folder in sorted(folders):
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)
        present = {row[1]: row for row in self.manifest()}
        missing = []
        for path, row in wanted.items():
            full = os.path.join(self.root, path)
            here = present.get(path)
            if row[0] == "l" and here != row:
                self.remove(full)
                os.symlink(row[4], full)
            elif row[0] == "f":
                if here is None or here[3:] != row[3:]:
                    missing.append(path)
                elif here[2] != row[2]:
                    os.chmod(full, row[2])
        return missing

    def prune(self, wanted, folders):
        """Remove what is neither wanted nor of the kind that is wanted at its path, caches included."""
        pending = [""]
        while pending:
            folder = pending.pop()
            if folder:
                os.chmod(os.path.join(self.root, folder), 0o755)
            for entry in self.listing(os.path.join(self.root, folder)):
                path = os.path.join(folder, entry.name)
                row = wanted.get(path)
                if entry.is_dir(follow_symlinks=False) and path in folders:
                    pending.append(path)
                elif entry.is_symlink() and row is not None and row[0] == "l":
                    pass
                elif not entry.is_file(follow_symlinks=False) or row is None or row[0] != "f":
                    self.remove(entry.path)


class Program:
    """One run of a guest's program: starts it, feeds and drains it, ends every process of it."""

    def __init__(self, worker, request, stdin):
        self.worker = worker
        self.id = request["id"]
        self.request = request
        self.stdin = memoryview(stdin)
        self.room = request["limit"]
        self.outputs = {}
        self.truncated = False
        self.cancelled = False
        self.status = None
        self.deadline = time.monotonic() + request["timeout"]

    def start(self):
        """Fork. The child tells over a pipe that closes on exec what went wrong before it."""
        stdin_read, self.stdin_write = os.pipe()
        stdout_read, stdout_write = os.pipe()
        stderr_read, stderr_write = os.pipe()
        self.trouble, trouble_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.become((stdin_read, stdout_write, stderr_write), trouble_write)
        for handle in (stdin_read, stdout_write, stderr_write, trouble_write):
            os.close(handle)
        for handle in (self.stdin_write, stdout_read, stderr_read):
            os.set_blocking(handle, False)
        self.outputs = {stdout_read: bytearray(), stderr_read: bytearray()}
        self.handles = [stdout_read, stderr_read]

    def become(self, streams, trouble):
        """Turn the forked child into the guest's program. Never returns."""
        try:
            for number, handle in enumerate(streams):
                os.dup2(handle, number)
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            os.setsid()
            self.worker.drop_rights()
            os.chdir(self.request["cwd"])
            os.execvpe(self.request["argv"][0], self.request["argv"], self.request["env"])
        except BaseException as error:  # whatever it is, the child must end here
            number = getattr(error, "errno", None) or errno.EINVAL
            os.write(trouble, json.dumps([number, str(getattr(error, "filename", None) or "")]).encode())
        finally:
            os._exit(127)

    def run(self):
        """Return (reply, body)."""
        begun = time.monotonic()
        self.start()
        timed_out = False
        try:
            while self.status is None and not self.cancelled:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    timed_out = True
                    break
                self.step(left)
        finally:
            self.worker.kill_all(self)
            seconds = time.monotonic() - begun
            self.finish()
        return self.reply(timed_out, seconds)

    def step(self, left):
        """Wait for something to happen and deal with it."""
        poller = select.poll()
        poller.register(self.worker.stream.source, select.POLLIN)
        poller.register(self.worker.wakeup, select.POLLIN)
        if self.stdin_write is not None:
            poller.register(self.stdin_write, select.POLLOUT)
        for handle in self.handles:
            poller.register(handle, select.POLLIN)
        for handle, _ in poller.poll(min(left, 60.0) * 1000):
            if handle == self.worker.stream.source:
                self.worker.attend(self)
            elif handle == self.worker.wakeup:
                self.worker.reap(self)
            elif handle == self.stdin_write:
                self.feed()
            else:
                self.drain(handle)

    def feed(self):
        try:
            self.stdin = self.stdin[os.write(self.stdin_write, self.stdin[:CHUNK]) :] if self.stdin else self.stdin
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.stdin = memoryview(b"")
        if not self.stdin:
            os.close(self.stdin_write)
            self.stdin_write = None

    def drain(self, handle):
        """Take in one piece of output; return whether there may be more."""
        try:
            data = os.read(handle, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.handles.remove(handle)
            return False
        if len(data) > self.room:
            self.truncated = True
        self.outputs[handle] += data[: self.room]
        self.room -= min(self.room, len(data))
        return True

    def finish(self):
        """Take what the dead have left in the pipes, and close them."""
        for handle in list(self.handles):
            while self.drain(handle):
                pass
        for handle in self.outputs:
            os.close(handle)
        if self.stdin_write is not None:
            os.close(self.stdin_write)

    def reply(self, timed_out, seconds):
        with os.fdopen(self.trouble, "rb") as trouble:
            text = trouble.read(4096)
        code = self.status if self.status is not None else -signal.SIGKILL
        stdout, stderr = self.outputs.values()
        if text and not timed_out and not self.cancelled:
            number, name = json.loads(text)
            code = 127 if number == errno.ENOENT else 126
            stderr += ("cannot run: %s: %s\n" % (name or self.request["argv"][0], os.strerror(number))).encode()
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

    def __init__(self, settings):
        self.root = settings["root"]
        self.guest = settings["guest"]
        self.limits = settings["limits"]
        self.environment = {**os.environ, **settings["env"]}
        self.files = Files(self.root, settings["scratch"])
        self.stream = Stream(0, 1)
        self.backlog = []
        self.wakeup, wakeup_write = os.pipe()
        for handle in (self.wakeup, wakeup_write):
            os.set_blocking(handle, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)

    def drop_rights(self):
        """In the child: be killed first when memory runs out, be limited, be the guest."""
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        os.nice(5)  # so that the worker is heard while the guest burns all the processor time there is
        for name, value in self.limits.items():
            number = getattr(resource, "RLIMIT_" + name)
            hard = resource.getrlimit(number)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
        os.umask(0o022)
        if self.guest is not None:
            os.setgroups([])
            os.setresgid(self.guest, self.guest, self.guest)
            os.setresuid(self.guest, self.guest, self.guest)

    def as_guest(self, work, *arguments):
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

    def reap(self, program=None):
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
            if program is not None and pid == program.pid:
                program.status = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def kill_all(self, program=None):
        """End every process but this one. `kill(-1)` is atomic: no fork escapes it."""
        deadline = time.monotonic() + REAP_SECONDS
        while True:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if not self.reap(program):
                return
            if time.monotonic() > deadline:
                os._exit(70)  # something does not die: the host replaces the sandbox
            select.select([self.wakeup], [], [], 0.05)

    def attend(self, program):
        """Look at the stream while a program runs."""
        self.stream.fill()
        while True:
            frame = self.stream.take()
            if frame is None:
                return
            header = frame[0]
            if header["op"] == "ping":
                self.stream.send({"id": header["id"]})
                continue
            if header["op"] == "cancel" and header["target"] == program.id:
                program.cancelled = True
            self.backlog.append(frame)

    # --- operations: take the request and its body, return (reply, body) ---

    def op_ping(self, request, body):
        return {}, b""

    def op_cancel(self, request, body):
        """Answered once nothing runs any more: what was to be cancelled is gone with every process of it."""
        return {}, b""

    def op_exec(self, request, body):
        try:
            cwd = self.as_guest(self.files.resolve, request["cwd"])
        except PermissionError:
            cwd = self.root
        request = {**request, "cwd": cwd, "env": {**self.environment, **request["env"]}}
        return Program(self, request, body).run()

    def op_read(self, request, body):
        size, data = self.as_guest(self.files.read, request["path"], request["offset"], request["size"])
        return {"size": size}, data

    def op_write(self, request, body):
        arguments = (request["path"], request["offset"], request["total"], body, request.get("mode"))
        self.as_guest(self.files.write, *arguments)
        return {}, b""

    def op_put(self, request, body):
        """Write whole small files; `files` is [path, mode, size] in the order of the body."""
        offset = 0
        for path, mode, size in request["files"]:
            self.as_guest(self.files.write, path, 0, size, body[offset : offset + size], mode)
            offset += size
        return {}, b""

    def op_get(self, request, body):
        """Read whole small files."""
        pieces = [self.as_guest(self.files.read, path, 0, request["limit"])[1] for path in request["paths"]]
        return {"sizes": [len(piece) for piece in pieces]}, b"".join(pieces)

    def op_remove(self, request, body):
        for path in request["paths"]:
            self.as_guest(self.files.remove, self.files.resolve(path))
        return {}, b""

    def op_manifest(self, request, body):
        return {}, json.dumps(self.as_guest(self.files.manifest)).encode()

    def op_apply(self, request, body):
        return {}, json.dumps(self.as_guest(self.files.apply, json.loads(body))).encode()

    def answer(self, request, body):
        try:
            if request["op"] != "write" and self.files.part is not None:
                self.as_guest(self.files.abandon)
            return getattr(self, "op_" + request["op"])(request, body)
        except Refused as error:
            return {"error": error.kind, "message": str(error)}, b""
        except OSError as error:
            return {"error": "os", "errno": error.errno, "message": error.strerror or str(error)}, b""

    def serve(self):
        """Answer until the stream ends."""
        self.stream.send({"id": 0, "python": sys.version.split()[0]})
        while True:
            request, body = self.backlog.pop(0) if self.backlog else self.stream.wait()
            reply, data = self.answer(request, body)
            self.stream.send({**reply, "id": request["id"]}, data)


def write_all(handle, data):
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def main():
    if os.getpid() != 1:
        # kill(-1) would end every process of the user on this machine.
        sys.exit("this program must be process 1 of a pid namespace; it is number %d" % os.getpid())
    worker = Worker(json.loads(sys.argv[1]))
    if worker.guest is not None:
        os.setgroups([])
        if os.stat(worker.root).st_uid == 0:
            os.chmod(worker.root, 0o1777)
    try:
        worker.serve()
    except (Hangup, BrokenPipeError):
        os._exit(0)


main()
