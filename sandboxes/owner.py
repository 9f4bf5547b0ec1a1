"""Who a sandbox belongs to, and the reaper that removes what dead owners left."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LABEL = "branchwise"
"""On everything that Branchwise makes in an engine; nothing without it is ever touched."""
RUN_LABEL = "branchwise.run"
OWNER_LABEL = "branchwise.owner"

_NEVER_STARTED_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from any other one that ever had its number."""

    boot: str
    """The kernel's boot id."""
    namespace: str
    """The pid namespace in which `pid` counts."""
    pid: int
    started: int
    """The process's start, in clock ticks after boot."""

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115  # it names no file
        pid = os.getpid()
        return cls(boot, namespace, pid, _start_of(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the owner that a label names; None where the label cannot be read."""
        parts = text.split(":")
        if len(parts) != 4 or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def __str__(self) -> str:
        return f"{self.boot}:{self.namespace}:{self.pid}:{self.started}"

    def is_dead(self, observer: Owner) -> bool:
        """Whether the process is gone for certain, as far as `observer`, this process, can know."""
        if (self.boot, self.namespace) != (observer.boot, observer.namespace):
            return False  # another machine's, or another container's: its pids mean nothing here
        return _start_of(self.pid) != self.started


def is_orphan(label: str, *, running: bool, created: float, observer: Owner) -> bool:
    """Whether a sandbox may be removed: its owner is dead, or it has never been started and nobody is going to.

    Args:
        label: the value of its `branchwise.owner`.
        running: whether it runs.
        created: when it was made, in seconds since the epoch.
        observer: this process.
    """
    owner = Owner.parse(label)
    if owner is not None and owner.is_dead(observer):
        return True
    return not running and time.time() - created > _NEVER_STARTED_SECONDS


def _start_of(pid: int) -> int | None:
    """Return the start of a process in clock ticks after boot; None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything, also parentheses and blanks; state is the first field after it.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
