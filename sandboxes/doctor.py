"""What works on this machine: looked at, and tried in a sandbox of each kind, with what to do about the rest."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import BranchwiseError, SandboxStartFailed
from ..core.protocols import Environment
from ..core.types import Python
from .docker import Docker
from .environment import WorkerSandboxes
from .local import Local
from .probe import FINDINGS, Finding, probe

if TYPE_CHECKING:
    from .docker_engine import DockerEngine

State = Literal["ok", "warn", "fail"]

_GOOD_DRIVERS = frozenset({"overlay2", "overlayfs", "btrfs", "zfs", "fuse-overlayfs"})
_LITTLE_BYTES = 2 << 30
_NOTHING_BYTES = 200 << 20
_LIMITS: dict[str, Any] = {"memory_mb": 256, "workspace_mb": 64, "scratch_mb": 32, "max_idle": 0}
"""Of the sandbox that is tried: small, so that going over its limit costs the machine nothing."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    """`ok`; `warn`: sandboxes work, but not as well as they could; `fail`: what they are for is not there."""
    found: str
    remedy: str = ""
    """What to do about it."""


async def examine(home: Path) -> list[Check]:
    """Look at everything. Nothing is changed, and what is started is removed again.

    Args:
        home: the folder that runs and their states are kept in.
    """
    checks, engine = await asyncio.to_thread(_engine_checks)
    works = False
    if engine is not None:
        try:
            tried = await _try_out("docker sandbox", Docker(**_LIMITS))
            works = all(check.state != "fail" for check in tried)
            checks += tried
            checks.append(await asyncio.to_thread(_leftovers, engine))
        finally:
            engine.close()
    checks += await _local_checks(needed=not works)
    if engine is None:
        # Without an engine sandboxes can work all the same: then it is something to mend, no failure.
        works = all(check.state != "fail" for check in checks[1:])
        checks[0] = Check(checks[0].name, "warn" if works else "fail", checks[0].found, checks[0].remedy)
    checks.append(_disk("disk space for runs", home))
    return checks


# --- the engine -------------------------------------------------------------------------------------------------------


def _engine_checks() -> tuple[list[Check], DockerEngine | None]:
    from .docker_engine import DockerEngine  # the client library takes its time to load

    try:
        engine = DockerEngine.connect()
    except SandboxStartFailed as error:
        what, _, remedy = str(error).partition("; ")
        return [Check("docker engine", "fail", what, remedy)], None
    version, info = engine.version(), engine.info()
    checks = [
        Check("docker engine", "ok", f"{version.get('Version')}, API {version.get('ApiVersion')}, at {engine.address}"),
        _driver(info),
        *_cgroups(info),
        _seccomp(info),
        _runsc(info),
    ]
    place = Path(str(info.get("DockerRootDir", "")))
    if engine.is_local and place.is_dir():
        checks.append(_disk("disk space of the engine", place))
    return checks, engine


def _driver(info: dict[str, Any]) -> Check:
    name = str(info.get("Driver"))
    if name in _GOOD_DRIVERS:
        return Check("storage driver", "ok", name)
    remedy = "let the engine use overlay2 (on ext4 or xfs): every container copies its whole image now"
    return Check("storage driver", "warn", name, remedy)


def _cgroups(info: dict[str, Any]) -> list[Check]:
    version = f"cgroup v{info.get('CgroupVersion', 1)}, {info.get('CgroupDriver')}"
    needed = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "processors"}
    missing = [words for key, words in needed.items() if not info.get(key)]
    if missing:
        remedy = "enable these cgroup controllers (kernel, or delegation for a rootless engine): without them one sandbox can "
        return [Check("limits", "fail", f"{version}; none on {', '.join(missing)}", remedy + "take the whole machine")]
    if not info.get("SwapLimit"):
        remedy = "boot with swapaccount=1, or without swap: a sandbox over its memory limit may fill the swap"
        return [Check("limits", "warn", f"{version}; none on swap", remedy)]
    return [Check("limits", "ok", f"{version}; memory, swap, processes, processors")]


def _seccomp(info: dict[str, Any]) -> Check:
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    names = ", ".join(option.partition(",")[0].removeprefix("name=") for option in options)
    if any(option.startswith("name=seccomp") for option in options):
        return Check("system-call filter", "ok", names)
    return Check("system-call filter", "fail", names or "none", "use a kernel and an engine with seccomp")


def _runsc(info: dict[str, Any]) -> Check:
    runtimes: dict[str, Any] = info.get("Runtimes") or {}
    if "runsc" in runtimes:
        return Check("gVisor", "ok", "available: Docker(runtime='runsc') keeps guests from the host's kernel")
    return Check("gVisor", "ok", "not installed; it is optional: guests share the host's kernel, behind the filter")


def _leftovers(engine: DockerEngine) -> Check:
    from .inventory import objects

    dead = [thing for thing in objects(engine) if thing.kind != "image" and thing.owner_alive is False]
    if dead:
        kinds = ", ".join(sorted({thing.kind for thing in dead}))
        return Check("leftovers", "warn", f"{len(dead)} of dead runs ({kinds})", "branchwise sandbox prune")
    return Check("leftovers", "ok", "none of dead runs")


# --- without an engine ------------------------------------------------------------------------------------------------


async def _local_checks(*, needed: bool) -> list[Check]:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        remedy = "apt-get install bubblewrap: sandboxes for machines without an engine"
        return [
            Check("bubblewrap", "fail" if needed else "ok", "not installed" + ("" if needed else "; optional"), remedy)
        ]
    tried = await _try_out("bubblewrap sandbox", Local(**_LIMITS))
    if needed:
        return tried
    return [Check(c.name, "warn" if c.state == "fail" else c.state, c.found, c.remedy) for c in tried]


# --- a sandbox, tried -------------------------------------------------------------------------------------------------


async def _try_out(name: str, spec: Docker | Local) -> list[Check]:
    """Start a sandbox, have it looked at from inside, and take its time."""
    begun = perf_counter()
    with tempfile.TemporaryDirectory(prefix="branchwise-doctor-") as folder:
        try:
            supply = await spec.start(f"doctor-{os.getpid()}", Path(folder) / "states")
            try:
                started = perf_counter() - begun
                environment = await supply.open()
                checks = [await _times(name, environment, started)]
                checks += [_judged(name, finding) for finding in await probe(environment, spec)]
                checks.append(await _forks(name, supply))
                if isinstance(spec, Docker):
                    checks.append(await _way(name, supply))
                await environment.close()
            finally:
                await supply.aclose()
        except BranchwiseError as error:
            what, _, remedy = str(error).partition("; ")
            return [Check(name, "fail", what, remedy)]
    return checks


async def _times(name: str, environment: Environment, started: float) -> Check:
    times: list[float] = []
    for _ in range(5):
        begun = perf_counter()
        await environment.exec(Python("pass"))
        times.append(1000 * (perf_counter() - begun))
    words = f"starts in {started:.1f} s, runs a small program in {sorted(times)[2]:.0f} ms"
    return Check(name, "ok", words)


async def _forks(name: str, supply: WorkerSandboxes) -> Check:
    space = await supply.place(supply.store.empty_ref)
    copies_on_write = space.guest.has_branches
    await supply.release(space)
    environment = await supply.open()
    try:
        for number in range(20):
            await environment.write(f"f{number}", os.urandom(1000))
        child = await environment.fork()
        begun = perf_counter()
        await child.read("f0")
        took = 1000 * (perf_counter() - begun)
        await child.close()
    finally:
        await environment.close()
    if copies_on_write:
        return Check(f"{name}: forks", "ok", f"copy on write, {took:.0f} ms")
    words = f"copied file by file, {took:.0f} ms for 20 files"
    if name.startswith("bubblewrap"):
        return Check(f"{name}: forks", "ok", words)  # nothing can be done about it
    remedy = (
        "kernels from 5.11 on that allow user namespaces make forks copy on write; without that they work all the same"
    )
    return Check(f"{name}: forks", "warn", words, remedy)


async def _way(name: str, supply: WorkerSandboxes) -> Check:
    """Say how this process and the sandbox's worker talk to each other."""
    space = await supply.place(supply.store.empty_ref)
    has_wire = space.guest.has_wire
    await supply.release(space)
    if has_wire:
        return Check(f"{name}: way to the worker", "ok", "a socket of its own, past the engine")
    words = "the engine's stream, by which everything takes longer"
    remedy = (
        f"an engine on this machine that sees {tempfile.gettempdir()} and lets containers connect to sockets there (set TMPDIR "
        "to a folder that it sees) makes a socket of its own possible; without that everything works all the same"
    )
    return Check(f"{name}: way to the worker", "warn", words, remedy)


def _judged(name: str, finding: Finding) -> Check:
    known = FINDINGS[finding.name]
    state: State = "ok" if finding.good else "warn" if known.tolerable else "fail"
    return Check(f"{name}: {finding.name}", state, finding.words, "" if finding.good else known.remedy)


def _disk(name: str, place: Path) -> Check:
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    words = f"{free / 1e9:.1f} GB free at {place}"
    if free > _LITTLE_BYTES:
        return Check(name, "ok", words)
    remedy = "`branchwise sandbox prune --snapshots` and `branchwise runs --rm RUN` make room"
    return Check(name, "warn" if free > _NOTHING_BYTES else "fail", words, remedy)
