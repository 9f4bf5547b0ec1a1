"""What every kind of sandbox has in common: what a user sets, how a worker is started, how a supply is opened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from ..core.errors import SandboxLost, SandboxStartFailed
from ..core.protocols import Capability
from .channel import Channel, Transport
from .environment import WorkerSandboxes
from .governor import Governor
from .grants import Grants
from .guest import Guest
from .secret import Secrets
from .store import Store
from .syscalls import programs

WORKSPACE = "/workspace"
SCRATCH = "/tmp"  # noqa: S108  # inside the sandbox
SHARED_MEMORY = "/dev/shm"  # noqa: S108  # inside the sandbox
GUEST_UID = 65532
"""The guest inside: no usual system's user."""

_WORKER_MB = 64
_START_SECONDS = 60.0
_BOOTSTRAP = (
    "import os\nb=b''\nwhile b[-1:]!=b'\\0':\n c=os.read(0,65536)\n if not c:os._exit(0)\n b+=c\n"
    "exec(compile(b[:-1],'worker','exec'))"
)
"""Reads a program from standard input, up to a NUL, and becomes it: nothing has to be mounted or installed."""
_MODULES = (
    "frames", "kernel", "files", "namespaces", "branches", "python", "session", "nursery", "programs", "sessions", "worker"
)  # fmt: skip
"""The worker's modules, each after those that it imports."""
_LOADER = """import sys, types
package = sys.modules["inside"] = types.ModuleType("inside")
package.__path__ = []
for name, text in SOURCES:
    module = sys.modules["inside." + name] = types.ModuleType("inside." + name)
    module.__package__ = "inside"
    setattr(package, name, module)
    exec(compile(text, "inside/" + name + ".py", "exec"), vars(module))
module.main(SETTINGS)
"""


class SandboxLimits(Grants):
    """What can be set for every kind of sandbox."""

    packages: tuple[str, ...] = Field(
        default=("pytest",), description="installed Python packages that the made image gets, with what they require"
    )
    memory_mb: int = Field(default=512, ge=128, description="of each sandbox, files in its work space included")
    workspace_mb: int = Field(default=256, ge=1, description="largest work space")
    scratch_mb: int = Field(
        default=64, ge=1, description="size of /tmp and /dev/shm each; emptied with every change of state"
    )
    pids: int = Field(default=128, ge=16, description="most processes and threads")
    max_idle: int = Field(default=4, ge=0, description="most sandboxes that are kept ready while nobody uses them")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        needed = self.workspace_mb + 2 * self.scratch_mb + _WORKER_MB
        if self.memory_mb < needed:
            raise ValueError(
                f"memory_mb={self.memory_mb} is too little: files count as memory, so workspace_mb + 2 * scratch_mb + "
                f"{_WORKER_MB} = {needed} are needed"
            )
        return self

    @property
    def workspace_bytes(self) -> int:
        """Size of the work space."""
        return self.workspace_mb << 20

    @property
    def spare_bytes(self) -> int:
        """Memory that is left beside a full work space and full scratch folders: for states that are kept at hand."""
        return (self.memory_mb - self.workspace_mb - 2 * self.scratch_mb - _WORKER_MB) << 20

    @property
    def scratch_bytes(self) -> int:
        """Size of each scratch folder."""
        return self.scratch_mb << 20


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told before it serves. It goes over the stream: a list of processes shows nothing of it."""

    scratch: Sequence[str]
    """Folders that are emptied with every change of state."""
    guest: int | None
    """Uid of the guest's programs; None where the worker has that uid itself."""
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """Resource limits of the guest's programs by their names in `resource`, without "RLIMIT_"."""
    branches: Mapping[str, int] = field(default_factory=dict[str, int])
    """Limits of work spaces that live side by side; empty where the worker shall not try to have several."""
    own_id: bool = True
    """Whether the guest may have another uid outside, or inside, in every sandbox; not where it shares files with others."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further environment variables of the guest's programs."""
    wire: Mapping[str, str] | None = None
    """Where the worker may connect to instead of using its standard streams, and what it has to say there."""

    def as_json(self) -> str:
        """Return what the worker reads."""
        environment = {
            "HOME": SCRATCH,
            "TMPDIR": SCRATCH,
            "USER": "guest",
            "LOGNAME": "guest",
            "LANG": "C.UTF-8",
            # A .pyc is matched to its source by size and by seconds: a file that is changed and run twice within a
            # second, as a search does, would run as what it was before.
            "PYTHONDONTWRITEBYTECODE": "1",
            "BRANCHWISE_SANDBOX": "1",
            **self.env,
        }
        # A worker that is not the guest's equal may mount: its guests get a filter of their own, whether it does or not.
        filters = {} if self.guest is None else {name: text.hex() for name, text in programs().items()}
        return json.dumps(
            {
                "root": WORKSPACE,
                "scratch": list(self.scratch),
                "guest": self.guest,
                "limits": dict(self.limits),
                "branches": dict(self.branches),
                "own_id": self.own_id,
                "env": environment,
                "filters": filters,
                "wire": self.wire and dict(self.wire),
            }
        )


