"""Real parts for the tests of models: a local server, the small model, its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.types import Message, ModelRequest, Sampling
from branchwise.models import EngineSettings, lease
from branchwise.models.catalog import entry
from branchwise.models.pull import pull

Until = Callable[[Callable[[], bool]], Awaitable[None]]

SMALL = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The small real model, brought through the catalogue where it is absent."""
    pull(entry(SMALL))
    return entry(SMALL).installed_path


@pytest.fixture(scope="session")
def small_settings(small_model: Path) -> EngineSettings:
    """How the tests' shared engine serves it."""
    return EngineSettings(str(small_model), SMALL, parallel=4, context_tokens=2048)


@pytest.fixture(scope="session")
def engine(small_settings: EngineSettings) -> Iterator[EngineSettings]:
    """Keeps the shared engine alive between tests."""
    held = asyncio.run(lease.take(small_settings))
    yield small_settings
    held.close()


@pytest.fixture
def ask() -> Callable[..., ModelRequest]:
    """Make a request of one user message."""

    def make(text: str = "hello there", **sampling: Any) -> ModelRequest:
        return ModelRequest((Message("user", text),), Sampling(**{"max_tokens": 64, "seed": 1, **sampling}))

    return make


@pytest.fixture
def until() -> Until:
    """Wait for something that other processes or threads do, 60 s at most."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - what is waited for knows no events
                await asyncio.sleep(0.002)

    return wait
