"""A file system that is to be made: what comes from where and goes where."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

_ETC = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nguest:x:65532:65532:guest:/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nguest:x:65532:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}
_FOLDERS = {"workspace": 0o1777, "tmp": 0o1777, "proc": 0o755, "sys": 0o755, "dev": 0o755, "etc": 0o755, "run": 0o755}


@dataclass
class Rootfs:
    """What goes where; every path relative to the root."""

    files: dict[str, Path] = field(default_factory=dict[str, Path])
    """Host file by path."""
    links: dict[str, str] = field(default_factory=dict[str, str])
    """Target by path."""
    texts: dict[str, str] = field(default_factory=lambda: dict(_ETC))
    folders: dict[str, int] = field(default_factory=lambda: dict(_FOLDERS))
    """Mode by path of the folders that have to be there."""

    def add(self, path: str, source: Path) -> None:
        """Take in a host file."""
        self.files[path.lstrip("/")] = source


def pack(rootfs: Rootfs, archive: Path) -> None:
    """Write the file system as a tar archive in which everything belongs to root and is readable by all."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path, mode in _all_folders(rootfs).items():
            info = tarfile.TarInfo(path)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        for path, target in rootfs.links.items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(info)
        for path, text in rootfs.texts.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))
        for path, source in rootfs.files.items():
            status = source.stat()
            info = tarfile.TarInfo(path)
            info.size, info.mtime = status.st_size, int(status.st_mtime)
            info.mode = 0o755 if status.st_mode & 0o111 else 0o644
            with source.open("rb") as content:
                tar.addfile(info, content)


def _all_folders(rootfs: Rootfs) -> dict[str, int]:
    """Return every folder that something is in, parents first, with its mode."""
    folders = dict(rootfs.folders)
    for path in (*rootfs.files, *rootfs.links, *rootfs.texts):
        for parent in Path(path).parents:
            if str(parent) != ".":
                folders.setdefault(str(parent), 0o755)
    return dict(sorted(folders.items()))
