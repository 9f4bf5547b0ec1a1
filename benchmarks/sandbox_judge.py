"""What a verdict costs whose test the judged code cannot reach, beside one where test and code share a process."""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import branchwise as bw
from branchwise.core.protocols import Candidate, Environment, Sandboxes
from branchwise.core.types import ROOT, Node, NodeId, Python
from branchwise.verifiers import Split

SOLUTION = "def digits(n):\n    return [int(digit) for digit in str(n)]\n"
CHECK = "def check(candidate):\n" + "".join(
    f"    assert candidate({n}) == {[int(digit) for digit in str(n)]!r}\n" for n in (0, 7, 10, 123, 4096, 99999)
)
TOGETHER = f"{SOLUTION}\n{CHECK}\ncheck(digits)\nprint('held')\n"


async def measure(supply: Sandboxes, count: int) -> dict[str, float]:
    """Return the median milliseconds of both, taken in turns."""
    environment = await supply.open()
    await environment.write("solution.py", SOLUTION.encode())
    ref = await environment.snapshot()
    await environment.close()

    @asynccontextmanager
    async def opened(state: str | None) -> AsyncGenerator[Environment]:
        made = await supply.open(state)
        try:
            yield made
        finally:
            await made.close()

    path = [Node(ROOT, None, None, ref), Node(NodeId(1), ROOT, None, ref, 1)]
    candidate = Candidate(bw.Task(prompt="digits"), path, ref, opened, supply.diff)
    split = Split(CHECK, "digits", file="solution.py")

    async def apart() -> None:
        verdict = await split.judge(candidate)
        assert verdict.passed, verdict.feedback

    async def together() -> None:
        async with opened(ref) as environment:
            assert (await environment.exec(Python(TOGETHER))).stdout == "held\n"

    times = await _in_turns([apart, together], count)
    return {"judge_split_ms": times[0], "judge_in_process_ms": times[1]}


async def _in_turns(ways: list[Callable[[], Awaitable[None]]], count: int) -> list[float]:
    times: list[list[float]] = [[] for _ in ways]
    for number in range(count + 3):
        for way, own in zip(ways, times, strict=True):
            begun = time.perf_counter()
            await way()
            if number >= 3:
                own.append((time.perf_counter() - begun) * 1000)
    return [statistics.median(own) for own in times]
