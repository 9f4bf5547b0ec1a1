"""The made image: this machine's Python, its shell and usual programs, and the libraries they load.

Nothing is downloaded. What goes in is listed first, so that the same listing can become an image or a folder and is
recognised by its name.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from ..core.errors import SandboxStartFailed
from .rootfs import Rootfs
from .rootfs_python import PREFIX, add_packages, add_python, distributions, interpreter

DEFAULT_PACKAGES = ("pytest",)
"""What a made image gets unless the user says otherwise."""

_RECIPE = 3
"""Raised with every change of what an image consists of."""

_PROGRAMS = (
    "sh", "bash", "ls", "cat", "cp", "mv", "rm", "mkdir", "rmdir", "ln", "touch", "chmod", "grep", "egrep",
    "fgrep", "sed", "awk", "find", "xargs", "head", "tail", "wc", "sort", "uniq", "cut", "tr", "tee", "diff",
    "cmp", "patch", "env", "printf", "echo", "test", "[", "expr", "true", "false", "sleep", "date", "dirname",
    "basename", "realpath", "readlink", "pwd", "id", "whoami", "uname", "ps", "kill", "timeout", "seq", "stat",
    "du", "df", "which", "tar", "gzip", "gunzip", "zcat", "md5sum", "sha256sum", "od", "nl", "tac", "paste",
    "join", "comm", "split", "mktemp", "nproc", "yes", "tree", "file", "less", "more", "nice", "nohup", "setsid",
)  # fmt: skip
_NEEDED = ("sh", "ls", "cat")

_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
"""So that programs with an allow-list of hosts can tell whom they talk to."""

_LIBRARY = re.compile(r"(?:=>\s+)?(/\S+)\s+\(0x")


def rootfs_home() -> Path:
    """Return the folder that holds the file systems for sandboxes without an engine."""
    # Sandboxes that root starts run as another user, which cannot see into root's home.
    cache = Path("/var/cache/branchwise") if os.geteuid() == 0 else user_cache_path("branchwise")
    return cache / "rootfs"


def rootfs_name(packages: Sequence[str]) -> str:
    """Return a name for the file system that `build` would list: it changes when the machine's Python or programs do."""
    digest = hashlib.sha256()
    parts = [str(_RECIPE), sys.version, str(PREFIX), *sorted(distributions(packages))]
    for path in (interpreter(), *(Path(found) for found in _programs().values())):
        status = path.stat()
        parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    for part in parts:
        digest.update(part.encode() + b"\0")
    return f"{sys.version_info.major}.{sys.version_info.minor}-{digest.hexdigest()[:12]}"


def build(packages: Sequence[str], scratch: Path) -> Rootfs:
    """List the file system.

    Args:
        packages: names of installed distributions to take in, with what they require.
        scratch: folder for what has to be compiled; must stay until the listing has been used.

    Raises:
        SandboxStartFailed: something that cannot be done without is missing on this machine.
    """
    rootfs = begin()
    binaries: list[Path] = []
    for name, found in _programs().items():
        real = Path(found).resolve()
        rootfs.add(f"usr/bin/{name}", real)
        binaries.append(real)
    binaries += add_python(rootfs, scratch)
    binaries += add_packages(rootfs, packages, scratch)
    add_libraries(rootfs, binaries)
    return rootfs


def begin() -> Rootfs:
    """Return a file system with nothing but what all have: links, and whom to trust."""
    rootfs = Rootfs()
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):  # usually links into /usr, and the loader's path goes by one
        if Path(f"/{name}").is_symlink():
            rootfs.links[name] = str(Path(f"/{name}").readlink()).lstrip("/")
    if _CERTIFICATES.is_file():
        rootfs.add(str(_CERTIFICATES), _CERTIFICATES.resolve())
    return rootfs


def add_libraries(rootfs: Rootfs, binaries: Iterable[Path]) -> None:
    """Add every shared library that the binaries load.

    Raises:
        SandboxStartFailed: this machine cannot tell which these are.
    """
    for library in _closure(binaries):
        rootfs.add(str(library.parent.resolve() / library.name), library.resolve())


def _programs() -> dict[str, str]:
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    found = {name: place for name in _PROGRAMS if (place := shutil.which(name, path=path)) is not None}
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise SandboxStartFailed(
            f"no image can be made from this machine: it has no {', '.join(missing)} in {path}; "
            "name an image of your own: Docker(image=...)"
        )
    return found


def _closure(binaries: Iterable[Path]) -> list[Path]:
    """Return every shared library that the binaries load, the loader included."""
    command = ["ldd", *sorted({str(path) for path in binaries})]
    try:
        # Scripts and static programs among them make ldd complain and fail; what it lists is right all the same.
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    except FileNotFoundError as error:
        raise SandboxStartFailed(
            "no image can be made from this machine: it has no ldd; name an image of your own: Docker(image=...)"
        ) from error
    libraries = {Path(path) for path in _LIBRARY.findall(listed.stdout)}
    # Loaded by name when a thread is cancelled, so that no binary names it.
    libraries |= {near for library in libraries if (near := library.parent / "libgcc_s.so.1").exists()}
    return sorted(libraries)
