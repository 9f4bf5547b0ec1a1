"""Snapshots on disk: contents by hash, and manifests whose hash is the snapshot's address."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from ..core.errors import SandboxError, UsageError
from . import manifest as manifests
from .host_files import digest, scan, write_entry
from .manifest import Manifest, address, canonical, printable

EMPTY: Manifest = {}
_REMEMBERED = 200
"""Manifests in memory; a search comes back to its recent ones."""


class Store:
    """A content-addressed store in a folder of the host.

    Files appear under their final name whole or not at all, so that a process killed at any point leaves nothing that
    counts. Several processes may share a store. Equal contents are stored once, equal states have equal addresses.
    """

    def __init__(self, folder: Path) -> None:
        self._contents = folder / "contents"
        self._manifests = folder / "manifests"
        self._known: dict[str, Manifest] = {}
        for inner in (self._contents, self._manifests):
            inner.mkdir(parents=True, exist_ok=True)
        self.empty_ref = self.add(EMPTY)

    def put(self, content: bytes) -> str:
        """Keep a file's content and return its digest."""
        name = digest(content)
        if not self.has(name):
            _write(self._content_path(name), content)
        return name

    def has(self, name: str) -> bool:
        """Whether the content with this digest is kept."""
        return self._content_path(name).is_file()

    def get(self, name: str) -> bytes:
        """Return a content.

        Raises:
            SandboxError: it is not there, or not what it was.
        """
        try:
            content = self._content_path(name).read_bytes()
        except FileNotFoundError:
            raise SandboxError(f"the snapshot store {str(self._contents)!r} has lost the content {name}") from None
        if digest(content) != name:
            raise SandboxError(f"{str(self._content_path(name))!r} was changed or damaged: its content is not {name}")
        return content

    def add(self, manifest: Manifest) -> str:
        """Keep a manifest, whose contents must be kept already, and return its address."""
        text = canonical(manifest)
        ref = address(text)
        if ref not in self._known:
            path = self._manifests / f"{ref}.json"
            if not path.is_file():
                _write(path, text)
            self._remember(ref, manifest)
        return ref

    def manifest(self, ref: str) -> Manifest:
        """Return a snapshot's manifest.

        Raises:
            UsageError: there is no such snapshot.
        """
        known = self._known.get(ref)
        if known is None:
            try:
                text = (self._manifests / f"{ref}.json").read_bytes() if ref.isalnum() else b""
            except FileNotFoundError:
                text = b""
            if address(text) != ref:
                raise UsageError(f"there is no snapshot {ref!r} in {str(self._manifests)!r}; use an address that "
                                 "snapshot() or keep() returned for this run")  # fmt: skip
            known = manifests.parse(json.loads(text))
            self._remember(ref, known)
        return known

    def _remember(self, ref: str, manifest: Manifest) -> None:
        self._known[ref] = manifest
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def keep(self, folder: Path, *, limit_bytes: int) -> str:
        """Keep a folder of the host as a snapshot and return its address.

        Raises:
            UsageError: as `host_files.scan`.
        """
        return self.add(dict(sorted(scan(folder, limit_bytes=limit_bytes, keep=self.put).items())))

    def diff(self, old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
        """Return the files that are new or changed from `old` to `new`, and the paths of files that are gone.

        A file whose mode alone changed counts as changed. Links and folders are not files: one that took a file's place
        counts as that file's going.
        """
        before = {path: entry for path, entry in self.manifest(old).items() if entry.kind == "f"}
        after = {path: entry for path, entry in self.manifest(new).items() if entry.kind == "f"}
        changed = {
            printable(path): self.get(entry.content) for path, entry in after.items() if before.get(path) != entry
        }
        return changed, sorted(printable(path) for path in before.keys() - after.keys())

    def materialise(self, ref: str, folder: Path) -> None:
        """Write a snapshot into an empty or new folder of the host.

        Raises:
            UsageError: there is no such snapshot, or the folder is not empty.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{str(folder)!r} is not empty; give a new folder")
        # Links last: nothing is then written through one, and the writer refuses it anyhow.
        for path, entry in sorted(self.manifest(ref).items(), key=lambda item: item[1].kind == "l"):
            write_entry(folder, path, entry, self.get(entry.content) if entry.kind == "f" else b"")

    def _content_path(self, name: str) -> Path:
        return self._contents / name[:2] / name


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    part = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        part.write_bytes(content)
        os.replace(part, path)  # noqa: PTH105
    except BaseException:
        part.unlink(missing_ok=True)
        raise
