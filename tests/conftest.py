"""Fixtures that several folders use. Real parts: a Docker engine, a browser, a shop to visit in it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from branchwise.core.protocols import Sandboxes
from branchwise.models.catalog import models_folder
from branchwise.sandboxes import Docker

sys.path.append(str(Path(__file__).parents[1] / "examples"))  # the shop is one

if TYPE_CHECKING:
    from shop import Shop

    from branchwise.web.chromium import Chromium


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own, so that their runs are not among the user's; models are the user's."""
    models = models_folder()
    models.mkdir(parents=True, exist_ok=True)
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").symlink_to(models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRANCHWISE_HOME", str(folder))
        yield


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[Sandboxes]:
    """A supply of Docker sandboxes whose snapshots live in the test's own folder."""
    supply = await Docker().start("test", tmp_path / "snapshots")
    yield supply
    await supply.aclose()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """The shop's server."""
    from shop import Shop

    with Shop() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium() -> AsyncIterator[Chromium]:
    """One browser for all tests of a module: a further lease keeps it running between them."""
    from branchwise.web.chromium import Chromium, Launch

    browser = await Chromium.lease(Launch())
    yield browser
    await browser.release()


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
