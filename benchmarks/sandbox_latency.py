"""How long programs take in a warm sandbox, beside the same programs without one and by the engine's own exec.

What is compared is measured in turns, in an order that changes, so that what else the machine does falls on all alike. Only
the engine's exec comes by itself: it goes on working after its answer, at the cost of whoever comes next.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import docker
import psutil
from sandbox_peers import engine_cpu_seconds, spent_seconds

from branchwise.core.protocols import Environment, Sandboxes
from branchwise.core.types import Python
from branchwise.sandboxes import Local
from branchwise.sandboxes.inside.python import PRELOADED

PROGRAM = "print(sum(number * number for number in range(100)))"
ANSWER = "328350\n"
NOTHING = ["python3", "-I", "-S", "-c", "pass"]
LANES = 4
"""Programs at the same time, where it is counted how many a second there can be."""
LANE_SECONDS = 6
"""Of each way."""
KILOBYTE = os.urandom(1024)

_SERVER = """
import gc, importlib, os, resource, struct, sys
for name in sys.argv[1].split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
gc.collect()
gc.freeze()
def whole(size):
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
while True:
    code = whole(struct.unpack(">I", whole(4))[0])
    pipes = [os.pipe() for _ in range(3)]
    child = os.fork()
    if child == 0:
        for handle, end in ((0, pipes[0][0]), (1, pipes[1][1]), (2, pipes[2][1])):
            os.dup2(end, handle)
        os.setsid()
        os.nice(5)
        for limit in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
            resource.setrlimit(limit, resource.getrlimit(limit))
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(65532, 65532, 65532)
            os.setresuid(65532, 65532, 65532)
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    for end in (pipes[0][0], pipes[0][1], pipes[1][1], pipes[2][1]):
        os.close(end)
    output = b""
    for source in (pipes[1][0], pipes[2][0]):
        while True:
            piece = os.read(source, 65536)
            if not piece:
                break
            output += piece
        os.close(source)
    os.waitpid(child, 0)
    try:
        os.killpg(child, 9)
    except OSError:
        pass
    os.write(1, struct.pack(">I", len(output)) + output)
"""


class ForkServer:
    """What a sandbox's worker does, at its barest, without a sandbox: forks a warm interpreter for each program.

    Streams, session, limits and another user for the program, an end for its process group; no protocol, no filter.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> ForkServer:
        """Start one, with the modules loaded that a worker has."""
        command = [host_python(), "-I", "-c", _SERVER, PRELOADED]
        return cls(await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))

    async def run(self, code: str) -> str:
        """Return a program's output."""
        process = self._process
        assert process.stdin is not None  # both were asked for
        assert process.stdout is not None
        text = code.encode()
        process.stdin.write(struct.pack(">I", len(text)) + text)
        await process.stdin.drain()
        size: int = struct.unpack(">I", await process.stdout.readexactly(4))[0]
        return (await process.stdout.readexactly(size)).decode()

    async def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None  # it was asked for
        self._process.stdin.close()
        await self._process.wait()


def host_python() -> str:
    """Return this machine's Python, not the link to it that an environment has."""
    return str(Path(sys.executable).resolve())


async def timed(work: Callable[[], Awaitable[Any]], times: list[float]) -> Any:
    """Do it, and note the milliseconds."""
    begun = time.perf_counter()
    done = await work()
    times.append((time.perf_counter() - begun) * 1000)
    return done


async def in_turns(ways: dict[str, Callable[[], Awaitable[Any]]], count: int) -> dict[str, float]:
    """Return the median milliseconds of each way; all are taken in turn, in a new order each time, `count` times."""
    rng = random.Random(1)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count + 3):
        for name in rng.sample(list(ways), len(ways)):
            await timed(ways[name], times[name] if number >= 3 else [])
    return {name: statistics.median(values) for name, values in times.items()}


