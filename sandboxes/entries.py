"""The entries of an archive, taken in one by one by rules that leave no room for interpretation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from ..core.errors import UsageError
from .host_files import SKIPPED_FOLDERS
from .manifest import Entry, is_inside, link_stays_inside, printable

LIMIT_ENTRIES = 20_000
"""As many as a sandbox's work space has room for."""
_DEEPEST = 64
_NAME_MOST_BYTES = 255
_PATH_MOST_BYTES = 4000
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Entries:
    """Collects a manifest's entries; refuses what no honest archive has.

    Args:
        limit_bytes: most that the files may hold together.
        limit_entries: most entries, those that are left out included.
        keep: given each file's content; returns its digest.
    """

    def __init__(self, *, limit_bytes: int, limit_entries: int, keep: Callable[[bytes], str]) -> None:
        self.limit_entries = limit_entries
        self._limit_bytes = limit_bytes
        self._keep = keep
        self._entries: dict[str, Entry] = {}
        self._folders: set[str] = set()
        """Folders that were named, and those that something lies in."""
        self._plain: dict[str, str] = {}
        """Path by what it is on a file system that does not tell cases and forms of letters apart."""
        self._count = 0
        self._total_bytes = 0

    def folder(self, name: str) -> None:
        """Take in a folder.

        Raises:
            UsageError: it is refused.
        """
        path = self._path(name)
        if path is None:
            return
        if path in self._entries:
            raise UsageError(f"{printable(path)!r} is in it twice, once as a folder")
        self._enter(path)
        self._folders.add(path)

    def link(self, name: str, target: str) -> None:
        """Take in a symbolic link.

        Raises:
            UsageError: it is refused, for example because it leads out of the tree.
        """
        path = self._new(name)
        if path is None:
            return
        if not target or not link_stays_inside(path, target):
            raise UsageError(f"the link {printable(path)!r} to {printable(target)!r} leads out of the tree")
        self._entries[path] = Entry("l", 0, 0, target)

    def same_as(self, name: str, other: str) -> None:
        """Take in a hard link: the same file under another name.

        Raises:
            UsageError: it is refused, for example because there is no such file in the archive before it.
        """
        path, source = self._new(name), _normal(other)
        if path is None:
            return
        entry = self._entries.get(source)
        if entry is None or entry.kind != "f":
            raise UsageError(
                f"the hard link {printable(path)!r} is to {printable(other)!r}, which is no file of the archive before it"
            )
        self._charge(entry.size_bytes)
        self._entries[path] = entry

    def file(self, name: str, size: int, executable: bool, pieces: Iterable[bytes]) -> None:
        """Take in a file of `size` bytes.

        Raises:
            UsageError: it is refused, or holds more or less than it says.
        """
        path = self._new(name)
        if path is None:
            return
        if size < 0:
            raise UsageError(f"{printable(path)!r} says that it has {size} bytes")
        self._charge(size)
        content = bytearray()
        for piece in pieces:
            content += piece
            if len(content) > size:
                break
        if len(content) != size:
            raise UsageError(f"{printable(path)!r} does not hold the {size} bytes that it says it does")
        self._entries[path] = Entry("f", 0o755 if executable else 0o644, size, self._keep(bytes(content)))

    def finished(self) -> dict[str, Entry]:
        """Return the manifest's entries: what was taken in, and the folders with nothing in them."""
        parents = {parent for path in (*self._entries, *self._folders) for parent in _parents(path)}
        empty = {path: Entry("d", 0, 0, "") for path in self._folders - parents}
        return {**self._entries, **empty}

    def _new(self, name: str) -> str | None:
        """Return the path of something that must not be there yet; None where it is left out."""
        path = self._path(name)
        if path is None:
            return None
        if path in self._entries or path in self._folders:
            raise UsageError(f"{printable(path)!r} is in it twice")
        self._enter(path)
        return path

    def _path(self, name: str) -> str | None:
        """Return an entry's path in normal form; None where it is the tree itself or left out."""
        self._count += 1
        if self._count > self.limit_entries:
            raise UsageError(f"it has more than {self.limit_entries} entries")
        path, shown = _normal(name), printable(name)
        if not path:
            return None
        if name.startswith("/") or _DRIVE.match(name):
            raise UsageError(f"the path {shown!r} is absolute")
        if ".." in re.split(r"[/\\]", path) or not is_inside(path):
            raise UsageError(f"the path {shown!r} leads out of the tree or is not in normal form")
        parts = path.split("/")
        raw = path.encode("utf-8", "surrogateescape")
        if (
            len(parts) > _DEEPEST
            or len(raw) > _PATH_MOST_BYTES
            or any(len(p) > _NAME_MOST_BYTES for p in raw.split(b"/"))
        ):
            raise UsageError(f"the path {shown[:200]!r} is too long or has more than {_DEEPEST} folders")
        if any(part in SKIPPED_FOLDERS for part in parts) or path.endswith(".pyc"):
            return None
        return path

    def _enter(self, path: str) -> None:
        """See that a path goes together with those that are there, and that every file system tells them apart."""
        for parent in _parents(path):
            if parent in self._entries:
                kind = "link" if self._entries[parent].kind == "l" else "file"
                raise UsageError(f"{printable(path)!r} lies below {printable(parent)!r}, which is a {kind}")
            self._tell_apart(parent)
            self._folders.add(parent)
        self._tell_apart(path)

    def _tell_apart(self, path: str) -> None:
        plain = unicodedata.normalize("NFC", path).casefold()
        other = self._plain.setdefault(plain, path)
        if other != path:
            raise UsageError(
                f"{printable(path)!r} and {printable(other)!r} are one and the same on some file systems; rename one of them"
            )

    def _charge(self, size: int) -> None:
        self._total_bytes += size
        if self._total_bytes > self._limit_bytes:
            raise UsageError(
                f"its files hold more than the {self._limit_bytes >> 20} MiB of a sandbox's work space; raise workspace_mb "
                "or give fewer files"
            )


def _normal(name: str) -> str:
    """Return a name without what says nothing: `./` before it, `/` after it."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    name = name.rstrip("/")
    return "" if name == "." else name


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
