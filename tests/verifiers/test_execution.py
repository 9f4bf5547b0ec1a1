"""The `Tests` verifier in a real sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.protocols import Candidate, Environment, Sandboxes
from branchwise.core.types import ROOT, Node, NodeId, Verdict
from branchwise.verifiers import Tests

pytestmark = pytest.mark.docker

FIXED = b"def add(a, b):\n    return a + b\n\n\ndef double(a):\n    return add(a, a)\n\n\ndef one():\n    return 1\n"


class Bench:
    """Judges states of the repository."""

    def __init__(self, sandboxes: Sandboxes, origin: str) -> None:
        self.sandboxes = sandboxes
        self.origin = origin

    @asynccontextmanager
    async def open(self, ref: str | None) -> AsyncIterator[Environment]:
        environment = await self.sandboxes.open(ref)
        try:
            yield environment
        finally:
            await environment.close()

    async def judge(self, verifier: Tests, **files: bytes | None) -> Verdict:
        """Change files (None removes one) and judge the state that results."""
        async with self.open(self.origin) as environment:
            for name, content in files.items():
                path = name.replace("__", "/") + ".py"
                if content is None:
                    await environment.exec(["rm", path])
                else:
                    await environment.write(path, content)
            ref = await environment.snapshot()
        path_to_node = [Node(ROOT, None, None, self.origin), Node(NodeId(1), ROOT, None, ref, 1)]
        return await verifier.judge(
            Candidate(bw.Task(prompt="x"), path_to_node, self.origin, self.open, self.sandboxes.diff)
        )


@pytest.fixture
async def bench(sandboxes: Sandboxes, repository: Path) -> Bench:
    """The repository, kept as a snapshot."""
    return Bench(sandboxes, await sandboxes.keep(repository))


async def test_share_of_passing_tests(bench: Bench) -> None:
    """A broken state scores the share of tests that pass, with the failures as feedback; a repaired one is accepted."""
    broken = await bench.judge(Tests())
    assert (broken.value, broken.passed, broken.integrity) == (pytest.approx(1 / 3), False, "in-process")
    assert broken.feedback.startswith("1 of 3 tests pass")
    assert "assert -1 == 5" in broken.feedback
    fixed = await bench.judge(Tests(), maths=FIXED)
    assert (fixed.value, fixed.passed) == (1.0, True)


async def test_edited_tests_do_not_count(bench: Bench) -> None:
    """Tests that the agent weakened, deleted or added are put back before the run, and the verdict says so."""
    weak = b"def test_nothing():\n    pass\n"
    verdict = await bench.judge(Tests(), tests__test_maths=weak, tests__test_more=weak)
    assert (verdict.value, verdict.passed) == (pytest.approx(1 / 3), False)
    assert verdict.feedback.startswith("Changes to tests/test_maths.py, tests/test_more.py were ignored")
    gone = await bench.judge(Tests(), tests__test_maths=None)
    assert not gone.passed


async def test_a_conftest_cannot_skip_the_tests(bench: Bench) -> None:
    """Configuration of the test runner is protected like the tests themselves."""
    skip = b"collect_ignore_glob = ['*']\n"
    assert not (await bench.judge(Tests(), conftest=skip, tests__conftest=skip)).passed


async def test_syntax_errors_loops_and_early_exits(bench: Bench) -> None:
    """Code that cannot be imported, never ends or exits with status 0 before a test ran is not accepted."""
    assert (await bench.judge(Tests(), maths=b"def add(:\n")).value == 0.0
    loop = await bench.judge(Tests(timeout_seconds=2), maths=b"while True:\n    pass\n")
    assert (loop.passed, loop.feedback.splitlines()[0]) == (False, "stopped after 2 s")
    leave = await bench.judge(Tests(), maths=b"import os\nos._exit(0)\n")
    assert not leave.passed


async def test_other_commands_score_by_status(bench: Bench) -> None:
    """A command whose output has no summary that is understood passes or fails by its status."""
    assert (await bench.judge(Tests("true"))).passed
    failed = await bench.judge(Tests("echo oh no; exit 3"))
    assert (failed.value, failed.feedback) == (0.0, "exit code 3\noh no")
    unittest = await bench.judge(Tests("python3 -m unittest -q tests.test_maths"))
    assert not unittest.passed


def test_wrong_settings_are_refused() -> None:
    """An empty command and a time-out of 0 are one clear line."""
    with pytest.raises(bw.UsageError, match="give the command"):
        Tests("  ")
    with pytest.raises(bw.UsageError, match="must be positive"):
        Tests(timeout_seconds=0)
