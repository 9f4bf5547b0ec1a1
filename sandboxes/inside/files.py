"""The work space's files, touched with the guest's own rights and only while no program of the guest runs.

There is then nothing to race and nothing to gain from links.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING

from .frames import Refused, write_all

if TYPE_CHECKING:  # Python 3.8 cannot evaluate these
    from typing import Any

    Row = list[Any]
    """One line of a manifest: kind, path, mode, size, SHA-256 of a file or target of a link."""
    Hashes = dict[str, tuple[tuple[int, ...], str]]
    """What identifies a file's state, and its SHA-256, by path."""

SKIPPED_FOLDERS = frozenset(["__pycache__", ".pytest_cache"])
SKIPPED_SUFFIX = ".pyc"
HASH_SETTLED_NS = 100_000_000


class Files:
    """The work space, touched with the guest's rights."""

    def __init__(self, root: str, scratch: list[str]) -> None:
        self.root = root
        self.scratch = scratch
        self.hashes: Hashes = {}
        self.part: str | None = None
        self.part_name = ".part-" + os.urandom(12).hex()
        """No guest can guess it, and so be there first."""

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
        part = os.path.join(os.path.dirname(real), self.part_name)
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
        room = self.size()
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
                    room = self.shrunk(room, status.st_size)
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

    def size(self) -> int:
        """Return how many bytes fit into the work space."""
        status = os.statvfs(self.root)
        return status.f_blocks * status.f_frsize

    def shrunk(self, room: int, size: int) -> int:
        """Return what is left of `room`. Files with holes can promise more than could ever be brought back, or hashed."""
        if size > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return room - size

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
        self.clear_scratch()
        self.claim(self.root)
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

    def clear_scratch(self) -> None:
        """Empty the folders that are no part of a state."""
        for folder in self.scratch:
            self.claim(folder)
            for entry in self.listing(folder):
                self.remove(entry.path)

    def claim(self, folder: str) -> None:
        """Give a folder that is never removed the rights it had, where a guest could change them."""
        with contextlib.suppress(PermissionError):
            os.chmod(folder, 0o1777)
            for name in os.listxattr(folder):
                os.removexattr(folder, name)

    def complete(self, rows: list[Row]) -> None:
        """Fill in the digests of files."""
        room = self.size()
        for row in rows:
            if row[0] == "f":
                room = self.shrunk(room, row[3])
                status = os.lstat(self.reachable(row[1]))
                row[4] = self.digest(row[1], status, self.hashes)

    def reachable(self, path: str) -> str:
        """Return the full path of a file, the folders on the way unlocked where the guest has locked them."""
        full = os.path.join(self.root, path)
        try:
            os.lstat(full)
        except PermissionError:
            folder = self.root
            for part in path.split("/")[:-1]:
                folder = os.path.join(folder, part)
                os.chmod(folder, 0o755)
        return full

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
