"""Settings of `Tests`, its commands, and what a run is worth beside that of the untouched task."""

from __future__ import annotations

import pytest

import branchwise as bw
from branchwise.verifiers import Tests
from branchwise.verifiers.protection import PROTECTED, covers, shadows
from branchwise.verifiers.suite_command import SuiteCommand, read_command
from branchwise.verifiers.suite_judgement import judge_run
from branchwise.verifiers.suite_run import SuiteRun


def ran(status: int = 0, **outcomes: str) -> SuiteRun:
    """A run with these outcomes that came to its end."""
    return SuiteRun(collected=list(outcomes), outcomes=dict(outcomes), status=status, probes=["failed"])


BEFORE = ran(1, a="failed", b="passed", s="skipped", x="xfailed")


@pytest.mark.parametrize(
    ("run", "passed", "total"),
    [
        (ran(a="passed", b="passed", s="skipped", x="xfailed"), 2, 2),
        (ran(a="passed", b="passed", s="passed", x="xpassed"), 4, 4),
    ],
)
def test_accepted(run: SuiteRun, passed: int, total: int) -> None:
    """All tests pass but those that the untouched task skips or excuses, too."""
    judged = judge_run(run, BEFORE)
    assert (judged.accepted, judged.value, judged.passed, judged.total) == (True, 1.0, passed, total)


@pytest.mark.parametrize(
    ("run", "value"),
    [
        (ran(a="passed", b="skipped", s="skipped", x="xfailed"), 1 / 2),
        (ran(a="passed", b="xfailed", s="skipped", x="xfailed"), 1 / 2),
        (ran(a="passed", s="skipped", x="xfailed"), 1 / 2),
        (ran(a="passed", b="passed", c="passed", s="skipped", x="xfailed"), 0.99),
        (ran(1, a="passed", b="passed", s="skipped", x="xfailed"), 0.99),
        (SuiteRun(), 0.0),
    ],
    ids=["skipped", "excused", "missing", "added", "status", "nothing"],
)
def test_not_accepted(run: SuiteRun, value: float) -> None:
    """Skipped, excused, missing or added tests and a status that does not fit are no pass."""
    judged = judge_run(run, BEFORE)
    assert (judged.accepted, judged.value) == (False, pytest.approx(value))


def test_not_believed() -> None:
    """A run in which a test that must fail did not is worth nothing."""
    run = ran(a="passed", b="passed", s="skipped", x="xfailed")
    run.probes = ["failed", "passed"]
    assert (judge_run(run, BEFORE).accepted, judge_run(run, BEFORE).value) == (False, 0.0)


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("python3 -m pytest -q --tb=short", ("-q", "--tb=short")),
        ("pytest -k 'a and b' tests", ("-k", "a and b", "tests")),
        ("cd x && pytest", None),
        ("FOO=1 pytest", None),
        ("pytest -n 4", None),
        ("pytest -n4", None),
        ("pytest --co", None),
        ("pytest tests/*.py", None),
        ("make test", None),
        ("pytest 'unclosed", None),
    ],
)
def test_commands(command: str, args: tuple[str, ...] | None) -> None:
    """Plain commands of pytest are run test by test, all others as they are."""
    assert read_command(command) == (None if args is None else SuiteCommand("pytest", args))
    assert read_command("python3 -m unittest -q x") == SuiteCommand("unittest", ("-q", "x"))


def test_files_of_the_tests() -> None:
    """Patterns match a path or its end; modules that hide one of Python's are found where they would be imported."""
    for path in (
        "tests/a.txt",
        "a/tests/b/c.py",
        "conftest.py",
        "a/conftest.py",
        "x.pth",
        "x.egg-info/entry_points.txt",
    ):
        assert covers(PROTECTED, path)
    for path in ("test.py", "contest.py", "src/latest.py"):
        assert not covers(PROTECTED, path)
    for path in ("json.py", "pytest/__init__.py", "src/random.py", "tests/unittest.py", "_pytest/x.py", "os.so"):
        assert shadows(path, ["tests"])
    for path in ("pkg/json.py", "tests/json.txt", "jsonx.py", "data/json", "src/pkg/random.py"):
        assert not shadows(path, ["tests"])


def test_wrong_settings_are_refused() -> None:
    """An empty command and times of 0 are one clear line."""
    with pytest.raises(bw.UsageError, match="give the command"):
        Tests("  ")
    with pytest.raises(bw.UsageError, match="must be positive"):
        Tests(timeout_seconds=0)
    with pytest.raises(bw.UsageError, match="at least 1"):
        Tests(repeat=0)
