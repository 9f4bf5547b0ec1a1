"""Entering and leaving two sandboxes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from branchwise.verifiers.split_run import together


class Places:
    """Counts who is inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.somebody = asyncio.Event()

    @asynccontextmanager
    async def enter(self, gate: asyncio.Event | None = None, error: Exception | None = None) -> AsyncGenerator[int]:
        """Wait for the gate, then go in, or fail."""
        if gate is not None:
            await gate.wait()
        if error is not None:
            raise error
        self.inside += 1
        self.somebody.set()
        try:
            yield self.inside
        finally:
            await asyncio.sleep(0)
            self.inside -= 1


async def test_both_are_entered_and_left() -> None:
    """Neither waits for the other, and both are left when the block fails."""
    places = Places()

    async def work() -> None:
        async with together(places.enter(), places.enter()) as values:
            assert (places.inside, sorted(values)) == (2, [1, 2])
            raise KeyError

    with pytest.raises(KeyError):
        await work()
    assert places.inside == 0


async def test_one_that_cannot_be_entered() -> None:
    """Its error is raised, and the other is left again."""
    places = Places()
    with pytest.raises(ValueError, match="full"):
        async with together(places.enter(), places.enter(error=ValueError("full"))):
            pytest.fail("never inside")
    assert places.inside == 0


async def test_a_caller_that_is_cancelled_meanwhile() -> None:
    """What was entered while the other still waited is left."""
    places = Places()

    async def work() -> None:
        async with together(places.enter(), places.enter(gate=asyncio.Event())):
            pytest.fail("never inside")

    task = asyncio.create_task(work())
    await places.somebody.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert places.inside == 0
