"""What a judgement costs by level: hidden cases on the host, a test split from the code, and both in one process.

The task is of the size of HumanEval's: one function, seven asserts. In process is the least that can be done: one program
with solution and test, in a sandbox in the state of the node. Every figure covers the whole judgement, from opening
sandboxes to giving them back; the three take turns, so that other load on the machine hits them alike.

Run it: `python benchmarks/judging.py [--json] [--repeats N]`. From other programs: `await judging_ms(sandboxes)`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import branchwise as bw
from branchwise.core.protocols import Candidate, Environment, Sandboxes
from branchwise.core.types import ROOT, Node, NodeId, Python
from branchwise.verifiers import Case, InputOutput, Split

SOLUTION = """\
def has_close_elements(numbers, threshold):
    return any(abs(a - b) < threshold for i, a in enumerate(numbers) for b in numbers[i + 1 :])
"""
CASES = [
    (([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3), True),
    (([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05), False),
    (([1.0, 2.0, 5.9, 4.0, 5.0], 0.95), True),
    (([1.0, 2.0, 5.9, 4.0, 5.0], 0.8), False),
    (([1.0, 2.0, 3.0, 4.0, 5.0, 2.0], 0.1), True),
    (([1.1, 2.2, 3.1, 4.1, 5.1], 1.0), True),
    (([1.1, 2.2, 3.1, 4.1, 5.1], 0.5), False),
]
ENTRY = "has_close_elements"
TEST = "def check(candidate):\n" + "".join(f"    assert candidate{args!r} == {wanted!r}\n" for args, wanted in CASES)
LOOP = f"def check(candidate):\n    for args, wanted in {CASES!r}:\n        assert candidate(*args) == wanted\n"


async def judging_ms(sandboxes: Sandboxes, *, repeats: int = 100) -> dict[str, float]:
    """Return the median milliseconds of a judgement in each way.

    Returns:
        `in_process`, `split` (calls known from the source), `split_calls` (every call a round trip), `host_io` (one process for
        all cases), `host_io_fresh` (one for each).
    """

    @asynccontextmanager
    async def opened(ref: str | None) -> AsyncGenerator[Environment]:
        environment = await sandboxes.open(ref)
        try:
            yield environment
        finally:
            await environment.close()

    async with opened(None) as environment:
        await environment.write("solution.py", SOLUTION.encode())
        ref = await environment.snapshot()
    nodes = [Node(ROOT, None, None, ref), Node(NodeId(1), ROOT, None, ref, 1)]
    candidate = Candidate(bw.Task(prompt="judging"), nodes, ref, opened, sandboxes.diff)
    together = Python(f"{SOLUTION}\n\n{TEST}\n\ncheck({ENTRY})\n")

    async def in_process() -> bool:
        async with opened(ref) as environment:
            return (await environment.exec(together)).ok

    def judged(verifier: InputOutput | Split) -> Callable[[], Awaitable[bool]]:
        async def judge() -> bool:
            return (await verifier.judge(candidate)).passed is True

        return judge

    cases = [Case(args, value) for args, value in CASES]
    ways: dict[str, Callable[[], Awaitable[bool]]] = {
        "in_process": in_process,
        "split": judged(Split(TEST, ENTRY, file="solution.py")),
        "split_calls": judged(Split(LOOP, ENTRY, file="solution.py")),
        "host_io": judged(InputOutput(cases, ENTRY, file="solution.py", fresh=False)),
        "host_io_fresh": judged(InputOutput(cases, ENTRY, file="solution.py")),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 3):
        for name, way in ways.items():
            begun = time.perf_counter()
            if not await way():
                raise RuntimeError(f"{name} refuses a right solution")
            if turn >= 3:  # the first make the pool and the programs warm
                times[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


async def _main(*, as_json: bool, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sandboxes = await bw.sandboxes.Docker().start("judging", Path(folder))
        try:
            found = await judging_ms(sandboxes, repeats=repeats)
        finally:
            await sandboxes.aclose()
    if as_json:
        print(json.dumps({name: round(value, 2) for name, value in found.items()}))
        return
    for name, value in found.items():
        print(f"{name:14} {value:7.1f} ms  {value / found['in_process']:5.2f} x in process")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    asyncio.run(_main(as_json=arguments.json, repeats=arguments.repeats))
