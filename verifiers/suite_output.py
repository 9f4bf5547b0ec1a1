"""What a test run prints: how many tests passed, and what of it a model should read."""

from __future__ import annotations

import re

from ..core.types import ExecResult

FEEDBACK_LIMIT_CHARS = 1_500
SHOWN_FAILURES = 3

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


def feedback_of(result: ExecResult, passed: int, total: int | None, *, accepted: bool) -> str:
    """Return what a reader needs: how many tests pass, and the first failures."""
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
