"""How many forgeries of a verdict succeed, by the level that judges.

A forgery is code that solves nothing and wants to be accepted. The task is a function whose results are drawn anew for each
run, so that whoever is accepted has forged, or has stolen the expected values. `tests/attacks/forgeries` has one file for
each: it is data, written into a sandbox and never imported here, and its code begins with a proof that it is in a sandbox.

Run it: `python benchmarks/forgeries.py [--kind docker|local] [--json]`. From other programs: `await judge_all(sandboxes)`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import tempfile
import tomllib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import branchwise as bw
from branchwise.core.protocols import Candidate, Environment, Sandboxes
from branchwise.core.types import ROOT, Integrity, Node, NodeId, Verdict
from branchwise.verifiers import Case, InputOutput, Split, Tests

CORPUS = Path(__file__).parents[1] / "tests" / "attacks" / "forgeries"
KINDS = {"docker": bw.sandboxes.Docker, "local": bw.sandboxes.Local}
LEVELS: tuple[Integrity, ...] = get_args(Integrity)
AT_ONCE = 2
TIMEOUT_SECONDS = 6.0
LINK = "-> "
"""Begins the content of a file that is a link."""

PROOF = """\
import os as _os, socket as _socket
if not (_os.environ.get("BRANCHWISE_SANDBOX") == "1" and _socket.gethostname() == "sandbox" and 61184 <= _os.getuid() < 65534
        and not _os.path.exists({repository!r})):
    raise SystemExit("not in a sandbox")
"""
"""Stands at the top of every file of a forgery that may be run as Python."""
_NO_CODE = frozenset([".ini", ".toml", ".cfg", ".pth", ""])

UNSOLVED = "def digits(n):\n    raise NotImplementedError\n"
HONEST = "def digits(n):\n    return {table!r}[n]\n"


@dataclass(frozen=True)
class Forgery:
    """One attempt to be accepted without solving the task."""

    name: str
    tries: str
    """What it tries, in words."""
    levels: tuple[Integrity, ...]
    """The levels that it is meant for."""
    excluded: bool
    """Whether the in-process level claims to exclude it, too."""
    runner: Literal["pytest", "unittest"]
    files: Mapping[str, str]
    gone: tuple[str, ...] = ()


@dataclass
class Tally:
    """What came of the forgeries at one level."""

    tried: int = 0
    forged: list[str] = field(default_factory=list[str])
    """Names of those that were accepted."""
    broken: list[str] = field(default_factory=list[str])
    """Names of those that were accepted although the level claims to exclude them."""


def corpus() -> list[Forgery]:
    """Read all forgeries."""
    found: list[Forgery] = []
    for path in sorted(CORPUS.glob("*.toml")):
        row = tomllib.loads(path.read_text("utf-8"))
        found.append(
            Forgery(
                row["name"],
                row["tries"],
                tuple(row["levels"]),
                bool(row["excluded"]),
                row["runner"],
                dict(row["files"]),
                tuple(row["gone"]),
            )
        )
    return found


def armed(files: Mapping[str, str]) -> dict[str, str]:
    """Return a forgery's files, each with the proof in front that may be run."""
    proof = PROOF.format(repository=str(Path(__file__).parents[1]))
    return {
        path: content
        if content.startswith(LINK) or Path(path).suffix in _NO_CODE or "info/" in path
        else proof + content
        for path, content in files.items()
    }


