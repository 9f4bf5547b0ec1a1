"""How many sandboxes may live on one machine, and which run may start the next: memory bounds them, fairness orders them.

Every run has a pool of its own, all pools of a process share one machine. A governor lets a sandbox start when the
memory that all living ones may come to use still fits, and lets the run that has the least go first (max-min fairness).
Idle sandboxes of one run make room for those that another run waits for; a run that has more than its part gives
sandboxes back to the machine, one by one as it is done with them, while others wait. What is lent is never taken away.

A task may hold one sandbox while it waits for another, and so may all tasks of a run. Where none of a run's sandboxes has
come back for a while, one more starts for it if the machine has the memory at that moment: the bound is against running
out of memory, and waiting for each other would last for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from ..core.errors import SandboxStartFailed

_log = logging.getLogger(__name__)

_MEMORY_PART = 0.8
"""Of a machine's memory for sandboxes; the rest is for the engine, the framework and everything else."""
_STARTS_AT_ONCE = 4
"""More at once make each start slower and none of them earlier."""
_PATIENCE_SECONDS = 3.0
_GIVE_UP_SECONDS = 600.0
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@cache
def this_machine() -> Governor:
    """Return the governor of the machine on which this process runs."""
    return Governor(int(memory_bytes() * _MEMORY_PART), available=lambda: psutil.virtual_memory().available)


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container in which this process runs."""
    total = psutil.virtual_memory().total
    for path in map(Path, _CGROUP_LIMITS):
        with contextlib.suppress(OSError, ValueError):  # no such controller, or "max"
            total = min(total, int(path.read_text(encoding="ascii")))
    return total


@dataclass(eq=False)
class _Waiter:
    share: Share
    loop: asyncio.AbstractEventLoop
    ready: asyncio.Future[None]
    order: int
    granted: bool = False

    def wake(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)


@dataclass(eq=False)
class Share:
    """One run's part of a machine. For the thread of the event loop in which it was made."""

    governor: Governor
    size_bytes: int
    """Of each of its sandboxes, at most."""
    shed: Callable[[], None]
    """Called, in the run's event loop, to remove an idle sandbox that others need the room of."""
    loop: asyncio.AbstractEventLoop
    idle: int = 0
    """Sandboxes that nobody uses; the pool keeps count here."""
    live: int = field(default=0, init=False)
    """Sandboxes that exist or are being started."""
    leaving: int = field(default=0, init=False)
    """Those of them that are on their way out to make room for others."""
    moved: float = field(default_factory=time.monotonic, init=False)
    """When one of them last came back, ended or was allowed to start."""

    @property
    def live_bytes(self) -> int:
        """What its sandboxes may come to use."""
        return self.live * self.size_bytes

    @contextlib.asynccontextmanager
    async def start(self) -> AsyncGenerator[None]:
        """Wait for room and for this run's turn; start a sandbox within the block. Where that fails the room is free again.

        Raises:
            SandboxStartFailed: there was no room for a very long time.
        """
        await self.governor.admit(self)
        try:
            yield
        except BaseException:
            self.governor.release(self)
            raise
        finally:
            self.governor.started()

    def release(self) -> None:
        """Say that one sandbox is gone."""
        self.governor.release(self)

    def keeps(self) -> None:
        """Say that it had nothing to shed."""
        self.governor.keeps(self)

    def leave(self) -> None:
        """Say that this run has nothing left and wants nothing more."""
        self.governor.leave(self)

    def has_room(self) -> bool:
        """Whether a sandbox that nobody waits for yet may start."""
        return self.governor.has_room(self)

    def owes(self) -> bool:
        """Whether a sandbox that comes back must go to make room for a run that has less; if so, it has to be removed."""
        return self.governor.owes(self)