async def latencies(environment: Environment, image: str, count: int) -> dict[str, float]:
    """Return the median milliseconds of single operations."""
    server = await ForkServer.start()
    client = docker.from_env()
    api: Any = client.api
    number = api.create_container(image, ["sleep", "3600"], network_disabled=True)["Id"]
    try:
        api.start(number)
        container: Any = client.containers.get(number)

        async def ours() -> None:
            assert (await environment.exec(Python(PROGRAM))).stdout == ANSWER

        async def host_fork() -> None:
            assert await server.run(PROGRAM) == ANSWER

        async def fresh() -> None:
            assert (await environment.exec(NOTHING)).ok

        async def host_fresh() -> None:
            subprocess.run([host_python(), *NOTHING[1:]], check=True, capture_output=True)  # noqa: ASYNC221

        async def docker_exec() -> None:
            assert container.exec_run(["python3", "-c", PROGRAM]).output == ANSWER.encode()

        found = await in_turns({"exec": ours, "host_fork": host_fork, "fresh": fresh, "host_python": host_fresh}, count)
        found |= await in_turns({"docker_exec": docker_exec}, count)
    finally:
        api.remove_container(number, force=True)
        client.close()
        await server.stop()
    return found | await in_turns(
        {
            "write_1kb": lambda: environment.write("kilobyte", KILOBYTE),
            "read_1kb": lambda: environment.read("kilobyte"),
        },
        count,
    )


async def processor_ms(environment: Environment, run_id: str, count: int) -> float:
    """Return the milliseconds of processor time that one execution costs everybody: us, the engine, the sandbox."""
    before = engine_cpu_seconds() | sandbox_cpu_seconds(run_id)
    for _ in range(count):
        await environment.exec(Python(PROGRAM))
    return spent_seconds(before, engine_cpu_seconds() | sandbox_cpu_seconds(run_id)) / count * 1000


def sandbox_cpu_seconds(run_id: str) -> dict[int, float]:
    """Return the processor time of a run's workers by process, that of all that they have started included."""
    found: dict[int, float] = {}
    for process in psutil.process_iter(["cmdline"]):
        if f"branchwise-run={run_id}" in (process.info["cmdline"] or []):
            found[process.pid] = sum(process.cpu_times()[:4])
    return found


async def throughput(supply: Sandboxes) -> tuple[float, float, float]:
    """Return executions a second: in containers, by the same workers at the end of pipes without an engine, by bare fork servers.

    Each works for a second in turn, in an order that changes.
    """
    servers = [await ForkServer.start() for _ in range(LANES)]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        pipes = await Local(max_idle=LANES).start("bench-pipes", Path(folder))
        environments = [[await each.open() for _ in range(LANES)] for each in (supply, pipes)]
        lanes: list[list[Callable[[], Awaitable[Any]]]] = [
            *(
                [functools.partial(environment.exec, Python(PROGRAM)) for environment in opened]
                for opened in environments
            ),
            [functools.partial(server.run, PROGRAM) for server in servers],
        ]
        done = await _counted(lanes)
        for environment in itertools.chain(*environments):
            await environment.close()
        await pipes.aclose()
    for server in servers:
        await server.stop()
    return done[0], done[1], done[2]


async def _counted(ways: Sequence[Sequence[Callable[[], Awaitable[Any]]]]) -> list[float]:
    """Return how often a second each of the ways is gone, all its lanes at the same time."""
    rng = random.Random(2)
    done = [0] * len(ways)
    for lane in itertools.chain(*ways):
        await lane()
    for _ in range(LANE_SECONDS):
        for index in rng.sample(range(len(ways)), len(ways)):
            end = time.perf_counter() + 1.0
            done[index] += sum(await asyncio.gather(*(_until(end, lane) for lane in ways[index])))
    return [count / LANE_SECONDS for count in done]


async def _until(end: float, work: Callable[[], Awaitable[Any]]) -> int:
    """Do it, one time after the other, until the time is over; return how often."""
    done = 0
    while time.perf_counter() < end:
        await work()
        done += 1
    return done
