"""The work space of a browser's branch: what pages let one download, and what is uploaded to them."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.errors import ActionFailed, OutputLimitExceeded, UsageError
from ..sandboxes.history import PAGES, visible
from ..sandboxes.manifest import Entry, is_inside, printable
from ..sandboxes.secret import Secrets
from ..sandboxes.store import Store


class Files:
    """Files by path; their contents lie in the store from the beginning.

    Args:
        store: where contents are kept.
        secrets: what no file may hold.
        entries: the files to begin with.
        upload_bytes: the largest file that a page is given.
    """

    def __init__(self, store: Store, secrets: Secrets, entries: Mapping[str, Entry], *, upload_bytes: int) -> None:
        self.entries = {path: entry for path, entry in entries.items() if path != PAGES}
        self._store = store
        self._secrets = secrets
        self._upload_bytes = upload_bytes

    def read(self, path: str, *, limit_bytes: int) -> bytes:
        """Return a file's content; see `core.protocols.Environment.read`."""
        entry = self.entries.get(_inner(path))
        if entry is None:
            if any(other.startswith(f"{path.rstrip('/')}/") for other in self.entries):
                raise IsADirectoryError(f"{path!r} is a folder")
            raise FileNotFoundError(f"there is no file {path!r}; there are: {', '.join(self.list()) or 'none'}")
        if entry.size_bytes > limit_bytes:
            raise OutputLimitExceeded(f"{path!r} has {entry.size_bytes} bytes, more than limit_bytes={limit_bytes}")
        return self._secrets.redact(self._store.get(entry.content))

    def write(self, path: str, content: bytes) -> None:
        """Write a file.

        Raises:
            UsageError: `path` leads out of the work space.
            SandboxError: the content holds a secret.
        """
        self._secrets.refuse([path], [content])
        self.entries[_inner(path)] = Entry("f", 0o644, len(content), self._store.put(content))

    def list(self) -> list[str]:
        """Return the paths of all files, sorted."""
        return sorted(printable(path) for path, entry in visible(self.entries).items() if entry.kind != "d")

    def give(self, path: str) -> bytes:
        """Return a file for a page.

        Raises:
            ActionFailed: there is none, or it is too large.
        """
        try:
            return self.read(path, limit_bytes=self._upload_bytes)
        except (OSError, UsageError, OutputLimitExceeded) as error:
            raise ActionFailed(f"{error}; give the path of a file of the work space") from error

    def take(self, name: str, content: bytes) -> str:
        """Keep a download under a name that is free, and return what is to be said of it."""
        content = self._secrets.redact(content)
        path, number = f"downloads/{name}", 1
        while path in self.entries and self._store.get(self.entries[path].content) != content:
            number += 1
            path = f"downloads/{number}-{name}"
        self.write(path, content)
        return f"the file {path} was downloaded ({len(content)} bytes)"

    def digests(self, paths: tuple[str, ...]) -> dict[str, str]:
        """Return the digests of some of the files."""
        return {path: self.entries[_inner(path)].content for path in paths}


def _inner(path: str) -> str:
    clean = path.removeprefix("./")
    if not is_inside(clean) or clean.split("/")[0] == ".branchwise":
        raise UsageError(f"{path!r} leads out of the work space; use a relative path, such as 'downloads/list.csv'")
    return clean
