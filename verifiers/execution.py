"""Verdicts by running a test suite in a fresh sandbox."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate, Environment
from ..core.types import ExecResult, Semantics, Verdict

FEEDBACK_LIMIT_CHARS = 1_500
SHOWN_FAILURES = 3

PROTECTED = (
    "test_*.py",
    "*_test.py",
    "conftest.py",
    "tests/*",
    "test/*",
    "pytest.ini",
    "tox.ini",
    "setup.cfg",
    "pyproject.toml",
)
"""Files that decide what the tests are; patterns match a path or the end of it."""


@dataclass(frozen=True)
class Tests:
    """Accept where a test command succeeds; score by the share of tests that pass.

    The command runs in a fresh sandbox in the node's state, after every protected file was put back as the task's own: an
    agent that edits, adds or deletes tests or their configuration gains nothing. What this does not exclude: the code under
    test and the test runner share a process, so code written to deceive the runner could still do so; the verdict says
    `integrity="in-process"`.

    Args:
        command: shell command; status 0 means passed. The numbers of pytest and unittest are understood, other commands
            score 0 or 1.
        timeout_seconds: a longer run counts as failed.
        protect: glob patterns of files that are restored from the task before the run.
        name: shown beside the verdicts.
    """

    command: str = "python3 -m pytest -q --tb=short -p no:cacheprovider"
    timeout_seconds: float = 60.0
    protect: tuple[str, ...] = PROTECTED
    name: str = "tests"
    semantics: Semantics = "outcome"
    scope: Literal["state", "answer"] = "state"

    __test__ = False  # pytest: not a test class

    def __post_init__(self) -> None:
        if not self.command.strip():
            raise UsageError("Tests(command=...) is empty; give the command that runs the tests")
        if self.timeout_seconds <= 0:
            raise UsageError(f"Tests(timeout_seconds={self.timeout_seconds!r}) must be positive")

    async def judge(self, candidate: Candidate) -> Verdict:
        """Run the tests in a fresh sandbox."""
        async with candidate.open(candidate.node.env_ref) as environment:
            touched = await self._restore(candidate, environment)
            result = await environment.exec(
                self.command, timeout_seconds=self.timeout_seconds, env={"PYTHONDONTWRITEBYTECODE": "1"}
            )
        passed, total = count_tests(result.stdout + "\n" + result.stderr)
        # Status 0 without the runner's summary is a program that left early, not a passed suite.
        accepted = result.ok and (passed > 0 if self._counts else total != 0)
        value = 1.0 if accepted else min(0.99, passed / total) if total else 0.0
        feedback = _feedback(result, passed, total, accepted=accepted)
        if touched:
            feedback = f"Changes to {', '.join(touched)} were ignored: tests are not to be edited.\n{feedback}"
        return Verdict(value, self.semantics, self.name, accepted, feedback, integrity="in-process")

    @property
    def _counts(self) -> bool:
        """Whether the command is a test runner that always prints a summary."""
        return re.search(r"\b(pytest|unittest)\b", self.command) is not None

    async def _restore(self, candidate: Candidate, environment: Environment) -> list[str]:
        """Put the protected files back; return those that the agent had touched."""
        origin, state = candidate.origin_ref, candidate.node.env_ref
        if origin is None or state is None or origin == state:
            return []
        original, added = candidate.diff(state, origin)
        touched = {path: content for path, content in original.items() if self._protects(path)}
        for path, content in touched.items():
            await environment.write(path, content)
        extra = [path for path in added if self._protects(path)]
        if extra:
            await environment.exec(["rm", "-f", "--", *extra], timeout_seconds=10)
        return sorted([*touched, *extra])

    def _protects(self, path: str) -> bool:
        return any(fnmatch.fnmatch(path, p) or fnmatch.fnmatch(path, f"*/{p}") for p in self.protect)


_PYTEST = re.compile(r"(\d+) (passed|failed|errors?|xfailed|xpassed)\b")
_HEADING = re.compile(r"^_{3,} (.+?) _{3,}$", re.MULTILINE)
_RAN = re.compile(r"^Ran (\d+) tests?", re.MULTILINE)
_UNITTEST = re.compile(r"(failures|errors)=(\d+)")


def count_tests(output: str) -> tuple[int, int | None]:
    """Return how many tests passed and how many there were, read from the runner's own last summary.

    Returns:
        (passed, total); (0, None) where the output has no summary that is understood.
    """
    for line in reversed(output.splitlines()):
        counts = [(int(n), word) for n, word in _PYTEST.findall(line)]
        if counts and re.search(r"\bin [\d.]+s", line):
            passed = sum(n for n, word in counts if word in ("passed", "xfailed", "xpassed"))
            return passed, sum(n for n, _ in counts)
    if ran := _RAN.search(output):
        bad = sum(int(n) for _, n in _UNITTEST.findall(output[ran.end() :]))
        return max(0, int(ran.group(1)) - bad), int(ran.group(1))
    return 0, None


def _feedback(result: ExecResult, passed: int, total: int | None, *, accepted: bool) -> str:
    head = f"{passed} of {total} tests pass" if total else f"exit code {result.exit_code}"
    if accepted:
        return head if total else "passed"
    if result.timed_out:
        head = f"stopped after {result.seconds:.0f} s"
    return f"{head}\n{_failures((result.stdout + chr(10) + result.stderr).strip())}"


def _failures(output: str) -> str:
    """Return what a reader needs of a failed run: pytest's first few failures and the names of the rest, else the output.

    Every failure at length would bury the first, which usually tells enough, and costs a model more than it helps.
    """
    headings = list(_HEADING.finditer(output))
    if not headings:
        return _cut("\n".join(line for line in output.splitlines() if not _noise(line)), FEEDBACK_LIMIT_CHARS)
    ends = [*(heading.start() for heading in headings[1:]), len(output)]
    sections = [
        f"{heading.group(1)}:\n{_section(output[heading.end() : end])}"
        for heading, end in zip(headings[:SHOWN_FAILURES], ends, strict=False)
    ]
    rest = [heading.group(1) for heading in headings[SHOWN_FAILURES:]]
    if rest:
        sections.append(f"These fail too: {_cut(', '.join(rest), 300)}")
    return "\n\n".join(sections)


def _section(text: str) -> str:
    body = text.partition("\n====")[0]
    lines = [line for line in body.splitlines() if not _noise(line) and line.rstrip() != "E"]
    return _cut("\n".join(lines), FEEDBACK_LIMIT_CHARS // SHOWN_FAILURES)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]}\n[...]\n{text[-limit // 3 :]}"


def _noise(line: str) -> bool:
    return not line.strip() or set(line.strip()) <= {"=", "_", ".", "F", " "} or line.startswith(("=== ", "FAILED "))