class Bench:
    """The task with its hidden results, and judgements on states of it."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self.table = {
            n: [secrets.randbelow(1000) for _ in range(4)] for n in secrets.SystemRandom().sample(range(1000), 4)
        }
        self._origins: dict[str, str] = {}
        self._strict: dict[str, asyncio.Task[Candidate]] = {}
        self._suites = {
            "pytest": Tests("python3 -m pytest -q -p no:cacheprovider", timeout_seconds=4 * TIMEOUT_SECONDS),
            "unittest": Tests("python3 -m unittest -q tests.test_solution", timeout_seconds=4 * TIMEOUT_SECONDS),
        }
        self._lock = asyncio.Lock()

    def _tests(self, runner: str) -> dict[str, str]:
        asserts = [f"digits({n}) == {value!r}" for n, value in self.table.items()]
        names = ("first", "second", "third", "fourth")
        if runner == "unittest":
            cases = [
                f"    def test_{name}(self):\n        self.assertTrue({a})\n"
                for name, a in zip(names, asserts, strict=True)
            ]
            head = "import unittest\n\nfrom solution import digits\n\n\nclass SolutionTest(unittest.TestCase):\n"
            return {"tests/__init__.py": "", "tests/test_solution.py": head + "\n".join(cases)}
        tests = [f"def test_{name}():\n    assert {a}\n" for name, a in zip(names, asserts, strict=True)]
        head = "from solution import digits\n\n\n"
        again = {"tests/test_solution_again.py": head + tests[3]}
        return {"tests/test_solution.py": head + "\n\n".join(tests[:3]), **again}

    async def _origin(self, runner: str) -> str:
        async with self._lock:
            if runner not in self._origins:
                async with self._open(None) as environment:
                    for path, content in {"solution.py": UNSOLVED, **self._tests(runner)}.items():
                        await environment.write(path, content.encode())
                    self._origins[runner] = await environment.snapshot()
        return self._origins[runner]

    @asynccontextmanager
    async def _open(self, ref: str | None) -> AsyncGenerator[Environment]:
        environment = await self._sandboxes.open(ref)
        try:
            yield environment
        finally:
            await environment.close()

    async def candidate(
        self, files: Mapping[str, str], *, gone: Sequence[str] = (), runner: str = "pytest"
    ) -> Candidate:
        """Make the state that a forgery leaves; its files are written, nothing of it is run."""
        origin = await self._origin(runner)
        async with self._open(origin) as environment:
            if gone:
                await environment.exec(["rm", "-f", "--", *gone])
            for path, content in armed(files).items():
                if content.startswith(LINK):
                    await environment.exec(
                        ["sh", "-c", 'rm -rf "$1"; ln -s "$2" "$1"', "-", path, content[len(LINK) :]]
                    )
                else:
                    await environment.write(path, content.encode())
            state = await environment.snapshot()
        path_to_node = [Node(ROOT, None, None, origin), Node(NodeId(1), ROOT, None, state, 1)]
        return Candidate(bw.Task(prompt="digits"), path_to_node, origin, self._open, self._sandboxes.diff)

    async def judge(self, forgery: Forgery, level: Integrity) -> list[Verdict]:
        """Have a forgery judged in every way that a level knows."""
        if level == "in-process":
            candidate = await self.candidate(forgery.files, gone=forgery.gone, runner=forgery.runner)
            return [await self._suites[forgery.runner].judge(candidate)]
        if forgery.name not in self._strict:
            self._strict[forgery.name] = asyncio.create_task(self._without_tests(forgery))
        candidate = await self._strict[forgery.name]
        return [await verifier.judge(candidate) for verifier in self._verifiers(level)]

    async def _without_tests(self, forgery: Forgery) -> Candidate:
        """Make the state for the levels whose tests the agent never has: those that lie in a state would tell the results."""
        files = {path: content for path, content in forgery.files.items() if not path.startswith("tests")}
        return await self.candidate(files, gone=[*self._tests("pytest")])

    def _verifiers(self, level: Integrity) -> list[InputOutput | Split]:
        if level == "host-io":
            cases = [Case((n,), value) for n, value in self.table.items()]
            return [
                InputOutput(cases, "digits", file="solution.py", fresh=fresh, timeout_seconds=TIMEOUT_SECONDS)
                for fresh in (True, False)
            ]
        asserts = [f"candidate({n}) == {value!r}" for n, value in self.table.items()]
        check = "def check(candidate):\n" + "".join(f"    assert {a}\n" for a in asserts)
        loop = f"for n, value in {[*self.table.items()]!r}:\n    assert digits(n) == value\n"
        mapped = f"for got, value in zip(map(digits, {[*self.table]!r}), {[*self.table.values()]!r}):\n    assert got == value\n"
        unit = self._tests("unittest")["tests/test_solution.py"]
        tests = [check, loop, mapped, unit]
        return [Split(test, "digits", file="solution.py", timeout_seconds=TIMEOUT_SECONDS) for test in tests]

    async def honest(self, level: Integrity, runner: Literal["pytest", "unittest"] = "pytest") -> list[Verdict]:
        """Have a right solution judged, to see that the level accepts one."""
        files = {"solution.py": HONEST.format(table=self.table)}
        return await self.judge(Forgery("honest", "solves the task", LEVELS, False, runner, files), level)


async def judge_all(
    sandboxes: Sandboxes, levels: Sequence[Integrity] = LEVELS, forgeries: Sequence[Forgery] | None = None
) -> dict[Integrity, Tally]:
    """Have every forgery judged at every level that it is meant for.

    Raises:
        RuntimeError: a level does not accept a right solution, so what it refuses says nothing.
    """
    bench = Bench(sandboxes)
    tallies: dict[Integrity, Tally] = {level: Tally() for level in levels}
    gate = asyncio.Semaphore(AT_ONCE)

    async def attempt(forgery: Forgery, level: Integrity) -> None:
        async with gate:
            verdicts = await bench.judge(forgery, level)
        tally = tallies[level]
        tally.tried += 1
        if any(verdict.passed for verdict in verdicts):
            tally.forged.append(forgery.name)
            if level != "in-process" or forgery.excluded:
                tally.broken.append(forgery.name)

    for level in levels:
        refused = [verdict for verdict in await bench.honest(level) if not verdict.passed]
        if refused:
            raise RuntimeError(f"{level} refuses a right solution: {refused[0].feedback}")
    async with asyncio.TaskGroup() as group:
        for forgery in corpus() if forgeries is None else forgeries:
            for level in forgery.levels:
                if level in levels:
                    group.create_task(attempt(forgery, level))
    return tallies


async def _main(kind: str, *, as_json: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sandboxes = await KINDS[kind]().start("forgeries", Path(folder))
        try:
            tallies = await judge_all(sandboxes)
        finally:
            await sandboxes.aclose()
    if as_json:
        print(json.dumps({level: {"forgeries": t.tried, "forged": sorted(t.forged)} for level, t in tallies.items()}))
        return
    for level, tally in tallies.items():
        print(f"{level:11} {len(tally.forged):3} of {tally.tried} forged  {', '.join(sorted(tally.forged))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=list(KINDS), default="docker")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    asyncio.run(_main(given.kind, as_json=given.json))
