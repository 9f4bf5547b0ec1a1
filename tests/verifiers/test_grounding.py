"""`Grounding`: programs that assert what statements say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.sandboxes import Local
from branchwise.verifiers import Grounding
from branchwise.verifiers.grounding import asserts

from .judged import candidate_of, tree_of


@pytest.mark.parametrize(
    ("program", "counts"),
    [
        ("assert sum(range(5)) == 10", True),
        ("total = 0\nfor n in range(5):\n    total += n\nassert total == 10", True),
        ("assert True", False),
        ("assert 1 == 1", False),
        ("print(sum(range(5)))", False),
        ("this is no program", False),
    ],
)
def test_what_asserts_nothing_does_not_count(program: str, counts: bool) -> None:
    """A program has to compute something and to assert something about it."""
    assert asserts(program) == counts


async def test_statements_are_grounded_by_programs_that_end_well(tmp_path: Path) -> None:
    """One that fails, one that never ends and one that asserts nothing are not."""
    supply = await Local().start("test", tmp_path / "snapshots")

    @asynccontextmanager
    async def fresh(ref: str | None) -> AsyncIterator[Any]:
        environment = await supply.open(ref)
        try:
            yield environment
        finally:
            await environment.close()

    programs = {
        "right": "```python\nassert sum(range(5)) == 10\n```",
        "wrong": "assert sum(range(5)) == 11, 'it is 10'",
        "endless": "n = 0\nwhile True:\n    n += 1\nassert n == 0",
        "empty": "assert True",
    }
    try:
        candidate = candidate_of(tree_of("x"), open=fresh)
        verdict = await Grounding(programs, timeout_seconds=0.5).judge(candidate)
    finally:
        await supply.aclose()
    assert verdict.per_constraint == {"right": 1.0, "wrong": 0.0, "endless": 0.0, "empty": 0.0}
    assert (verdict.value, verdict.passed, verdict.integrity) == (0.25, False, "in-process")
    assert "wrong: its program failed: AssertionError: it is 10" in verdict.feedback
    assert "endless: its program took too long" in verdict.feedback


def test_options_out_of_range() -> None:
    """Refused when it is made."""
    with pytest.raises(UsageError, match="nothing to run"):
        Grounding({})
    with pytest.raises(UsageError, match="above 0"):
        Grounding({"x": "assert f()"}, timeout_seconds=0)
