"""Snapshots on disk: contents by hash, and manifests whose hash is the snapshot's address."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import BudgetExceeded, SandboxError, UsageError
from . import manifest as manifests
from .archive import is_archive_name, read_archive, write_archive
from .contents import Contents, cannot_write, whole_files, write_whole
from .history import visible
from .host_files import scan, write_entry
from .manifest import Entry, Manifest, address, canonical, printable, total_bytes
from .patch import patch

EMPTY: Manifest = {}
_REMEMBERED = 200
"""Manifests in memory; a search comes back to its recent ones."""


class Store:
    """A content-addressed store in a folder of the host.

    Files appear under their final name whole or not at all, so that a process killed at any point leaves nothing that
    counts. Several processes may share a store; only one of them may drop states. Equal contents are stored once, equal
    states have equal addresses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifests = folder / "manifests"
        self._known: dict[str, Manifest] = {}
        self._users: Counter[str] | None = None
        """By content, how many states have it; counted when something is dropped for the first time."""
        self._arriving: Counter[str] = Counter()
        """Contents of states that are being kept right now."""
        self._arriving_bytes = 0
        self._manifest_bytes: int | None = None
        self._limit_bytes: int | None = None
        self._make_room: Callable[[int], None] = lambda _: None
        try:
            for inner in (folder / "contents", self._manifests):
                inner.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(str(folder), 0, error) from error
        self._contents = Contents(folder / "contents")
        self.empty_ref = self.add(EMPTY)

    # --- contents ---

    def put(self, content: bytes) -> str:
        """Keep a file's content and return its digest.

        Raises:
            SandboxError: it cannot be written, for example because the disk is full; nothing of it stays.
        """
        return self._contents.put(content)

    def put_many(self, contents: Iterable[bytes]) -> list[str]:
        """Keep the contents of several files and return their digests."""
        return [self._contents.put(content) for content in contents]

    def has(self, name: str) -> bool:
        """Whether the content with this digest is kept."""
        return self._contents.has(name)

    def get(self, name: str) -> bytes:
        """Return a content.

        Raises:
            SandboxError: it is not there, or not what it was.
        """
        return self._contents.get(name)

    # --- states ---

    @contextmanager
    def saving(self, manifest: Manifest) -> Generator[list[tuple[str, Entry]]]:
        """Prepare for keeping a state: yield the entries whose contents have to be put before `add`, one per content.

        What the state consists of is not dropped while the block runs, and there is room for what is missing.

        Raises:
            BudgetExceeded: it does not fit into the limit, and not enough can be dropped.
        """
        files = {entry.content: (path, entry) for path, entry in manifest.items() if entry.kind == "f"}
        missing = [item for name, item in files.items() if not self.has(name)]
        new_bytes = total_bytes(entry for _, entry in missing)
        self._arriving.update(files.keys())
        self._arriving_bytes += new_bytes
        try:
            self._see_to_room(new_bytes)
            yield missing
        finally:
            self._arriving_bytes -= new_bytes
            self._arriving.subtract(files.keys())
            self._arriving += Counter()  # without those that are at zero

    def add(self, manifest: Manifest) -> str:
        """Keep a manifest, whose contents must be kept already, and return its address.

        Raises:
            SandboxError: it cannot be written; nothing of it stays.
        """
        text = canonical(manifest)
        ref = address(text)
        if ref not in self._known:
            path = self._manifest_path(ref)
            if not path.is_file():
                try:
                    write_whole(str(path), (text,))
                except OSError as error:
                    raise cannot_write(str(self._manifests), len(text), error) from error
                if self._users is not None:
                    self._users.update(_contents_of(manifest))
                if self._manifest_bytes is not None:
                    self._manifest_bytes += len(text)
            self._remember(ref, manifest)
        return ref

    def holds(self, ref: str) -> bool:
        """Whether there is a snapshot with this address."""
        return ref in self._known or (ref.isalnum() and self._manifest_path(ref).is_file())

    def refs(self) -> list[str]:
        """Return the addresses of all snapshots."""
        return sorted(path.stem for path in self._manifests.glob("*.json") if not path.name.startswith("."))

    def manifest(self, ref: str) -> Manifest:
        """Return a snapshot's manifest.

        Raises:
            UsageError: there is no such snapshot.
        """
        known = self._known.get(ref)
        if known is None:
            try:
                text = self._manifest_path(ref).read_bytes() if ref.isalnum() else b""
            except FileNotFoundError:
                text = b""
            if address(text) != ref:
                raise UsageError(f"there is no snapshot {ref!r} in {str(self._manifests)!r}; use an address that "
                                 "snapshot() or keep() returned for this run and that was not dropped since")  # fmt: skip
            known = manifests.parse(json.loads(text))
            self._remember(ref, known)
        return known

    def _remember(self, ref: str, manifest: Manifest) -> None:
        self._known[ref] = manifest
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def _manifest_path(self, ref: str) -> Path:
        return self._manifests / f"{ref}.json"

    # --- room ---

    @property
    def stored_bytes(self) -> int:
        """What all states take on disk."""
        if self._manifest_bytes is None:
            self._manifest_bytes = sum(size for _, size in whole_files(str(self._manifests)))
        return self._contents.stored_bytes + self._manifest_bytes

    def bound(self, limit_bytes: int | None, make_room: Callable[[int], None]) -> None:
        """Keep within `limit_bytes`; `make_room` is told how many bytes are missing before a state is kept."""
        self._limit_bytes, self._make_room = limit_bytes, make_room

    def _see_to_room(self, new_bytes: int) -> None:
        if self._limit_bytes is None:
            return
        for attempt in (self._make_room, None):
            over = self.stored_bytes + self._arriving_bytes - self._limit_bytes
            if over <= 0:
                return
            if attempt is not None:
                attempt(over)
        raise BudgetExceeded(
            "snapshot_bytes", allowed=self._limit_bytes, spent=self.stored_bytes, asked=max(new_bytes, 1)
        )

    def alone_bytes(self, ref: str) -> int:
        """How many bytes no other state shares: what dropping this one would free.

        Raises:
            UsageError: there is no such snapshot.
        """
        users = self._users if self._users is not None else self._count_users()
        own = {entry.content: entry.size_bytes for entry in self.manifest(ref).values() if entry.kind == "f"}
        freed = sum(size for name, size in own.items() if users[name] == 1 and name not in self._arriving)
        return freed + self._manifest_path(ref).stat().st_size

    def drop(self, refs: Iterable[str]) -> int:
        """Remove states and return how many bytes that freed: what other states share stays. Unknown ones are passed over.

        The manifest goes first: a process that is killed in between leaves contents that nobody uses, which the next one
        that drops something removes.
        """
        freed = 0
        users = self._users if self._users is not None else self._count_users()
        gone: list[str] = []
        for ref in refs:
            if ref == self.empty_ref or not self.holds(ref):
                continue
            held = _contents_of(self.manifest(ref))
            size = self._manifest_path(ref).stat().st_size
            self._known.pop(ref, None)
            self._manifest_path(ref).unlink(missing_ok=True)
            self._manifest_bytes = None if self._manifest_bytes is None else self._manifest_bytes - size
            freed += size
            users.subtract(held)
            gone += [name for name in held if users[name] <= 0 and name not in self._arriving]
        return freed + self._contents.remove(gone)

    def _count_users(self) -> Counter[str]:
        """Count the states of each content; contents that no state has, which a killed process left, go."""
        users: Counter[str] = Counter()
        for ref in self.refs():
            users.update(_contents_of(self.manifest(ref)))
        self._users = users
        left = [name for name, _ in self._contents.names() if name not in users and name not in self._arriving]
        self._contents.remove(left)
        return users

    # --- the host's files ---

    def keep(self, source: Path, *, limit_bytes: int) -> str:
        """Keep a folder or an archive of the host as a snapshot and return its address.

        Raises:
            UsageError: as `host_files.scan` and `archive.read_archive`.
            SandboxError: it cannot be written.
        """
        read = read_archive if source.is_file() else scan
        return self.add(dict(sorted(read(source, limit_bytes=limit_bytes, keep=self.put).items())))

    def diff(self, old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
        """Return the files that are new or changed from `old` to `new`, and the paths of files that are gone.

        A file whose mode alone changed counts as changed. Links and folders are not files: one that took a file's place
        counts as that file's going.
        """
        before = {path: entry for path, entry in visible(self.manifest(old)).items() if entry.kind == "f"}
        after = {path: entry for path, entry in visible(self.manifest(new)).items() if entry.kind == "f"}
        changed = {
            printable(path): self.get(entry.content) for path, entry in after.items() if before.get(path) != entry
        }
        return changed, sorted(printable(path) for path in before.keys() - after.keys())

    def patch(self, old: str, new: str) -> str:
        """Return what leads from `old` to `new` as a patch in git's format; see `patch.patch`."""
        return patch(visible(self.manifest(old)), visible(self.manifest(new)), self.get)

    def materialise(self, ref: str, folder: Path) -> None:
        """Write a snapshot into an empty or new folder of the host.

        Raises:
            UsageError: there is no such snapshot, or the folder is not empty.
        """
        manifest = visible(self.manifest(ref))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{str(folder)!r} is not empty; give a new folder")
        # Links last: nothing is then written through one, and the writer refuses it anyhow.
        for path, entry in sorted(manifest.items(), key=lambda item: item[1].kind == "l"):
            write_entry(folder, path, entry, self.get(entry.content) if entry.kind == "f" else b"")

    def save(self, ref: str, target: Path) -> None:
        """Write a snapshot into a new folder of the host, or into an archive where the name ends like one (.tar.gz, .zip …).

        It appears whole or not at all.

        Raises:
            UsageError: there is no such snapshot, or the target is there already.
            SandboxError: it cannot be written.
        """
        manifest = visible(self.manifest(ref))
        if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
            raise UsageError(f"{str(target)!r} is there already; give the name of a new folder or archive")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".branchwise-", dir=target.parent) as scratch:
                draft = Path(scratch) / target.name
                if is_archive_name(target.name):
                    write_archive(manifest, self.get, draft)
                else:
                    self.materialise(ref, draft)
                os.replace(draft, target)  # noqa: PTH105
        except OSError as error:
            raise SandboxError(f"{str(target)!r} cannot be written: {error.strerror or error}") from error


def _contents_of(manifest: Manifest) -> set[str]:
    return {entry.content for entry in manifest.values() if entry.kind == "f"}
