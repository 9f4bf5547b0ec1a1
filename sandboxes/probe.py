"""A sandbox, looked at from inside: is the guest really kept in?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..core.errors import SandboxError
from ..core.protocols import Environment
from ..core.types import Python
from .docker import Docker
from .local import Local

_LOOK = """
import json, os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
found = {"uid": os.getuid(), "capabilities": int(status["CapEff"], 16), "filter": status.get("Seccomp", "0"),
         "privileges": status.get("NoNewPrivs", "0")}
try:
    open("/probe", "w").close()
    found["system"] = "writable"
except OSError as error:
    found["system"] = error.strerror
try:
    socket.create_connection(("192.0.2.1", 9), 0.5).close()
    found["network"] = "reached"
except OSError as error:
    found["network"] = str(error)
print(json.dumps(found))
"""
"""192.0.2.1 is nobody's (RFC 5737): where there is a network, the attempt times out instead of being unreachable."""

_FILL = """
import sys
held = []
for _ in range(int(sys.argv[1])):
    held.append(b"x" * (1 << 20))
print("unlimited")
"""

_FORK = """
import os, sys, time
made = 0
try:
    for _ in range(int(sys.argv[1])):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except OSError:
    pass
print(made)
sys.stdout.flush()
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found."""

    name: str
    good: bool
    words: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about a finding."""

    remedy: str
    tolerable: bool = False
    """Whether sandboxes without it still do what they are for."""


FINDINGS = {
    "rights": Known("the engine gives guests rights that it should not: check its runtime and its configuration"),
    "filter": Known("the kernel or the runtime has no seccomp: guests could make any system call"),
    "system": Known("the guest can change the system that the next one runs on: check the engine's storage"),
    "network": Known("there is a way out of network 'none': check the engine's network plugins"),
    "memory": Known("limits on memory have no effect: enable the memory controller of cgroups", tolerable=True),
    "processes": Known("limits on processes have no effect: enable the pids controller of cgroups", tolerable=True),
}


async def probe(environment: Environment, spec: Docker | Local) -> list[Finding]:
    """Look around in a sandbox that was started with `spec`, and go over its limits.

    Raises:
        SandboxError: it does not answer sensibly.
    """
    look = await environment.exec(Python(_LOOK), timeout_seconds=20)
    try:
        found: dict[str, Any] = json.loads(look.stdout)
    except ValueError as error:
        raise SandboxError(f"the sandbox cannot run Python as it should: {look.stderr.strip()[-300:]}") from error
    none = found["capabilities"] == 0 and found["uid"] != 0
    words = f"user {found['uid']}, {'no' if none else hex(found['capabilities'])} capabilities"
    away = "unreachable" in found["network"].lower()
    return [
        Finding("rights", none and found["privileges"] == "1", words),
        Finding("filter", found["filter"] == "2", f"seccomp mode {found['filter']}"),
        Finding("system", found["system"] != "writable", found["system"]),
        Finding("network", away, found["network"]),
        await _memory(environment, spec),
        await _processes(environment, spec),
    ]


async def _memory(environment: Environment, spec: Docker | Local) -> Finding:
    over = await environment.exec(Python(_FILL, (str(2 * spec.memory_mb),)), timeout_seconds=30)
    stopped = "unlimited" not in over.stdout
    limit = f"{spec.memory_mb} MiB"
    return Finding("memory", stopped, f"limited to {limit}" if stopped else f"twice the limit of {limit} could be had")


async def _processes(environment: Environment, spec: Docker | Local) -> Finding:
    made = (await environment.exec(Python(_FORK, (str(2 * spec.pids),)), timeout_seconds=30)).stdout.strip()
    limited = not made.isdigit() or int(made) < 2 * spec.pids
    return Finding("processes", limited, f"limited to {spec.pids}" if limited else "not limited")