def worker_command(run_id: str, *, prelude: str = "") -> list[str]:
    """Return the command that becomes a worker once `start_guest` has sent it its program.

    Args:
        run_id: shown in lists of processes, so that a sandbox can be told from another run's.
        prelude: Python text that runs before anything is received.
    """
    return ["python3", "-I", "-S", "-X", "utf8", "-c", prelude + _BOOTSTRAP, f"branchwise-run={run_id}"]


def worker_program(settings: WorkerSettings) -> bytes:
    """Return the program that becomes the worker: its modules as text, what makes modules of them, and its settings."""
    folder = files(__name__.rpartition(".")[0]).joinpath("inside")
    sources = [(name, folder.joinpath(f"{name}.py").read_text(encoding="utf-8")) for name in _MODULES]
    return f"SOURCES = {sources!a}\nSETTINGS = {settings.as_json()!a}\n{_LOADER}".encode("ascii") + b"\0"


async def start_guest(transport: Transport, settings: WorkerSettings, *, workspace_bytes: int, place: str) -> Guest:
    """Send a worker its program and return the sandbox it serves.

    Raises:
        SandboxStartFailed: it did not come up; what it ran in is removed.
    """
    channel = Channel(transport)
    try:
        await transport.write(worker_program(settings))
        hello = await channel.open(_START_SECONDS)
    except (SandboxLost, OSError) as error:
        await channel.close()
        said = transport.diagnosis()
        detail = "" if said in str(error) else f" ({said})"
        raise SandboxStartFailed(f"the worker did not start in {place}: {error}{detail}") from error
    except BaseException:
        await channel.close()
        raise
    guest = Guest(
        channel, workspace=WORKSPACE, workspace_bytes=workspace_bytes, has_branches=bool(hello.get("branches"))
    )
    guest.has_wire = bool(hello.get("wire"))
    return guest


async def open_supply(
    make: Callable[[], Awaitable[Guest]],
    limits: SandboxLimits,
    *,
    store: Path,
    isolation: str,
    on_close: Callable[[], Awaitable[None]] | None = None,
    secrets: Secrets | None = None,
    capability: Capability = "forkable",
    beside_bytes: int = 0,
    governor: Governor | None = None,
) -> WorkerSandboxes:
    """Return a supply with one sandbox ready.

    Args:
        make: starts a sandbox.
        limits: what the user has set.
        store: folder of the snapshots.
        isolation: what keeps a guest in, in words.
        on_close: called when the supply has been closed.
        secrets: what programs get that no record shows.
        capability: what can be done about a state.
        beside_bytes: memory of what is beside each sandbox.
        governor: of the machine on which the sandboxes live; None: this one.

    Raises:
        SandboxStartFailed: it could not be started.
    """
    supply = WorkerSandboxes(
        make,
        store=await asyncio.to_thread(Store, store),
        isolation=isolation,
        workspace_bytes=limits.workspace_bytes,
        max_idle=limits.max_idle,
        memory_bytes=(limits.memory_mb << 20) + beside_bytes,
        on_close=on_close,
        secrets=secrets,
        capability=capability,
        governor=governor,
    )
    try:
        await supply.pool.warm()
    except BaseException:
        await supply.pool.aclose()
        raise
    return supply
