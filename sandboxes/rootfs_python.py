"""This machine's Python and some of its packages, as parts of a file system that is to be made."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import py_compile
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core.errors import SandboxStartFailed
from .rootfs import Rootfs

_STDLIB_SKIPPED = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
)

PREFIX = Path(sys.base_prefix)
_BELONGS_TO_SYSTEM = Path("/usr") == PREFIX
_TAG = sys.implementation.cache_tag
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def interpreter() -> Path:
    """Return this Python's program, outside of any virtual environment."""
    for place in (PREFIX / "bin" / _VERSION, Path(getattr(sys, "_base_executable", sys.executable))):
        if place.exists():
            return place.resolve()
    raise SandboxStartFailed(f"no image can be made: there is no interpreter below {str(PREFIX)!r}")


def _placed(path: Path) -> str:
    """Return where something of the Python installation goes.

    One that is built into a folder of its own goes below /usr/local: the folder's name is nobody's business inside.
    """
    if _BELONGS_TO_SYSTEM:
        return str(path)
    return str(Path("/usr/local") / path.relative_to(PREFIX))


def add_python(rootfs: Rootfs, scratch: Path) -> list[Path]:
    """Add the interpreter and its standard library, compiled; return what needs shared libraries."""
    program = interpreter()
    home = Path(_placed(PREFIX / "bin"))
    rootfs.add(str(home / _VERSION), program)
    for name in ("python", "python3"):
        rootfs.links[str(home / name).lstrip("/")] = _VERSION
    native = [program]
    library = Path(sys.base_exec_prefix) / sys.platlibdir / _VERSION  # where native modules are, if not beside the rest
    for folder in sorted({Path(os.__file__).resolve().parent, library}):
        for source in _stdlib_files(folder):
            _add_source(rootfs, _placed(source), source, scratch)
            if source.suffix == ".so":
                native.append(source)
    return native


def _stdlib_files(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if name not in _STDLIB_SKIPPED and not name.startswith("config-"))
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not name.endswith((".pyc", ".a", ".o")):
                yield path


def _add_source(rootfs: Rootfs, path: str, source: Path, scratch: Path) -> None:
    """Add a file and, for a Python module, its compiled form: without it a read-only image compiles at every import."""
    rootfs.add(path, source)
    if source.suffix != ".py":
        return
    target = scratch / f"{hashlib.sha256(os.fsencode(source)).hexdigest()}.pyc"
    # Never checked against its source: nothing can change that in a read-only image.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        py_compile.compile(str(source), str(target), dfile=path, doraise=True, invalidation_mode=mode, quiet=2)
    except (py_compile.PyCompileError, SyntaxError, ValueError, RecursionError):
        return  # packages hold a few files that are not meant to compile, such as templates
    rootfs.add(f"{Path(path).parent}/__pycache__/{source.stem}.{_TAG}.pyc", target)


def distributions(packages: Sequence[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return the distributions with what they require, by `name version`."""
    from packaging.requirements import Requirement  # loaded where an image is named, not by every import

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


def add_packages(rootfs: Rootfs, packages: Sequence[str], scratch: Path) -> list[Path]:
    """Add installed packages; return what needs shared libraries."""
    # Debian's own Python looks for added packages in a folder of another name, and below /usr/local.
    debian = "deb_system" in sysconfig.get_scheme_names()
    home = Path("/usr" if _BELONGS_TO_SYSTEM and not debian else "/usr/local") / "lib" / _VERSION
    home /= "dist-packages" if debian else "site-packages"
    native: list[Path] = []
    for distribution in distributions(packages).values():
        for entry in distribution.files or ():
            source = Path(str(distribution.locate_file(entry)))
            if ".." in entry.parts or entry.suffix == ".pyc" or not source.is_file():
                continue  # scripts of the environment's bin folder, and what is compiled for its place
            _add_source(rootfs, str(home / entry), source, scratch)
            if ".so" in entry.suffixes:
                native.append(source)
    return native
