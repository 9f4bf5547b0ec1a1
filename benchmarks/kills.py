"""Sandboxes made, used and killed at random points: is anything left?

Processes that use sandboxes as a search does (programs, daemons, sessions, files, states, forks) are started one after the other,
two at a time. At random moments one of them loses a worker (SIGKILL), a container (by the engine) or all its connections
to the engine (cut by a proxy in between), and in the end is itself killed (SIGKILL), at any point from its first line on.
Afterwards everything that could be left is looked for: containers, processes, mounts, control groups, files of the
engine, temporary files, halves of states.

    python benchmarks/kills.py [--kind docker|local] [--sandboxes 1000] [--seed 1] [--json]

Looks into the engine's folder and at everybody's processes: run it as root to have all of it looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from rich.console import Console
from rich.table import Table

from branchwise.core.errors import SandboxError, SandboxStartFailed
from branchwise.core.protocols import Environment, Sandboxes
from branchwise.core.types import Python
from branchwise.sandboxes import Docker, Local, Store
from branchwise.sandboxes.docker_engine import DockerEngine
from branchwise.sandboxes.door import reap_doors

ENGINE = "/var/run/docker.sock"
LIMITS = {"memory_mb": 160, "workspace_mb": 16, "scratch_mb": 8, "max_idle": 1}
AT_ONCE = 2
"""Victims at the same time."""
EACH = 4
"""Environments of a victim."""
SETTLE_SECONDS = 20.0
_FORGOTTEN_SECONDS = 86_400.0


# --- the victim -------------------------------------------------------------------------------------------------------


async def be_victim(kind: str, run_id: str, store: Path, seed: int) -> None:
    """Use sandboxes until somebody kills this process."""
    spec = (Docker if kind == "docker" else Local).model_validate(LIMITS)
    supply: Sandboxes | None = None
    while supply is None:
        with contextlib.suppress(SandboxStartFailed):  # its first sandbox was killed already
            supply = await spec.start(run_id, store)
    await asyncio.gather(*(use(supply, random.Random(f"{seed}.{number}")) for number in range(EACH)))


async def use(supply: Sandboxes, rng: random.Random) -> None:
    """Work in one environment after the other; each ends with the loss of its sandbox."""
    while True:
        try:
            environment = await supply.open()
            while True:
                environment = await step(environment, rng)
        except SandboxError:
            print("lost", flush=True)


async def step(environment: Environment, rng: random.Random) -> Environment:
    """Do one of the things that a search does; return the environment to go on with."""
    what = rng.choice(["shell", "python", "daemon", "loop", "write", "state", "fork", "cell"])
    if what == "shell":
        result = await environment.exec("echo $((6 * 7)); sleep 0.05")
        assert result.stdout == "42\n", result
    elif what == "python":
        assert (await environment.exec(Python("print(6 * 7)"))).stdout == "42\n"
    elif what == "daemon":
        assert (await environment.exec("(setsid sleep 600 &); echo up")).stdout == "up\n"
    elif what == "loop":
        assert (await environment.exec("while true; do :; done", timeout_seconds=0.2)).timed_out
    elif what == "write":
        await environment.write(f"file{rng.randrange(50)}", rng.randbytes(rng.choice([10, 10_000, 1_000_000])))
    elif what == "cell":
        assert (await environment.cell("6 * 7")).stdout == "42\n"
    elif what == "state":
        ref = await environment.snapshot()
        await environment.write("file0", b"changed")
        await environment.restore(ref)
        assert await environment.snapshot() == ref
    else:
        child = await environment.fork()
        await child.write("of-the-child", b"x")
        await environment.close()
        return child
    return environment


# --- the killer -------------------------------------------------------------------------------------------------------


@dataclass
class Left:
    """What was found when everything was over; nothing should be."""

    containers: int = 0
    processes: int = 0
    mounts: int = 0
    files: int = 0
    wrong_results: int = 0
    """Victims that ended by themselves: on a wrong answer, or on an error that is not one of a lost sandbox."""


@dataclass
class Tally:
    """What was done."""

    killed: Counter[str] = field(default_factory=Counter[str])
    """Sandboxes killed, by the way."""
    containers: set[str] = field(default_factory=set[str])
    complaints: list[str] = field(default_factory=list[str])
    left: list[str] = field(default_factory=list[str])
    """Paths of the files that were left."""


class Killer:
    """Starts victims and kills them and theirs."""

    def __init__(self, kind: str, sandboxes: int, seed: int, folder: Path) -> None:
        self.kind = kind
        self.wanted = sandboxes
        self.folder = folder
        self.rng = random.Random(seed)
        self.prefix = f"kills-{secrets.token_hex(4)}"
        self.tally = Tally()
        self.victims: set[int] = set()
        self.proxy = Proxy(folder / "engine.sock")
        self.client = docker.from_env() if kind == "docker" else None

    async def run(self) -> Left:
        """Kill as many sandboxes as wanted; return what is left of them."""
        async with self.proxy.open():
            lanes = [asyncio.create_task(self._lane(number)) for number in range(AT_ONCE)]
            await asyncio.gather(*lanes)
        return await self._look()

    async def _lane(self, lane: int) -> None:
        """Have one victim after the other."""
        number = 0
        while self.tally.killed.total() < self.wanted:
            number += 1
            await self._have_victim(f"{self.prefix}-{lane}-{number}")

    async def _have_victim(self, run_id: str) -> None:
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.proxy.path}"}
        options = ["--victim", run_id, "--kind", self.kind, "--seed", str(self.rng.randrange(1 << 30))]
        victim = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, *options, "--folder", str(self.folder / "store")),
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self.victims.add(victim.pid)
        # Some die while they start, most after they have lost several sandboxes.
        end = time.monotonic() + self.rng.choice([self.rng.uniform(0, 3), *[self.rng.uniform(4, 15)] * 3])
        while victim.returncode is None and (left := end - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(victim.wait(), min(left, self.rng.uniform(0.1, 0.8)))
            await self._kill_some(run_id)
            if self.tally.killed.total() >= self.wanted:
                break
        if victim.returncode is not None:
            assert victim.stderr is not None
            self.tally.complaints.append((await victim.stderr.read()).decode()[-2000:])
            return
        living = await asyncio.to_thread(workers, run_id)
        await asyncio.to_thread(self._note_containers, run_id)
        victim.kill()
        self.tally.killed["with the framework"] += len(living)
        await victim.communicate()

    async def _kill_some(self, run_id: str) -> None:
        """Kill something of a victim's."""
        living = await asyncio.to_thread(workers, run_id)
        if not living:
            return
        ways = ["worker"] if self.client is None else ["worker", "container", "container", "connections"]
        way = self.rng.choices(ways, weights=[6, 3, 3, 1][: len(ways)])[0]
        await asyncio.to_thread(self._note_containers, run_id)
        if way == "worker":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(living), signal.SIGKILL)
                self.tally.killed["worker"] += 1
        elif way == "container":
            self.tally.killed["container"] += await asyncio.to_thread(self._kill_container, run_id)
        else:
            everybody = await asyncio.to_thread(workers, self.prefix)
            if self.proxy.cut():
                self.tally.killed["connection"] += len(everybody)

    def _note_containers(self, run_id: str) -> list[str]:
        if self.client is None:
            return []
        api: Any = self.client.api
        found = [item["Id"] for item in api.containers(all=True, filters={"label": f"branchwise.run={run_id}"})]
        self.tally.containers |= set(found)
        return found

    def _kill_container(self, run_id: str) -> int:
        found = self._note_containers(run_id)
        if not found:
            return 0
        api: Any = self.client.api if self.client else None
        number = self.rng.choice(found)
        try:
            if self.rng.random() < 0.5:
                api.kill(number)
            else:
                api.remove_container(number, force=True)
        except (APIError, NotFound):
            return 0  # it was on its way out
        return 1

    async def _look(self) -> Left:
        """Look for what is left, until nothing is or the time is over.

        What runs has to end by itself. A container that was made and never started, because its maker was killed in between,
        is the next start's to remove: this is done as there.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        for _ in range(int(SETTLE_SECONDS / 0.25)):
            if not await asyncio.to_thread(self._running):
                if self.client is not None:
                    await asyncio.to_thread(reap)
                break
            await asyncio.sleep(0.25)
        while True:
            left = await asyncio.to_thread(self._count)
            if left == Left() or time.monotonic() > deadline:
                left.wrong_results = len(self.tally.complaints)
                return left
            await asyncio.sleep(0.25)

    def _running(self) -> int:
        """Return how many of the containers run."""
        if self.client is None:
            return 0
        api: Any = self.client.api
        listed = api.containers(filters={"label": "branchwise=sandbox"})
        return sum(item["Labels"]["branchwise.run"].startswith(self.prefix) for item in listed)

    def _count(self) -> Left:
        left = Left(processes=len(processes(self.prefix)))
        files: list[Path] = []
        if self.client is not None:
            api: Any = self.client.api
            labels = [item["Labels"] for item in api.containers(all=True, filters={"label": "branchwise=sandbox"})]
            left.containers = sum(label["branchwise.run"].startswith(self.prefix) for label in labels)
            home = Path(api.info()["DockerRootDir"])
            places = [home / "containers", *Path("/sys/fs/cgroup").glob("**/docker")]
            files = [place / number for place in places for number in self.tally.containers]
        mounts = Path("/proc/mounts").read_text(encoding="utf-8")
        left.mounts = sum(number in mounts for number in self.tally.containers)
        temporary = Path(tempfile.gettempdir())
        files += [path for path in temporary.iterdir() if self.prefix in path.name and path != self.folder]
        for place in temporary.glob("branchwise-sandboxes-*/*_*_*_*_*"):
            pid = place.name.split("_")[2]
            files += [place] if pid.isdigit() and int(pid) in self.victims else []
        self.tally.left = [str(path) for path in [*halves(self.folder / "store"), *files] if path.exists()]
        left.files = len(self.tally.left)
        return left


def reap() -> None:
    """Do what every start does."""
    reap_doors()
    engine = DockerEngine.connect()
    try:
        engine.reap()
    finally:
        engine.close()


class Proxy:
    """Between the victims and the engine, so that connections can be cut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Listen."""
        server = await asyncio.start_unix_server(self._serve, self.path)
        try:
            yield
        finally:
            server.close()
            self.cut()

    def cut(self) -> int:
        """Break every connection; return how many there were."""
        broken = list(self._open)
        for writer in broken:
            writer.transport.abort()
        return len(broken)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            engine_reader, engine_writer = await asyncio.open_unix_connection(ENGINE)
        except OSError:
            writer.transport.abort()
            return
        ours = {writer, engine_writer}
        self._open |= ours
        try:
            await asyncio.gather(_pump(reader, engine_writer), _pump(engine_reader, writer))
        finally:
            self._open -= ours
            for end in ours:
                end.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


def processes(token: str) -> list[int]:
    """Return the processes whose command names a run, and their descendants: workers and guests."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"branchwise-run={token}".encode() in command:
            found.add(int(folder.name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def workers(token: str) -> list[int]:
    """Return those of them that are process 1 of a sandbox."""
    first: list[int] = []
    for pid in processes(token):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{pid}/status").read_text(errors="replace")
            pids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(pids) > 1 and pids[-1] == "1":
                first.append(pid)
    return first


def halves(store: Path) -> list[Path]:
    """Return the halves of files that stay in a store once it has been looked through, as happens when they are old enough."""
    if not store.is_dir():
        return []
    past = time.time() - _FORGOTTEN_SECONDS
    parts = list(store.rglob(".*"))
    for part in parts:
        os.utime(part, (past, past))
    _ = Store(store).stored_bytes
    return [part for part in parts if part.exists()]


async def measure(kind: str, sandboxes: int, seed: int) -> dict[str, Any]:
    """Return what was killed and what is left, as one JSON object."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        killer = Killer(kind, sandboxes, seed, Path(folder))
        left = await killer.run()
    for complaint in [*killer.tally.complaints, *(f"left: {path}" for path in killer.tally.left)]:
        print(complaint, file=sys.stderr)
    return {
        "kind": kind,
        "killed": killer.tally.killed.total(),
        **{f"killed_{way.replace(' ', '_')}": count for way, count in sorted(killer.tally.killed.items())},
        **{f"left_{name}": count for name, count in vars(left).items()},
        "seconds": round(time.monotonic() - begun, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["docker", "local"], default="docker")
    parser.add_argument("--sandboxes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--victim", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.victim:
        asyncio.run(be_victim(given.kind, given.victim, given.folder, given.seed))
        return
    figures = asyncio.run(measure(given.kind, given.sandboxes, given.seed))
    if given.json:
        print(json.dumps(figures))
    else:
        view = Table("", "", title="sandboxes killed at random points")
        for name, value in figures.items():
            view.add_row(name.replace("_", " "), str(value))
        Console().print(view)
    sys.exit(any(value for name, value in figures.items() if name.startswith("left_")))


if __name__ == "__main__":
    main()