class Governor:
    """The room for sandboxes on one machine. Safe for use from several event loops in several threads."""

    def __init__(self, capacity_bytes: int, *, available: Callable[[], int] | None = None) -> None:
        """Make a governor.

        Args:
            capacity_bytes: what all sandboxes together may come to use.
            available: returns the bytes of memory that are free right now; None where that cannot be known.
        """
        self.capacity_bytes = capacity_bytes
        self._available = available
        self._lock = threading.Lock()
        self._shares: set[Share] = set()
        self._waiting: list[_Waiter] = []
        self._orders = itertools.count()
        self._starting = 0

    def join(self, size_bytes: int, shed: Callable[[], None]) -> Share:
        """Return the part of a new run whose sandboxes use at most `size_bytes` each."""
        share = Share(self, size_bytes, shed, asyncio.get_running_loop())
        with self._lock:
            self._shares.add(share)
        return share

    def leave(self, share: Share) -> None:
        """Forget a run that has nothing left."""
        with self._lock:
            self._shares.discard(share)
        self._settle()

    async def admit(self, share: Share) -> None:
        """Wait until `share` may start a sandbox."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(share, loop, loop.create_future(), next(self._orders))
        with self._lock:
            self._waiting.append(waiter)
        self._settle()
        begun = time.monotonic()
        try:
            while not waiter.granted:
                await asyncio.wait({waiter.ready}, timeout=_PATIENCE_SECONDS)
                self._press(waiter, waited_seconds=time.monotonic() - begun)
        except BaseException:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter.granted:
                waiter.share.live -= 1
                self._starting -= 1
            else:
                self._waiting.remove(waiter)
        self._settle()

    def _press(self, waiter: _Waiter, *, waited_seconds: float) -> None:
        """Let the first who waits go beyond the bound where nothing moves and the memory is there."""
        with self._lock:
            still_seconds = time.monotonic() - waiter.share.moved
            stuck = not waiter.granted and still_seconds > _PATIENCE_SECONDS
            if stuck and self._is_there(waiter.share.size_bytes):
                _log.info("one more sandbox than %d MiB of memory allow, for nothing moves", self.capacity_bytes >> 20)
                self._grant(waiter)
            given_up = not waiter.granted and min(still_seconds, waited_seconds) > _GIVE_UP_SECONDS
        if given_up:
            raise SandboxStartFailed(
                f"no room for another sandbox of {waiter.share.size_bytes >> 20} MiB for {waited_seconds:.0f} s: all of "
                f"{self.capacity_bytes >> 20} MiB are taken and none came back; lower memory_mb, or run less at once"
            )

    def started(self) -> None:
        """Say that a start has come to its end, well or not."""
        with self._lock:
            self._starting -= 1
        self._settle()

    def release(self, share: Share) -> None:
        """Say that one of `share`'s sandboxes is gone."""
        with self._lock:
            share.live -= 1
            share.leaving = max(0, share.leaving - 1)
            share.moved = time.monotonic()
        self._settle()

    def keeps(self, share: Share) -> None:
        """Say that `share` had nothing to shed."""
        with self._lock:
            share.leaving = max(0, share.leaving - 1)
        self._settle()

    def has_room(self, share: Share) -> bool:
        """Whether `share` may start a sandbox that nobody waits for yet."""
        with self._lock:
            return not self._waiting and self._fits(share.size_bytes) and self._starting < _STARTS_AT_ONCE

    def owes(self, share: Share) -> bool:
        """Whether `share` has to give a sandbox back now; counts it as leaving if so."""
        with self._lock:
            share.moved = time.monotonic()
            first = self._first()
            if first is None or first.share is share or self._fits(first.share.size_bytes) or self._enough_leaves():
                return False
            if first.share.live_bytes + first.share.size_bytes > share.live_bytes - share.size_bytes:
                return False  # the other would then have more
            share.leaving += 1
            return True

    def _settle(self) -> None:
        """Let start who may, and see to it that there will be room for the others."""
        calls: list[tuple[asyncio.AbstractEventLoop, Callable[[], Any]]] = []
        with self._lock:
            while self._starting < _STARTS_AT_ONCE and (first := self._first()) and self._fits(first.share.size_bytes):
                calls.append(self._grant(first))
            while (first := self._first()) and not self._fits(first.share.size_bytes) and not self._enough_leaves():
                rich = [share for share in self._shares - {first.share} if share.idle > share.leaving]
                if not rich:
                    break
                richest = max(rich, key=lambda share: share.live_bytes)
                richest.leaving += 1
                calls.append((richest.loop, richest.shed))
        for loop, call in calls:
            with contextlib.suppress(RuntimeError):  # that loop is closed, with all that was in it
                loop.call_soon_threadsafe(call)

    def _grant(self, waiter: _Waiter) -> tuple[asyncio.AbstractEventLoop, Callable[[], Any]]:
        self._waiting.remove(waiter)
        waiter.granted = True
        waiter.share.live += 1
        self._starting += 1
        waiter.share.moved = time.monotonic()
        return waiter.loop, waiter.wake

    def _first(self) -> _Waiter | None:
        """Return who is to start next: of the run that has the least; within a run who came first."""
        self._shares = {share for share in self._shares if not share.loop.is_closed()}  # a loop's end is its run's end
        self._waiting = [waiter for waiter in self._waiting if not waiter.loop.is_closed()]
        return min(self._waiting, key=lambda waiter: (waiter.share.live_bytes, waiter.order), default=None)

    def _enough_leaves(self) -> bool:
        return sum(share.leaving for share in self._shares) >= len(self._waiting)

    def _fits(self, size_bytes: int) -> bool:
        taken = sum(share.live_bytes for share in self._shares)
        return taken == 0 or (taken + size_bytes <= self.capacity_bytes and self._is_there(size_bytes))

    def _is_there(self, size_bytes: int) -> bool:
        return self._available is None or self._available() >= size_bytes
