"""The firing range: sandboxes of one kind, a neighbour that must not notice, ears on the host, and eyes on its processes."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from branchwise.core.errors import OutputLimitExceeded, SandboxLost, UsageError
from branchwise.core.types import Command, ExecResult, Python
from branchwise.sandboxes import Docker, Local
from branchwise.sandboxes.environment import WorkerEnvironment, WorkerSandboxes

from .corpus import Abuse, Part
from .guard import INSIDE, REFUSED_STATUS, guarded

KINDS = {"docker": Docker, "local": Local}
SMALL = {"memory_mb": 256, "workspace_mb": 48, "scratch_mb": 16, "pids": 40, "max_idle": 2}
MARGIN_SECONDS = 15.0
"""What a call may take beyond its own limit: on a loaded machine, to kill a tree of processes and to send the output."""
FILES_SECONDS = 30.0
"""What the host may take to handle the files that a program left."""
LEFT_BYTES = 1 << 20
"""What kept states of small files may take in a sandbox that is handed on."""
_SIBLING = b"sesame-sibling-"
_WELL = "well"
_NEIGHBOUR = f"""prove_inside()
import subprocess

handle = libc.inotify_init1(0)
made = ctypes.c_int(0)
read, write = os.pipe()
os.set_blocking(write, False)
room = os.write(write, b"x" * (1 << 17))
timer = call("timer_create", 0, None, ctypes.byref(made))[0]
told = subprocess.run(["echo", "child"], capture_output=True, text=True).stdout
faults = [name for name, fault in (("inotify", handle < 0), ("pipe", room < 65536), ("timer", timer), ("fork", told != "child\\n")) if fault]
print("no room for %s" % faults if faults else "{_WELL}")
"""
_CENSUS = """prove_inside()
ours = {1, os.getpid(), os.getppid()}  # the worker, this program, and the helper that it was forked from
parents = {int(name): int(open("/proc/%s/stat" % name).read().rpartition(")")[2].split()[1]) for name in os.listdir("/proc") if name.isdigit()}
print([name for name in parents if name not in ours and parents[name] != os.getpid()])
for place in ("/workspace", "/tmp", "/dev/shm"):
    status = os.statvfs(place)
    print((status.f_blocks - status.f_bfree) * status.f_frsize)
