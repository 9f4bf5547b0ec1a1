"""Room for sandboxes: bounded by memory, shared out fairly between runs, never a wait without end."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from branchwise.core.errors import SandboxStartFailed
from branchwise.sandboxes import governor as module
from branchwise.sandboxes.governor import Governor, memory_bytes, this_machine
from branchwise.sandboxes.pool import Pool

SIZE = 100


class Stub:
    """What a pool needs to know of a guest; a sandbox's start and end take a moment, as real ones do."""

    living = 0
    most = 0

    def __init__(self) -> None:
        self.lost = False
        self.states: set[str] = set()
        self.single_use = False
        Stub.living += 1
        Stub.most = max(Stub.most, Stub.living)

    async def kill(self) -> None:
        await asyncio.sleep(0)
        if not self.lost:
            self.lost = True
            Stub.living -= 1


@pytest.fixture
def pool_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Governor], Pool]:
    """Make pools of one governor."""
    Stub.living = Stub.most = 0
    monkeypatch.setattr("branchwise.sandboxes.pool._LINGER_SECONDS", 0.05)

    async def make() -> Stub:
        await asyncio.sleep(0.001)
        return Stub()

    return lambda governor: Pool(make, max_idle=2, memory_bytes=SIZE, governor=governor)  # type: ignore[arg-type]


async def test_memory_bounds_the_number(pool_of: Callable[[Governor], Pool]) -> None:
    """However many ask, no more live at once than fit, and everyone gets one in the end."""
    pool = pool_of(Governor(5 * SIZE))

    async def use() -> None:
        guest = await pool.take()
        await asyncio.sleep(0.001)
        pool.give_back(guest)

    await asyncio.gather(*(use() for _ in range(200)))
    assert Stub.most <= 5
    await pool.aclose()
    assert Stub.living == 0


async def test_every_run_gets_its_part(pool_of: Callable[[Governor], Pool]) -> None:
    """A run that comes late, to a machine that another has taken whole, soon works as much as the other."""
    governor = Governor(8 * SIZE)
    pools = [pool_of(governor) for _ in range(4)]
    done: Counter[int] = Counter()
    over = asyncio.Event()

    async def search(number: int) -> None:
        while not over.is_set():
            guest = await pools[number].take()
            await asyncio.sleep(0.002)
            done[number] += 1
            pools[number].give_back(guest)

    early = [asyncio.create_task(search(0)) for _ in range(30)]
    async with asyncio.timeout(20):
        while Stub.living < 8:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
    late = [asyncio.create_task(search(number)) for number in (1, 2, 3) for _ in range(10)]
    async with asyncio.timeout(20):
        while [pool._share.live for pool in pools] != [2, 2, 2, 2]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    done.clear()
    await asyncio.sleep(0.3)
    assert [pool._share.live for pool in pools] == [2, 2, 2, 2]
    assert min(done.values()) > max(done.values()) / 2, done
    over.set()
    await asyncio.gather(*early, *late)
    await asyncio.gather(*(pool.aclose() for pool in pools))
    assert Stub.most <= 8
    assert Stub.living == 0
    assert not governor._shares


async def test_idle_ones_make_room(pool_of: Callable[[Governor], Pool]) -> None:
    """What one run keeps warm goes as soon as another needs the room."""
    governor = Governor(2 * SIZE)
    hoarder, needy = pool_of(governor), pool_of(governor)
    for guest in [await hoarder.take() for _ in range(2)]:
        hoarder.give_back(guest)
    async with asyncio.timeout(1):
        guests = [await needy.take() for _ in range(2)]
    assert Stub.most <= 2
    for guest in guests:
        needy.give_back(guest)
    await hoarder.aclose()
    await needy.aclose()


async def test_tasks_that_wait_for_each_other_go_on(
    pool_of: Callable[[Governor], Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every holder waits for a second one, the bound gives way as long as the machine has the memory."""
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.02)
    free = 3 * SIZE
    pool = pool_of(Governor(4 * SIZE, available=lambda: free))

    async def use() -> None:
        first = await pool.take()
        await asyncio.sleep(0.01)
        second = await pool.take()
        pool.give_back(second)
        pool.give_back(first)

    async with asyncio.timeout(5):
        await asyncio.gather(*(use() for _ in range(12)))
    assert 4 < Stub.most <= 13
    await pool.aclose()


async def test_no_memory_is_told_in_the_end(
    pool_of: Callable[[Governor], Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing comes back and there is no memory, the wait ends with words that help."""
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(module, "_GIVE_UP_SECONDS", 0.05)
    pool = pool_of(Governor(4 * SIZE, available=lambda: 0))
    guest = await pool.take()  # the first of all always may
    with pytest.raises(SandboxStartFailed, match="lower memory_mb, or run less at once"):
        await pool.take()
    pool.give_back(guest)
    await pool.aclose()


async def test_starts_that_nobody_waits_for_are_given_up(pool_of: Callable[[Governor], Pool]) -> None:
    """When guests come back before there is room for others, no others are started for those who have left."""
    governor = Governor(2 * SIZE)
    pool = pool_of(governor)
    held = [await pool.take() for _ in range(2)]
    waiting = [asyncio.create_task(pool.take()) for _ in range(6)]
    await asyncio.sleep(0.01)
    assert len(governor._waiting) == 6
    for task in waiting[:4]:
        task.cancel()
    for guest in held:
        pool.give_back(guest)
    for task in waiting[4:]:
        pool.give_back(await task)
    await asyncio.sleep(0.01)
    assert governor._waiting == []
    assert pool._share.live == 2
    await pool.aclose()


async def test_random_use_keeps_count(pool_of: Callable[[Governor], Pool]) -> None:
    """Takes, returns, losses, cancelled waits and closings in any order: the bound holds and the count ends at nothing."""
    rng = random.Random(7)
    governor = Governor(6 * SIZE)
    pools = [pool_of(governor) for _ in range(3)]

    async def use(pool: Pool) -> None:
        for _ in range(15):
            try:
                async with asyncio.timeout(rng.choice([0.001, 0.005, 5])):
                    guest = await pool.take()
            except TimeoutError:
                continue
            await asyncio.sleep(rng.random() * 0.003)
            what = rng.random()
            if what < 0.1:
                await guest.kill()
            if what < 0.2:
                await pool.discard(guest)
            else:
                pool.give_back(guest)

    await asyncio.gather(*(use(pool) for pool in pools for _ in range(8)))
    assert Stub.most <= 6
    await asyncio.gather(*(pool.aclose() for pool in pools))
    assert (Stub.living, governor._starting, governor._waiting, governor._shares) == (0, 0, [], set())


def test_runs_in_several_threads_share_one_governor(pool_of: Callable[[Governor], Pool]) -> None:
    """Each thread has an event loop of its own; the bound holds over all of them."""
    governor = Governor(3 * SIZE)

    async def run() -> None:
        pool = pool_of(governor)

        async def use() -> None:
            guest = await pool.take()
            await asyncio.sleep(0.001)
            pool.give_back(guest)

        await asyncio.gather(*(use() for _ in range(20)))
        await pool.aclose()

    threads = [threading.Thread(target=lambda: asyncio.run(run())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Stub.living == 0
    assert (governor._starting, governor._waiting, governor._shares) == (0, [], set())


def test_this_machine_has_one_governor() -> None:
    """All runs of a process share it; its bound is below the memory there is."""
    assert this_machine() is this_machine()
    assert 0 < this_machine().capacity_bytes < memory_bytes()
