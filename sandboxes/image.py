"""The base image, made once from this machine and kept in the engine under a name that says what is in it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from docker.errors import DockerException
from platformdirs import user_cache_path
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
        if not engine.has_image(name):
            with _one_at_a_time():
                if not engine.has_image(name):
                    _make(engine, packages, tag)
    except (DockerException, RequestException, OSError) as error:
        raise SandboxStartFailed(f"the sandbox image {name} could not be made: {error}") from error
    return name


def _make(engine: DockerEngine, packages: Sequence[str], tag: str) -> None:
    _log.info("making the sandbox image %s from this machine's Python (once, some seconds)", tag)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="branchwise-image-") as folder:
        archive = Path(folder) / "root.tar"
        pack(build(packages, Path(folder)), archive)
        changes = [f"ENV PATH={_PATH}", f"LABEL {LABEL}=image"]
        engine.import_image(archive, repository=REPOSITORY, tag=tag, changes=changes)
        size = archive.stat().st_size
    _log.info("made it: %d MB in %.1f s", size // 1_000_000, time.monotonic() - begun)


@contextlib.contextmanager
def _one_at_a_time() -> Generator[None]:
    """Let the other runs of this user wait: they would make the same image, and the engine would keep all but one unnamed."""
    home = user_cache_path("branchwise", ensure_exists=True)
    with (home / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
