"""What environments cost a run: programs and states, under its budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from branchwise.agents.states import Paid, States
from branchwise.core.budget import Bill, Ledger
from branchwise.core.errors import BudgetExceeded
from branchwise.core.protocols import Sandboxes
from branchwise.core.types import Budget
from branchwise.sandboxes import Local


@pytest.fixture
async def supply(tmp_path: Path) -> AsyncIterator[Sandboxes]:
    """A supply of sandboxes."""
    made = await Local().start("test", tmp_path)
    yield made
    await made.aclose()


async def test_a_judge_and_what_it_judges(supply: Sandboxes) -> None:
    """Two programs of one work item share what is left: neither waits for the other to end, and the limit holds."""
    ledger = Ledger(Budget(sandbox_seconds=5))
    states, bill = States(supply, ledger), Bill()
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        environments: list[Paid] = [await stack.enter_async_context(states.open(None, bill)) for _ in range(2)]
        first = await stack.enter_async_context(environments[0].start(["cat"], timeout_seconds=30))
        second = await stack.enter_async_context(environments[1].start(["cat"], timeout_seconds=30))
        for process in (first, second):
            await process.send(b"hello")
            assert await process.receive() == b"hello"
        with pytest.raises(BudgetExceeded, match="sandbox_seconds"):
            await stack.enter_async_context(Paid(environments[0], ledger, bill, states.log).start(["cat"]))  # type: ignore[arg-type]
        for process in (first, second):
            await process.close_input()
            assert (await process.wait()).ok
    assert bill.running == 0
    assert 0 < ledger.spent.sandbox_seconds == bill.usage.sandbox_seconds < 5
    assert ledger.reserved.sandbox_seconds == ledger.overshoot == 0


async def test_a_fork_is_paid_by_its_parent(supply: Sandboxes) -> None:
    """Forks, restores and snapshots are charged when they happen; a fork that was opened late is charged at its end."""
    ledger = Ledger(Budget())
    states, bill = States(supply, ledger), Bill()
    async with states.open(None, bill) as environment:
        await environment.write("a", b"x" * 1000)
        child = await environment.fork()
        spent = ledger.spent
        assert spent.snapshot_bytes == 1000
        assert spent.sandbox_seconds > 0
        assert await child.read("a") == b"x" * 1000
        await child.close()
        assert ledger.spent.sandbox_seconds > spent.sandbox_seconds
        await environment.write("a", b"y" * 500)
        ref = await environment.snapshot()
        await environment.restore(ref)
    assert bill.usage == ledger.spent
    assert ledger.spent.snapshot_bytes == 1500
    report = states.log.report(stored_bytes=1, dropped=0, dropped_bytes=0)
    assert (report.kept, report.new_files, report.new_bytes) == (2, 2, 1500)
    assert report.opened == 3


async def test_nothing_is_opened_on_a_spent_budget(supply: Sandboxes) -> None:
    """With no sandbox time left neither a state is opened nor one kept."""
    ledger = Ledger(Budget(sandbox_seconds=0.0005))
    with pytest.raises(BudgetExceeded, match="sandbox_seconds"):
        async with States(supply, ledger).open(None, Bill()):
            pass
