"""The shop, which is an example, a browser, and a runner."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

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


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium() -> AsyncIterator[None]:
    """One browser for all tests of a module: a further lease keeps it running between them."""
    from branchwise.web.chromium import Chromium, Launch

    browser = await Chromium.lease(Launch())
    yield
    await browser.release()


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))
