"""The shop, which is an example, and a runner."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from branchwise.graphs import LocalRunner, RunStore

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

if TYPE_CHECKING:
    from shop import Shop


@pytest.fixture(scope="session")
def shop() -> Iterator[Shop]:
    """The shop's server."""
    from shop import Shop

    with Shop() as server:
        yield server


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))
