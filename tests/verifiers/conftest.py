"""Benches: an empty one that a module shares, and one with a small repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from branchwise.core.protocols import Sandboxes
from branchwise.sandboxes import Docker

from .bench import Bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def supply(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandboxes]:
    """A supply of Docker sandboxes for a module."""
    made = await Docker(max_idle=2).start("test-verifiers", tmp_path_factory.mktemp("store"))
    yield made
    await made.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def empty(supply: Sandboxes) -> Bench:
    """A task without files."""
    async with Bench(supply, None).open(None) as environment:
        return Bench(supply, await environment.snapshot())


@pytest_asyncio.fixture(loop_scope="module")
async def bench(supply: Sandboxes, repository: Path) -> Bench:
    """A small repository with a bug."""
    return Bench(supply, await supply.keep(repository))
