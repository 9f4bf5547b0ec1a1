"""The base image, made once from this machine and kept in the engine under a name that says what is in it."""

from __future__ import annotations

import io
import logging
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from docker.errors import DockerException
from requests.exceptions import RequestException

from ..core.errors import SandboxStartFailed
from .docker_engine import DockerEngine
from .owner import LABEL
from .rootfs import Rootfs, build, fingerprint

_log = logging.getLogger(__name__)

REPOSITORY = "branchwise/python"
_PATH = "/usr/local/bin:/usr/bin:/bin"


def image_tag(packages: Sequence[str]) -> str:
    """Return the tag of the image that would be made with these packages: the Python's version and what is in it."""
    return f"{sys.version_info.major}.{sys.version_info.minor}-{fingerprint(packages)}"


def ensure_base_image(engine: DockerEngine, packages: Sequence[str]) -> str:
    """Return the name of the base image, made and imported where the engine does not hold it yet.

    Raises:
        SandboxStartFailed: it cannot be made from this machine, or the engine refuses it.
    """
    tag = image_tag(packages)
    name = f"{REPOSITORY}:{tag}"
    try:
        if engine.has_image(name):
            return name
        _log.info("making the sandbox image %s from this machine's Python (once, some seconds)", name)
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="branchwise-image-") as folder:
            archive = Path(folder) / "root.tar"
            pack(build(packages, Path(folder)), archive)
            changes = [f"ENV PATH={_PATH}", f"LABEL {LABEL}=image"]
            engine.import_image(archive, repository=REPOSITORY, tag=tag, changes=changes)
            size = archive.stat().st_size
    except (DockerException, RequestException, OSError) as error:
        raise SandboxStartFailed(f"the sandbox image {name} could not be made: {error}") from error
    _log.info("made %s: %d MB in %.1f s", name, size // 1_000_000, time.monotonic() - begun)
    return name


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
