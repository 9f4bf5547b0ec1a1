"""Fixtures that several folders use. Real parts: a Docker engine, a real model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from branchwise.core.protocols import Sandboxes
from branchwise.sandboxes import Docker

PURE = {"core", "memory", "search"}
"""Folders of tests that use no engine, so that they can run beside all others."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests with real engines in one process: they count containers, processes and files of this machine."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] not in PURE:
            item.add_marker(pytest.mark.xdist_group("engines"))


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[Sandboxes]:
    """A supply of Docker sandboxes whose snapshots live in the test's own folder."""
    supply = await Docker().start("test", tmp_path / "snapshots")
    yield supply
    await supply.aclose()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository with a bug: two of its three tests fail."""
    folder = tmp_path / "repository"
    (folder / "tests").mkdir(parents=True)
    (folder / "maths.py").write_text(
        "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return add(a, a)\n\n\ndef one():\n    return 1\n"
    )
    (folder / "tests" / "test_maths.py").write_text(
        "from maths import add, double, one\n\n\n"
        "def test_add():\n    assert add(2, 3) == 5\n\n\n"
        "def test_double():\n    assert double(4) == 8\n\n\n"
        "def test_one():\n    assert one() == 1\n"
    )
    (folder / "conftest.py").write_text("")
    return folder
