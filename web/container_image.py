"""The made image of a contained browser: this machine's Chromium and Python, and the libraries they load.

Its fonts are mounted: they may be many, and pages shall look as they do outside.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from ..core.errors import SandboxStartFailed
from ..sandboxes.docker_engine import DockerEngine
from ..sandboxes.image import BROWSERS, ensure_image
from ..sandboxes.mounts import Mount
from ..sandboxes.rootfs import Rootfs
from ..sandboxes.rootfs_host import add_libraries, begin
from ..sandboxes.rootfs_python import add_python

PLACE = "/opt/browser"
"""Where the browser's folder is inside; its name outside is nobody's business."""
_RECIPE = 1
"""Raised with every change of what an image consists of."""
_ELF = b"\x7fELF"
_BEHIND_SCRIPTS = (
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
)
"""What the usual start scripts start."""
_BESIDE = ("*.pak", "icudtl.dat")
"""What lies in a browser's folder, and in no folder of programs."""
_NEEDLESS = ("*.TOC", "libVkLayer_*", "libVkICD_mock_*", "chrome-sandbox", "chrome_sandbox", "*.debug")
_HANDLER = "chrome_crashpad_handler"
"""A program that a browser may start."""
_LOADED_BY_NAME = ("libsoftokn3.so", "libfreebl3.so", "libfreeblpriv3.so", "libnssckbi.so")
"""Libraries of NSS that no binary names."""
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/lib/*-linux-gnu", "/usr/lib/*-linux-gnu/nss")
_FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "/etc/fonts", "/usr/share/fontconfig", "/var/cache/fontconfig")


def ensure_browser_image(engine: DockerEngine, program: Path, run_id: str) -> tuple[str, str]:
    """Return the name of the image and the program's path in it; made where the engine does not hold it yet.

    Raises:
        SandboxStartFailed: it cannot be made from this machine, or the engine refuses it.
    """
    real = _behind(program)
    name = ensure_image(
        engine, BROWSERS, _tag(real), lambda scratch: _build(real, scratch), of="Chromium", run_id=run_id
    )
    return name, f"{PLACE}/{real.name}"


def font_mounts() -> list[dict[str, Any]]:
    """Return what the engine is told, so that the browser finds this machine's fonts."""
    return [Mount(place, place).settings() for place in _FONTS if Path(place).is_dir()]


def _behind(program: Path) -> Path:
    """Return the program itself, where what is on the PATH is a script that starts it.

    Raises:
        SandboxStartFailed: it is not known which that is.
    """
    for path in (program.resolve(), *map(Path, _BEHIND_SCRIPTS)):
        if path.is_file():
            with path.open("rb") as content:
                if content.read(len(_ELF)) == _ELF:
                    return path.resolve()
    raise SandboxStartFailed(
        f"{str(program)!r} is a script, and it is not known which Chromium it starts, so no image can be made of that; install "
        "'chromium-headless-shell', name the program itself by Browser(executable=...), or an image by contained=Container(image=...)"
    )


def _tag(program: Path) -> str:
    status = program.stat()
    parts = (str(_RECIPE), sys.version, str(program), str(status.st_size), str(status.st_mtime_ns))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _build(program: Path, scratch: Path) -> Rootfs:
    rootfs = begin()
    binaries = [program, *add_python(rootfs, scratch)]
    for path in _parts(program):
        rootfs.add(f"{PLACE}/{path.relative_to(program.parent)}", path.resolve())
        if ".so" in path.name:
            binaries.append(path)
    for place in _LIBRARIES:
        for name in _LOADED_BY_NAME:
            for library in Path("/").glob(f"{place.lstrip('/')}/{name}"):
                rootfs.add(str(library.parent.resolve() / library.name), library.resolve())
                binaries.append(library)
    add_libraries(rootfs, binaries)
    return rootfs


def _parts(program: Path) -> list[Path]:
    """Return the files of a browser: all in its folder, unless that is one for all programs."""
    folder = program.parent
    if not any(True for pattern in _BESIDE for _ in folder.glob(pattern)):
        return [program]
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    parts = (path for path in files if not any(path.match(pattern) for pattern in _NEEDLESS))
    return [path for path in parts if path == program or path.name == _HANDLER or not _is_program(path)]


def _is_program(path: Path) -> bool:
    """Whether a file is a program: Debian has two browsers in one folder."""
    return ".so" not in path.name and path.stat().st_mode & 0o111 != 0
