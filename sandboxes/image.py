"""Images made once from this machine and kept in the engine under a name that says what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from ..core.errors import SandboxStartFailed
from .docker_engine import ENGINE_ERRORS, DockerEngine, advice, reason_of
from .progress import say
from .rootfs import Rootfs, pack
from .rootfs_host import build, rootfs_name

REPOSITORY = "branchwise/python"
BROWSERS = "branchwise/browser"
"""The repository of images with a browser."""
_PATH = "/usr/local/bin:/usr/bin:/bin"


def ensure_base_image(engine: DockerEngine, packages: Sequence[str], run_id: str = "") -> str:
    """Return the name of the base image, made and imported where the engine does not hold it yet.

    Raises:
        SandboxStartFailed: it cannot be made from this machine, or the engine refuses it.
    """
    return ensure_image(
        engine, REPOSITORY, rootfs_name(packages), lambda scratch: build(packages, scratch), of="Python", run_id=run_id
    )


def ensure_image(
    engine: DockerEngine, repository: str, tag: str, build: Callable[[Path], Rootfs], *, of: str, run_id: str
) -> str:
    """Return the name of an image, made and imported where the engine does not hold it yet.

    Args:
        engine: where.
        repository: one of those whose images are ours.
        tag: says what is in it.
        build: lists what goes in, with a folder for what has to be made for it.
        of: what of this machine it is made of, in a word.
        run_id: goes into the labels.

    Raises:
        SandboxStartFailed: it cannot be made from this machine, or the engine refuses it.
    """
    name = f"{repository}:{tag}"
    try:
        if not engine.has_image(name):
            with _one_at_a_time():
                if not engine.has_image(name):
                    _make(engine, name, build, of=of, run_id=run_id)
    except (*ENGINE_ERRORS, OSError) as error:
        reason = reason_of(error)
        raise SandboxStartFailed(f"the sandbox image {name} could not be made: {reason}{advice(reason)}") from error
    return name


def _make(engine: DockerEngine, name: str, build: Callable[[Path], Rootfs], *, of: str, run_id: str) -> None:
    say(f"making the sandbox image from this machine's {of} (once, some seconds)")
    begun = time.monotonic()
    repository, _, tag = name.partition(":")
    with tempfile.TemporaryDirectory(prefix="branchwise-image-") as folder:
        archive = Path(folder) / "root.tar"
        pack(build(Path(folder)), archive)
        labels = [f"LABEL {label}={json.dumps(value)}" for label, value in engine.labels("image", run_id).items()]
        changes = [f"ENV PATH={_PATH}", *labels]
        engine.api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)
        size = archive.stat().st_size
    say(f"made it: {size // 1_000_000} MB in {time.monotonic() - begun:.1f} s, {name}")


@contextlib.contextmanager
def _one_at_a_time() -> Generator[None]:
    """Let the other runs of this user wait: they would make the same image, and the engine would keep all but one unnamed."""
    home = user_cache_path("branchwise", ensure_exists=True)
    with (home / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
