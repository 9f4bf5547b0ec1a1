"""Everything of ours that lies about on this machine, and which of it may go."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..core.errors import SandboxError, SandboxStartFailed
from ..core.types import JSON
from ..graphs import Run, RunStore
from ..sandboxes.leftovers import HostFolder, process_folders, remove_folder, root_folders, states_folder
from ..sandboxes.rootfs_host import DEFAULT_PACKAGES, rootfs_name

if TYPE_CHECKING:
    from ..sandboxes.inventory import EngineObject

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Item:
    """One thing of ours."""

    kind: str
    """`container`, `image`, `network`, `volume`; `states` of a run; `root`: a file system for bubblewrap; `place`: of a process."""
    name: str
    run: str | None
    created: float
    """Seconds since the epoch."""
    size_bytes: int | None
    alive: bool | None
    """Whether the process it belongs to lives; None where it belongs to none, or that cannot be known from here."""
    in_use: bool
    removal: Callable[[], None]

    @property
    def state(self) -> str:
        """In a word."""
        if self.in_use:
            return "in use"
        return {True: "alive", False: "left by a dead run" if self.kind not in {"image", "states"} else "", None: ""}[
            self.alive
        ]

    def to_json(self) -> dict[str, JSON]:
        """As one JSON object."""
        row: dict[str, JSON] = {"kind": self.kind, "name": self.name, "run": self.run, "created": self.created}
        return {**row, "size_bytes": self.size_bytes, "alive": self.alive, "in_use": self.in_use}


def stock() -> tuple[list[Item], str | None]:
    """Return everything, and why the engine's part is missing if it is."""
    items, trouble = _of_engine()
    for run in RunStore().runs():
        folder = states_folder(run.folder.name, run.snapshots, in_use=_goes_on(run))
        if folder is not None:
            items.append(_of_folder(folder, run))
    items += [_of_folder(folder, None) for folder in (*root_folders(), *process_folders())]
    return items, trouble


def prunable(items: list[Item], *, older_days: float, snapshots: bool, most_gb: float | None) -> list[Item]:
    """Return what may go, the oldest first.

    Args:
        items: what there is.
        older_days: age from which images, file systems and states of runs count as old.
        snapshots: whether old states of runs may go.
        most_gb: states of runs may take so much; the oldest go until they do not take more.
    """
    old = time.time() - older_days * _DAY_SECONDS
    doomed: list[Item] = []
    for item in items:
        if item.in_use:
            continue
        by_age = {"image": True, "root": True, "states": snapshots}.get(item.kind)
        if item.alive is False if by_age is None else by_age and item.created < old:
            doomed.append(item)
    if most_gb is not None:
        doomed += _too_much([item for item in items if item.kind == "states"], doomed, int(most_gb * 1e9))
    return sorted(doomed, key=lambda item: item.created)


def _too_much(states: list[Item], doomed: list[Item], most_bytes: int) -> list[Item]:
    left = sum(item.size_bytes or 0 for item in states if item not in doomed)
    more: list[Item] = []
    for item in sorted(states, key=lambda item: item.created):
        if left > most_bytes and not item.in_use and item not in doomed:
            more.append(item)
            left -= item.size_bytes or 0
    return more


def remove(item: Item) -> str | None:
    """Remove it; return what was in the way, None where nothing was."""
    try:
        item.removal()
    except SandboxError as error:
        return str(error)
    return None


# --- where they come from ---------------------------------------------------------------------------------------------


def _of_engine() -> tuple[list[Item], str | None]:
    from ..sandboxes.docker_engine import DockerEngine  # the client library takes its time to load
    from ..sandboxes.image import REPOSITORY
    from ..sandboxes.inventory import objects

    try:
        engine = DockerEngine.connect()
    except SandboxStartFailed as error:
        return [], str(error)
    try:
        # The image that the next sandbox would be made of is in use as well.
        current = f"{REPOSITORY}:{rootfs_name(DEFAULT_PACKAGES)}"
        things = [replace(o, in_use=o.in_use or o.name == current) for o in objects(engine)]
        return [_of_object(thing) for thing in things], None
    finally:
        engine.close()


def _of_object(thing: EngineObject) -> Item:
    def removal() -> None:
        from ..sandboxes.docker_engine import DockerEngine
        from ..sandboxes.inventory import remove_object

        engine = DockerEngine.connect()
        try:
            remove_object(engine, thing)
        finally:
            engine.close()

    return Item(
        thing.kind, thing.name, thing.run, thing.created, thing.size_bytes, thing.owner_alive, thing.in_use, removal
    )


def _of_folder(folder: HostFolder, run: Run | None) -> Item:
    def removal() -> None:
        if run is None:
            remove_folder(folder)
            return
        with _held(run):
            remove_folder(folder)

    alive = None if folder.kind == "root" else folder.in_use
    name = run.folder.name if run is not None else None
    return Item(folder.kind, folder.name, name, folder.created, folder.size_bytes, alive, folder.in_use, removal)


def _goes_on(run: Run) -> bool:
    try:
        with _held(run):
            return False
    except SandboxError:
        return True


@contextmanager
def _held(run: Run) -> Generator[None]:
    """Keep the run from going on while the block runs.

    Raises:
        SandboxError: it is going on.
    """
    with (run.folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SandboxError(f"run {run.folder.name} is going on; its states are left alone") from error
        yield


# --- words ------------------------------------------------------------------------------------------------------------


def size_words(size_bytes: int | None) -> str:
    """Return a size in a form to be read."""
    if size_bytes is None:
        return ""
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:,.2f} GB"


def age_words(created: float) -> str:
    """Return how long ago something was made."""
    if not created:
        return ""
    seconds = max(0.0, time.time() - created)
    for unit, length in (("d", _DAY_SECONDS), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
