"""A runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from branchwise.graphs import LocalRunner, RunStore


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))
