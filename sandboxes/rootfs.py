"""The file system of the made image: this machine's Python, its shell and usual programs, and the libraries they load.

Nothing is downloaded. Everything is named by where it comes from and where it goes, so that the same listing can be put
into an image or into a folder, and be recognised by its fingerprint.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from ..core.errors import SandboxStartFailed

_RECIPE = 1
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

_STDLIB_SKIPPED = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
)
_LIBRARY = re.compile(r"(?:=>\s+)?(/\S+)\s+\(0x")

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


def fingerprint(packages: Sequence[str]) -> str:
    """Return a name for the file system that `build` would list: it changes when the machine's Python or programs do."""
    digest = hashlib.sha256()
    parts = [str(_RECIPE), sys.version, str(_PREFIX), *sorted(_distributions(packages))]
    for path in (_interpreter(), *(Path(found) for found in _programs().values())):
        status = path.stat()
        parts.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:12]


def build(packages: Sequence[str], scratch: Path) -> Rootfs:
    """List the file system.

    Args:
        packages: names of installed distributions to take in, with what they require.
        scratch: folder for what has to be compiled; must stay until the listing has been used.

    Raises:
        SandboxStartFailed: something that cannot be done without is missing on this machine.
    """
    rootfs = Rootfs()
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):  # usually links into /usr, and the loader's path goes by one
        if Path(f"/{name}").is_symlink():
            rootfs.links[name] = str(Path(f"/{name}").readlink()).lstrip("/")
    binaries: list[Path] = []
    for name, found in _programs().items():
        real = Path(found).resolve()
        rootfs.add(f"usr/bin/{name}", real)
        binaries.append(real)
    binaries += _add_python(rootfs, scratch)
    binaries += _add_packages(rootfs, packages)
    for library in _closure(binaries):
        rootfs.add(str(library.parent.resolve() / library.name), library.resolve())
    return rootfs


# --- programs ---------------------------------------------------------------------------------------------------------


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
        listed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError as error:
        raise SandboxStartFailed(
            "no image can be made from this machine: it has no ldd; name an image of your own: Docker(image=...)"
        ) from error
    libraries = {Path(path) for path in _LIBRARY.findall(listed.stdout)}
    # Loaded by name when a thread is cancelled, so that no binary names it.
    libraries |= {near for library in libraries if (near := library.parent / "libgcc_s.so.1").exists()}
    return sorted(libraries)


# --- Python -----------------------------------------------------------------------------------------------------------

_PREFIX = Path(sys.base_prefix)
_BELONGS_TO_SYSTEM = Path("/usr") == _PREFIX
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def _interpreter() -> Path:
    for place in (_PREFIX / "bin" / _VERSION, Path(getattr(sys, "_base_executable", sys.executable))):
        if place.exists():
            return place.resolve()
    raise SandboxStartFailed(f"no image can be made: there is no interpreter below {str(_PREFIX)!r}")


def _placed(path: Path) -> str:
    """Return where something of the Python installation goes.

    One that is built into a folder of its own goes below /usr/local: the folder's name is nobody's business inside.
    """
    if _BELONGS_TO_SYSTEM:
        return str(path)
    return str(Path("/usr/local") / path.relative_to(_PREFIX))


def _add_python(rootfs: Rootfs, scratch: Path) -> list[Path]:
    """Add the interpreter and its standard library, compiled; return what needs shared libraries."""
    interpreter = _interpreter()
    home = Path(_placed(_PREFIX / "bin"))
    rootfs.add(str(home / _VERSION), interpreter)
    for name in ("python", "python3"):
        rootfs.links[str(home / name).lstrip("/")] = _VERSION
    native = [interpreter]
    folders = {Path(sysconfig.get_path(name, vars={"installed_base": str(_PREFIX), "base": str(_PREFIX),
                                                   "platbase": str(_PREFIX)}))
               for name in ("stdlib", "platstdlib")}  # fmt: skip
    for folder in sorted(folders):
        for source in _stdlib_files(folder):
            rootfs.add(_placed(source), source)
            if source.suffix == ".so":
                native.append(source)
            elif source.suffix == ".py":
                compiled = _compiled(source, scratch)
                if compiled is not None:
                    rootfs.add(f"{Path(_placed(source)).parent}/__pycache__/{source.stem}.{_TAG}.pyc", compiled)
    return native


_TAG = sys.implementation.cache_tag or _VERSION


def _stdlib_files(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if name not in _STDLIB_SKIPPED and not name.startswith("config-"))
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not name.endswith((".pyc", ".a", ".o")):
                yield path


def _compiled(source: Path, scratch: Path) -> Path | None:
    """Return a `.pyc` of `source` that is never checked against it: nothing can change it in a read-only image."""
    target = scratch / f"{hashlib.sha256(os.fsencode(source)).hexdigest()}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        py_compile.compile(
            str(source), str(target), dfile=_placed(source), doraise=True, invalidation_mode=mode, quiet=2
        )
    except (py_compile.PyCompileError, SyntaxError, ValueError, RecursionError):
        return None  # the standard library holds a few files that are not meant to compile
    return target


# --- packages ---------------------------------------------------------------------------------------------------------


def _distributions(packages: Sequence[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return the distributions with what they require, by `name version`."""
    found: dict[str, importlib.metadata.Distribution] = {}
    pending = list(packages)
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise SandboxStartFailed(
                f"the package {name!r} is to go into the sandbox image but is not installed here; install it, or leave "
                "it out of Docker(packages=...)"
            ) from error
        found[f"{name} {distribution.version}"] = distribution
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(requirement.name)
    return found


def _add_packages(rootfs: Rootfs, packages: Sequence[str]) -> list[Path]:
    """Add installed packages; return what needs shared libraries."""
    # Debian's own Python looks for added packages in a folder of another name, and below /usr/local.
    debian = "deb_system" in sysconfig.get_scheme_names()
    home = Path("/usr" if _BELONGS_TO_SYSTEM and not debian else "/usr/local") / "lib" / _VERSION
    home /= "dist-packages" if debian else "site-packages"
    native: list[Path] = []
    for distribution in _distributions(packages).values():
        for entry in distribution.files or ():
            source = Path(str(distribution.locate_file(entry)))
            if ".." in entry.parts or entry.suffix == ".pyc" or not source.is_file():
                continue  # scripts of the environment's bin folder, and what is compiled for its place
            rootfs.add(str(home / entry), source)
            if ".so" in entry.suffixes:
                native.append(source)
    return native