"""


class NotProved(Exception):
    """A program found that it was not in the sandbox that was meant. Nothing else is run."""


@dataclass
class Outcome:
    """What came of one abuse."""

    name: str
    kind: str
    faults: list[str] = field(default_factory=list)
    """What went wrong: an escape, a survivor, a late return, a wrong answer."""
    weaker: list[str] = field(default_factory=list)
    """What this kind of sandbox is known to let through."""
    lost: bool = False
    """Whether the sandbox was given up; its next user gets another one."""
    seconds: float = 0.0

    @property
    def escaped(self) -> bool:
        """Whether anything happened that this kind of sandbox promises to prevent."""
        return bool(self.faults)


class Range:
    """Runs abuses one after the other, with everything around that must not be harmed."""

    def __init__(self, kind: str, run_id: str, supply: WorkerSandboxes, ears: Ears) -> None:
        self.kind = kind
        self.run_id = run_id
        self.supply = supply
        self.ears = ears
        self._neighbour: WorkerEnvironment | None = None
        self._workers: dict[object, int] = {}

    async def settle(self) -> None:
        """Let the neighbour move in."""
        self._neighbour = await self._open()
        await self._neighbour.write("secret", b"the neighbour's")

    async def _identify(self, env: WorkerEnvironment) -> None:
        """Learn which process of this machine is the worker of a sandbox."""
        if _guest(env) in self._workers:
            return
        mark = f"60.{secrets.randbits(32)}"
        waiting = asyncio.create_task(env.exec(["sleep", mark]))
        self._workers[_guest(env)] = (await appear(self.run_id, 1, mark)).worker
        waiting.cancel()
        await asyncio.wait({waiting})

    def _processes(self, env: WorkerEnvironment) -> dict[int, bytes]:
        """Return the processes in a sandbox, as this machine sees them, without its first."""
        worker = self._workers[_guest(env)]
        return {process.pid: process.command for process in survivors(self.run_id) if process.worker == worker}

    def command(self, program: str, *, warm: bool = False) -> Command:
        """Return the command that runs a program after its proof."""
        text = guarded(program, run_id=self.run_id, canaries=self.ears.addresses, abstract=[self.ears.abstract])
        return Python(text) if warm else ["python3", "-I", "-S", "-c", text]

    async def attempt(self, abuse: Abuse) -> Outcome:
        """Run an abuse and everything that has to be looked at afterwards."""
        outcome = Outcome(abuse.name, self.kind)
        begun = time.monotonic()
        calm = asyncio.Event()
        neighbour = asyncio.create_task(self._be_neighbour(outcome, calm))
        try:
            await self._attack(abuse, outcome)
        finally:
            calm.set()
            await neighbour
        if self.ears.heard():
            outcome.faults.append(f"the host heard {self.ears.heard()}")
        outcome.seconds = time.monotonic() - begun
        return outcome

    async def _attack(self, abuse: Abuse, outcome: Outcome) -> None:
        base = await self._open()
        await base.write("of-both", b"of both")
        env = await base.fork()  # beside its parent, in the same sandbox, where that has branches
        await base.write("of-sibling", _SIBLING + b"".join(b"%d" % secrets.randbelow(10) for _ in range(9)))
        await env.read("of-both")
        await self._identify(env)
        for part in abuse.parts:
            if part.when == "use":
                await self._be_sibling(base, outcome)
                await base.close()
                env = await self._reopen(env)
            if not await self._run(env, abuse, part, outcome):
                break
        if not outcome.lost:
            await self._look(env, outcome)
        if not outcome.lost and abuse.leaves_files:
            await self._handle_files(env, outcome)
        if not outcome.lost and not any(part.when == "use" for part in abuse.parts):
            await self._be_sibling(base, outcome)
        await env.close()
        await base.close()
        await self._next_user(outcome)

    async def _be_sibling(self, base: WorkerEnvironment, outcome: Outcome) -> None:
        """Go on in the branch from which the hostile one was forked."""
        try:
            files = await base.list()
            await base.write("after", b"after")
            told = (await base.exec("cat of-both after")).stdout
        except (SandboxLost, OSError, OutputLimitExceeded) as error:
            outcome.faults.append(f"its sibling cannot go on: {error}")
            return
        if files != ["of-both", "of-sibling"] or told != "of bothafter":
            outcome.faults.append(f"its sibling has {files}, {told!r}")

    async def _open(self) -> WorkerEnvironment:
        env = await self.supply.open()
        await self._identify(env)
        return env

    async def _reopen(self, env: WorkerEnvironment) -> WorkerEnvironment:
        """Return an environment in the same sandbox, for another user."""
        before = _guest(env)
        await env.close()
        others: list[WorkerEnvironment] = []
        env = await self._open()
        while _guest(env) is not before:
            others.append(env)
            assert len(others) < SMALL["pids"], "the sandbox was not used again"
            env = await self._open()
        for other in others:
            await other.close()
        return env

    async def _run(self, env: WorkerEnvironment, abuse: Abuse, part: Part, outcome: Outcome) -> bool:
        """Run one program; return whether the environment goes on."""
        first = part.when == "first"
        limit = abuse.seconds if first else 10.0
        before = self._processes(env)  # the worker may have a helper
        begun = time.monotonic()
        try:
            result = await env.exec(
                self.command(part.text, warm=part.warm),
                timeout_seconds=limit,
                env=abuse.env if first else {},
                stdin=abuse.stdin if first else b"",
            )
        except SandboxLost as error:
            outcome.lost = True
            if not abuse.may_lose:
                outcome.faults.append(f"the sandbox was lost: {error}")
            return False
        now = self._processes(env)
        if left := [f"{pid}: {now[pid]!r}" for pid in now if pid not in before]:
            outcome.faults.append(f"processes when the call had returned: {left}")
        if time.monotonic() - begun > limit + MARGIN_SECONDS:
            outcome.faults.append(f"the call took {time.monotonic() - begun:.1f} s of {limit:g}")
        self._read(result, abuse.ends if first else frozenset({"itself"}), outcome)
        return True

    def _read(self, result: ExecResult, ends: frozenset[str], outcome: Outcome) -> None:
        """Take what a program says about itself."""
        if result.exit_code == REFUSED_STATUS:
            raise NotProved(result.stderr.strip())
        lines = result.stdout.splitlines()
        if lines[:1] != [INSIDE]:
            outcome.faults.append(f"it did not get as far as its proof: {result.stderr[-500:]}")
        ending = "time" if result.timed_out else "killed" if result.exit_code < 0 else "itself"
        if ending not in ends or (ending == "itself" and result.exit_code != 0):
            outcome.faults.append(f"it ended by {ending}, status {result.exit_code}: {result.stderr[-500:]}")
        outcome.faults += [line for line in lines if line.startswith("ESCAPED")]
        weaker = [line for line in lines if line.startswith("WEAKER")]
        (outcome.weaker if self.kind == "local" else outcome.faults).extend(weaker)

    async def _look(self, env: WorkerEnvironment, outcome: Outcome) -> list[int]:
        """Look around inside: nothing runs, and the sandbox works; return the bytes in use by place."""
        try:
            result = await env.exec(self.command(_CENSUS, warm=True), timeout_seconds=20)
        except SandboxLost as error:
            outcome.lost = True
            outcome.faults.append(f"a later call found the sandbox lost: {error}")
            return []
        lines = result.stdout.splitlines()
        if lines[:2] != [INSIDE, "[]"]:
            outcome.faults.append(f"inside there are {result.stdout!r} {result.stderr[-500:]}")
        return [int(line) for line in lines[2:]]

    async def _handle_files(self, env: WorkerEnvironment, outcome: Outcome) -> None:
        try:
            async with asyncio.timeout(FILES_SECONDS):
                outcome.faults += await handle_files(env, self.supply)
        except TimeoutError:
            outcome.faults.append(f"the host was held up for {FILES_SECONDS:g} s by the files")
        except SandboxLost as error:
            outcome.lost = True
            outcome.faults.append(f"the files cost the sandbox: {error}")

    async def _next_user(self, outcome: Outcome) -> None:
        """Whoever comes next finds a sandbox that is empty and works."""
        env = await self._open()
        if files := await env.list():
            outcome.faults.append(f"the next user finds {files[:3]}")
        used = await self._look(env, outcome)
        if sum(used) > LEFT_BYTES:
            outcome.faults.append(f"the next user finds {used} bytes in use")
        await env.close()

    async def _be_neighbour(self, outcome: Outcome, calm: asyncio.Event) -> None:
        """Work as another branch does meanwhile, and say what it noticed."""
        env = self._neighbour
        assert env is not None  # `settle` came first
        while not calm.is_set():
            result = await env.exec(self.command(_NEIGHBOUR, warm=True), timeout_seconds=20)
            if result.stdout.splitlines()[-1:] != [_WELL]:
                outcome.faults.append(f"the neighbour noticed: {result.stdout} {result.stderr[-300:]}")
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(calm.wait(), 0.25)
        if await env.read("secret") != b"the neighbour's" or await env.list() != ["secret"]:
            outcome.faults.append(f"the neighbour's files have changed: {await env.list()}")


class Ears:
    """Listeners on the host that no sandbox may reach."""

    def __init__(self) -> None:
        self.abstract = "branchwise-" + secrets.token_hex(4)
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(self._tcp.getsockname())
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind("\0" + self.abstract)
        self._unix.listen()
        self.addresses = [list(self._tcp.getsockname())]
        for ear in (self._tcp, self._udp, self._unix):
            ear.setblocking(False)

    def heard(self) -> list[str]:
        """Return who spoke."""
        found: list[str] = []
        for ear in (self._tcp, self._unix):
            with contextlib.suppress(BlockingIOError):
                speaker, address = ear.accept()
                speaker.close()
                found.append(f"a connection of {address!r}")
        with contextlib.suppress(BlockingIOError):
            found.append(f"a datagram of {self._udp.recvfrom(64)!r}")
        return found

    def close(self) -> None:
        """Stop listening."""
        for ear in (self._tcp, self._udp, self._unix):
            ear.close()


@contextlib.asynccontextmanager
async def firing_range(kind: str, store: Path) -> AsyncIterator[Range]:
    """Open a range for one kind of sandbox."""
    limits = SMALL | ({"inodes": 2000} if kind == "docker" else {})
    run_id = f"attacks-{kind}-{secrets.token_hex(4)}"
    ears = Ears()
    supply = await KINDS[kind](**limits).start(run_id, store)
    try:
        made = Range(kind, run_id, supply, ears)
        await made.settle()
        yield made
    finally:
        await supply.aclose()
        ears.close()


class Survivor(NamedTuple):
    """A process of a guest."""

    pid: int
    worker: int
    """The process of the sandbox from which it descends."""
    command: bytes


def survivors(run_id: str) -> list[Survivor]:
    """Return the guests' processes of a run, as this machine sees them: descendants of its workers, but not these."""
    seen: dict[int, tuple[int, bytes]] = {}
    workers: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            status = (folder / "status").read_text(errors="replace")
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        facts = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
        seen[pid] = int(facts["PPid"][0]), command
        # What the worker has forked has its command, but is not process 1 inside.
        if f"branchwise-run={run_id}\0".encode() in command:
            pids = facts["NSpid"]
            if len(pids) == 1 or pids[-1] == "1":
                workers[pid] = pid
    found = dict(workers)
    while more := {pid: found[parent] for pid, (parent, _) in seen.items() if parent in found and pid not in found}:
        found |= more
    return [Survivor(pid, found[pid], seen[pid][1][:80]) for pid in sorted(found.keys() - workers.keys())]


