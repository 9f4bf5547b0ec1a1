"""Reading the numbers of a test runner's summary."""

from __future__ import annotations

import pytest

from branchwise.verifiers.suite_output import count_tests


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("..F\n1 failed, 2 passed in 0.12s", (2, 3)),
        ("===== 3 passed, 1 skipped in 0.01s =====", (3, 3)),
        ("1 error in 0.33s", (0, 1)),
        ("2 failed, 1 passed, 3 errors in 1.20s", (1, 6)),
        ("1 xfailed, 1 xpassed in 0.1s", (2, 2)),
        ("no tests ran in 0.00s", (0, None)),
        ("Ran 5 tests in 0.001s\n\nOK", (5, 5)),
        ("Ran 5 tests in 0.001s\n\nFAILED (failures=2, errors=1)", (2, 5)),
        ("all good", (0, None)),
        ("", (0, None)),
        # What a program prints is not the runner's summary unless it looks exactly like one; the last one counts.
        ("99 passed\n1 failed in 0.1s", (0, 1)),
        ("99 passed in 0.01s\nmore output\n1 failed, 1 passed in 0.1s", (1, 2)),
    ],
)
def test_counts(output: str, counts: tuple[int, int | None]) -> None:
    """Summaries of pytest and unittest are understood, anything else is not guessed."""
    assert count_tests(output) == counts
