"""How a browser's container is made: what it may do, and what it has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..sandboxes.containers import ContainerSettings, sandbox_filter
from ..sandboxes.launch import GUEST_UID, SCRATCH, SHARED_MEMORY, worker_command
from .container import Container

HOME = f"{SCRATCH}/home"
DOWNLOADS = f"{SCRATCH}/downloads"
PROFILE = f"{SCRATCH}/profile"
_SHARED_MB = 16
_OPEN_FILES = 8192
_OTHER_NAMESPACES = 0x0E020000
"""The CLONE_NEW flags but those for users, processes and network, which are what Chromium's own sandbox is made of."""


def container_settings(
    wanted: Container, image: str, run_id: str, *, processors: float, mounts: Sequence[Mapping[str, Any]]
) -> ContainerSettings:
    """Return how the container is made. Nothing in it has a right that other users of a system have not.

    Args:
        wanted: what the user has set.
        image: the engine's name of it.
        run_id: shown in lists of processes.
        processors: as many as the engine's machine has.
        mounts: as the engine is told.
    """
    options = "rw,nosuid,nodev,noexec,mode=1777,size="
    return ContainerSettings(
        image=image,
        command=worker_command(run_id),
        memory_bytes=wanted.memory_mb << 20,
        cpus=min(wanted.cpus, processors),
        pids=wanted.pids,
        tmpfs={SCRATCH: f"{options}{wanted.scratch_mb << 20}", SHARED_MEMORY: f"{options}{_SHARED_MB << 20}"},
        file_bytes=None,
        role="browser",
        mounts=mounts,
        capabilities=(),
        filter_text=browser_filter(),
        files=_OPEN_FILES,
        user=f"{GUEST_UID}:{GUEST_UID}",
    )


def browser_filter() -> str:
    """Return the filter of system calls for a browser: the sandboxes' own, without mounts, with what Chromium's sandbox needs.

    That are namespaces of users, processes and network, and `chroot` inside of these. Chromium puts each of its pages under a
    far narrower filter of its own then.
    """
    rules: dict[str, Any] = json.loads(sandbox_filter())
    kept = [rule for rule in rules["syscalls"] if not {"clone", "mount"} & set(rule["names"])]
    flags = {"index": 0, "value": _OTHER_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    kept.append({"names": ["clone", "unshare"], "action": "SCMP_ACT_ALLOW", "args": [flags]})
    kept.append({"names": ["chroot"], "action": "SCMP_ACT_ALLOW"})
    return json.dumps({**rules, "syscalls": kept})