async def appear(run_id: str, count: int, mark: str = "") -> Survivor:
    """Return the last of the guests' processes of a run whose commands hold `mark`, once there are `count` of them."""
    deadline = time.monotonic() + 20
    while True:
        here = [process for process in survivors(run_id) if mark.encode() in process.command]
        if len(here) >= count:
            return here[-1]
        assert time.monotonic() < deadline, here
        await asyncio.sleep(0.01)


def _guest(env: WorkerEnvironment) -> object:
    """Return the sandbox in which an environment lives."""
    assert env._space is not None  # it is in use
    return env._space.guest


async def handle_files(env: WorkerEnvironment, supply: WorkerSandboxes) -> list[str]:
    """Do with a hostile work space what a search does; return what should not have happened.

    Files whose names begin with `in-` are plain and must be readable; those with `out-` lead out and must be neither
    readable nor writable through; the others may be refused.
    """
    faults: list[str] = []
    try:
        paths = await env.list()
        ref = await env.snapshot()
    except (OSError, OutputLimitExceeded):
        return []  # said to the caller, and the next user's sandbox is looked at in any case
    plain = [path for path in paths if path.rpartition("/")[2].startswith("in-")][:20]
    for path in [path for path in paths if path.rpartition("/")[2].startswith("out-")]:
        faults += [f"{path} could be {what}" for what in await _leads_out(env, path)]
    try:
        other = await supply.open(ref)
    except OutputLimitExceeded as error:
        return [f"a state was kept that no sandbox can hold: {error}"]
    for path in plain:
        content = await env.read(path)
        await other.write(path, b"of the other branch")
        if await other.read(path) != b"of the other branch" or await env.read(path) != content:
            faults.append(f"{path!r} is shared between branches")
    await other.restore(ref)
    if await other.snapshot() != ref:
        faults.append("a restored state differs from what was kept")
    await other.close()
    return faults


async def _leads_out(env: WorkerEnvironment, path: str) -> list[str]:
    done: list[str] = []
    with contextlib.suppress(UsageError, OSError, OutputLimitExceeded):
        await env.read(path)
        done.append("read")
    with contextlib.suppress(UsageError, OSError):
        if (await env.exec(["pwd"], cwd=path)).ok:
            done.append("entered")
    with contextlib.suppress(UsageError, OSError):
        await env.write(path, b"mine")
        if await env.read(path) != b"mine":
            done.append("written")
    return done
