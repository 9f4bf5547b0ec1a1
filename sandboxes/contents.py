"""Contents on disk under their hashes, the recent ones in memory too."""

from __future__ import annotations

import errno
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..core.errors import SandboxError
from .host_files import digest

CACHE_BYTES = 64 << 20
"""Contents in memory. They were hashed once, by this process, and are not read or hashed again."""
_CACHED_MOST_BYTES = 4 << 20
"""A larger content is not worth the many small ones that it would push out."""
_FORGOTTEN_SECONDS = 600.0
"""A file that is older than this and was never given its final name belongs to a writer that was killed."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Contents:
    """A folder with one file per content. Safe for use from several threads and processes.

    A file appears under its final name whole or not at all, so that a process killed at any point leaves nothing that
    counts.
    """

    def __init__(self, folder: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._base = str(folder)
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._seen: set[str] = set()
        """Contents that are known to be there, so that nobody has to look."""
        self._shelves: set[str] = set()
        """Folders that are known to be there."""
        self._stored_bytes: int | None = None

    def put(self, content: bytes) -> str:
        """Keep a content and return its digest.

        Raises:
            SandboxError: it cannot be written; nothing of it stays.
        """
        name = digest(content)
        if not self.has(name):
            self._write(name, content)
        self._remember(name, content)
        return name

    def has(self, name: str) -> bool:
        """Whether the content with this digest is kept."""
        if name in self._seen:
            return True
        found = os.path.isfile(self._path(name))  # noqa: PTH113  # ten times as fast, and called for every file
        if found:
            self._seen.add(name)
        return found

    def get(self, name: str) -> bytes:
        """Return a content.

        Raises:
            SandboxError: it is not there, or not what it was.
        """
        with self._lock:
            content = self._cache.get(name)
            if content is not None:
                self._cache.move_to_end(name)
                return content
        try:
            content = _read(self._path(name))
        except FileNotFoundError:
            self._seen.discard(name)
            raise SandboxError(f"the snapshot store {self._base!r} has lost the content {name}") from None
        except OSError as error:
            raise SandboxError(f"the content {name} in {self._base!r} cannot be read: {error.strerror}") from error
        if digest(content) != name:
            raise SandboxError(f"{self._path(name)!r} was changed or damaged: its content is not {name}")
        self._remember(name, content)
        return content

    def remove(self, names: Iterable[str]) -> int:
        """Remove contents and return how many bytes that freed."""
        freed = 0
        for name in names:
            path = self._path(name)
            self._seen.discard(name)
            with self._lock:
                self._cached_bytes -= len(self._cache.pop(name, b""))
            try:
                size = os.stat(path).st_size  # noqa: PTH116
                os.unlink(path)  # noqa: PTH108
            except FileNotFoundError:
                continue
            freed += size
        self._count(-freed)
        return freed

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield digest and size of every content, and remove what killed writers left."""
        for shelf in os.scandir(self._base):
            yield from whole_files(shelf.path)

    @property
    def stored_bytes(self) -> int:
        """What all contents take; counted once, then kept up by this process's own doings."""
        if self._stored_bytes is None:
            self._stored_bytes = sum(size for _, size in self.names())
        return self._stored_bytes

    def _count(self, size: int) -> None:
        with self._lock:
            if self._stored_bytes is not None:
                self._stored_bytes += size

    def _remember(self, name: str, content: bytes) -> None:
        self._seen.add(name)
        if len(content) > _CACHED_MOST_BYTES:
            return
        with self._lock:
            if name not in self._cache:
                self._cache[name] = content
                self._cached_bytes += len(content)
            while self._cached_bytes > self._cache_bytes:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])

    def _write(self, name: str, content: bytes) -> None:
        shelf = f"{self._base}/{name[:2]}"
        try:
            if shelf not in self._shelves:
                os.makedirs(shelf, exist_ok=True)  # noqa: PTH103
                self._shelves.add(shelf)
            write_whole(f"{shelf}/{name}", (content,))
        except OSError as error:
            raise cannot_write(self._base, len(content), error) from error
        self._count(len(content))

    def _path(self, name: str) -> str:
        return f"{self._base}/{name[:2]}/{name}"


def write_whole(path: str, pieces: Sequence[bytes]) -> None:
    """Write a file that appears whole or not at all. Plain system calls: a state may have thousands of them.

    Raises:
        OSError: it cannot be written; nothing of it stays.
    """
    part = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.part")  # noqa: PTH118, PTH120
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(handle, view) :]
        finally:
            os.close(handle)
        os.replace(part, path)  # noqa: PTH105
    except BaseException:
        os.unlink(part)  # noqa: PTH108
        raise


def whole_files(folder: str) -> Iterator[tuple[str, int]]:
    """Yield name and size of every file that `write_whole` has written into a folder, and remove what killed writers left."""
    for item in os.scandir(folder):
        try:
            status = item.stat(follow_symlinks=False)
            if not item.name.startswith("."):
                yield item.name, status.st_size
            elif time.time() - status.st_mtime > _FORGOTTEN_SECONDS:
                os.unlink(item.path)  # noqa: PTH108
        except FileNotFoundError:
            continue


def cannot_write(folder: str, size: int, error: OSError) -> SandboxError:
    """Return the error to raise where a part of a snapshot cannot be written."""
    if error.errno in _FULL:
        return SandboxError(
            f"the disk is full: {size} bytes of a snapshot do not fit into {folder!r} any more; make room there "
            "(`branchwise sandbox prune` shows what can go), or give the run less with Budget(snapshot_bytes=...)"
        )
    return SandboxError(f"a snapshot cannot be written to {folder!r}: {error.strerror or error}")


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces: list[bytes] = []
        while piece := os.read(handle, 1 << 24):
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(handle)
