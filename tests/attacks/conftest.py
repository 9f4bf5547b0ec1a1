"""One firing range per kind of sandbox and module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .firing import Range, firing_range


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[pytest.param("docker", marks=pytest.mark.docker), "local"]
)
async def arena(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Range]:
    """A range of each kind."""
    async with firing_range(request.param, tmp_path_factory.mktemp("store")) as made:
        yield made
