"""What sandboxes take on this machine beside the engine: states of runs, file systems for bubblewrap, folders of dead processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.errors import SandboxError
from .door import places
from .rootfs_host import DEFAULT_PACKAGES, rootfs_home, rootfs_name

_MAKING = ".making-"
_STUCK_SECONDS = 3600.0
"""A file system that has been in the making for so long belongs to a process that was killed."""


@dataclass(frozen=True, slots=True)
class HostFolder:
    """A folder of ours on this machine."""

    kind: Literal["states", "root", "place"]
    """States of a run, a file system for bubblewrap, or what a process has beside its sandboxes while they start or live."""
    path: Path
    name: str
    """The run's id, the file system's name, or the folder's."""
    created: float
    """Seconds since the epoch."""
    size_bytes: int
    in_use: bool
    """A run that goes on, a file system that is mounted or would be used next, or a process that may be alive."""


def states_folder(run_id: str, folder: Path, *, in_use: bool) -> HostFolder | None:
    """Return a run's folder of states; None where there is none any more."""
    if not folder.is_dir():
        return None
    return HostFolder("states", folder, run_id, folder.stat().st_mtime, _size(folder), in_use)


def root_folders() -> list[HostFolder]:
    """Return the file systems that were made for bubblewrap; the one that the next sandbox would get is in use."""
    home = rootfs_home()
    if not home.is_dir():
        return []
    current = rootfs_name(DEFAULT_PACKAGES)
    mounted = set(_mounted_roots())
    found: list[HostFolder] = []
    for path in sorted(home.iterdir()):
        created = path.stat().st_mtime
        if path.name.startswith(_MAKING):
            in_use = time.time() - created < _STUCK_SECONDS
        else:
            in_use = path.name == current or path.name in mounted
        found.append(HostFolder("root", path, path.name, created, _size(path), in_use))
    return found


def process_folders() -> list[HostFolder]:
    """Return the folders that processes have beside their sandboxes; who is killed leaves its own behind."""
    found: list[HostFolder] = []
    for path, is_dead in places():
        with contextlib.suppress(FileNotFoundError):  # a sandbox has come up meanwhile
            found.append(HostFolder("place", path, path.name, path.stat().st_mtime, _size(path), not is_dead))
    return found


def remove_folder(folder: HostFolder) -> None:
    """Remove a folder of ours with all that is in it. It goes out of sight at once and vanishes then: a kill leaves no half.

    Raises:
        SandboxError: it cannot be removed.
    """
    gone = folder.path
    if folder.kind != "place":  # half of one is still known as what it is
        gone = gone.with_name(f"{_MAKING}gone-{os.getpid()}-{gone.name}")
    try:
        folder.path.rename(gone)
        shutil.rmtree(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SandboxError(f"{str(folder.path)!r} cannot be removed: {error.strerror or error}") from error


def _mounted_roots() -> Iterator[str]:
    """Yield the names of the file systems that are mounted in the namespaces of all processes that can be seen."""
    seen: set[str] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            namespace = os.readlink(process / "ns/mnt")  # noqa: PTH115  # it names no file
            if namespace not in seen:
                seen.add(namespace)
                mounts = (process / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
                sources = (line.split(" ")[3] for line in mounts.splitlines())
                yield from (source.rpartition("/rootfs/")[2] for source in sources if "/rootfs/" in source)
        except OSError:
            continue  # it is gone, or another user's


def _size(folder: Path) -> int:
    total = 0
    pending = [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as items:
                for item in items:
                    if item.is_dir(follow_symlinks=False):
                        pending.append(item.path)
                    else:
                        total += item.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue  # it went while it was counted
    return total
