"""What a fork of a node's files costs: beside its parent, carried into another sandbox, and by the engine's commit."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from sandbox_peers import commit_and_start

from branchwise.core.protocols import Environment, Sandboxes
from branchwise.core.types import Python

SMALL = (500, 5 << 20)
"""Files, and bytes in all of them together."""
LARGE = (2000, 100 << 20)
FIRST = Python("print(1)")
CARRIED = 20
"""States that are carried into a sandbox; each has other contents, so that nothing of it is there."""


def make_tree(folder: Path, files: int, total_bytes: int) -> None:
    """Write a tree of random files, fifty to a folder at most."""
    for number in range(files):
        place = folder / str(number // 50)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.bin").write_bytes(os.urandom(total_bytes // files))


async def beside(environment: Environment, count: int) -> tuple[float, float]:
    """Return the median milliseconds of a fork, until its files can be read, and of the fork's end.

    Before each fork the parent has changed one file, as a node has that is to be forked.
    """
    forks: list[float] = []
    ends: list[float] = []
    for number in range(count + 3):
        await environment.write("changed", str(number).encode())
        begun = time.perf_counter()
        child = await environment.fork()
        assert await child.read("changed") == str(number).encode()
        forked = time.perf_counter()
        await child.close()
        if number >= 3:
            forks.append((forked - begun) * 1000)
            ends.append((time.perf_counter() - forked) * 1000)
    return statistics.median(forks), statistics.median(ends)


async def carried(supply: Sandboxes, files: int, total_bytes: int, count: int = CARRIED) -> float:
    """Return the median milliseconds of bringing a state from the store into an empty sandbox that knows none of it."""
    times: list[float] = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            make_tree(Path(folder), files, total_bytes)
            ref = await supply.keep(Path(folder))
        empty = await supply.open()
        await empty.exec(FIRST)
        await empty.close()
        begun = time.perf_counter()
        environment = await supply.open(ref)
        assert (await environment.exec(FIRST)).ok
        times.append((time.perf_counter() - begun) * 1000)
        await environment.close()
    return statistics.median(times)


async def with_tree(supply: Sandboxes, files: int, total_bytes: int) -> Environment:
    """Return an environment with a tree of random files in it."""
    with tempfile.TemporaryDirectory() as folder:
        make_tree(Path(folder), files, total_bytes)
        return await supply.open(await supply.keep(Path(folder)))


async def measure(supply: Sandboxes, image: str, count: int) -> dict[str, float]:
    """Return the median milliseconds of each kind of fork."""
    small = await with_tree(supply, *SMALL)
    small_fork, small_end = await beside(small, count)
    await small.close()
    large = await with_tree(supply, *LARGE)
    large_fork, large_end = await beside(large, max(count // 4, 5))
    await large.close()
    return {
        "fork_5mb_ms": small_fork,
        "fork_5mb_close_ms": small_end,
        "fork_5mb_copy_ms": await carried(supply, *SMALL),
        "fork_100mb_ms": large_fork,
        "fork_100mb_close_ms": large_end,
        "commit_5mb_ms": commit_and_start(image, *SMALL),
        "commit_100mb_ms": commit_and_start(image, *LARGE),
    }
