"""The base image, made once from this machine and kept in the engine under a name that says what is in it."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from docker.errors import DockerException
from requests.exceptions import RequestException

from ..core.errors import SandboxStartFailed
from .docker_engine import DockerEngine
from .owner import LABEL
from .rootfs import pack
from .rootfs_host import build, rootfs_name

_log = logging.getLogger(__name__)

REPOSITORY = "branchwise/python"
_PATH = "/usr/local/bin:/usr/bin:/bin"


def ensure_base_image(engine: DockerEngine, packages: Sequence[str]) -> str:
    """Return the name of the base image, made and imported where the engine does not hold it yet.

    Raises:
        SandboxStartFailed: it cannot be made from this machine, or the engine refuses it.
    """
    tag = rootfs_name(packages)
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
