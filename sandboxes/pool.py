"""A warm pool: sandboxes started ahead of demand, lent, taken back and used again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from ..core.errors import SandboxStartFailed
from .guest import Guest

_log = logging.getLogger(__name__)

_STARTS_AT_ONCE = 4
_LINGER_SECONDS = 30.0
"""How long more than `max_idle` guests are kept, in case that demand rises again."""


class Pool:
    """Guests that are ready: as many as are in demand and a spare one; `max_idle` stay when demand has fallen."""

    def __init__(self, make: Callable[[], Awaitable[Guest]], *, max_idle: int) -> None:
        self._make = make
        self._max_idle = max_idle
        self._idle: list[Guest] = []
        self._lent: set[Guest] = set()
        self._waiting: deque[asyncio.Future[Guest]] = deque()
        self._starts: set[asyncio.Task[Guest]] = set()
        self._removals: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(_STARTS_AT_ONCE)
        self._trimming: asyncio.TimerHandle | None = None
        self._closed = False

    async def warm(self) -> None:
        """Wait until one guest is ready, so that what is wrong with the engine is known early.

        Raises:
            SandboxStartFailed: it could not be started.
        """
        self.give_back(await self.take())

    async def take(self, state: str | None = None) -> Guest:
        """Return a guest, if possible one that has a state at hand, in an unknown state of its work space.

        Raises:
            SandboxStartFailed: none could be started, or the pool is closed.
        """
        if self._closed:
            raise SandboxStartFailed("this supply of sandboxes is closed; start a new one")
        while self._idle:
            guest = next((guest for guest in reversed(self._idle) if state in guest.states), self._idle[-1])
            self._idle.remove(guest)
            if not guest.lost:
                self._lent.add(guest)
                self._grow()
                return guest
            self._remove(guest)
        ready: asyncio.Future[Guest] = asyncio.get_running_loop().create_future()
        self._waiting.append(ready)
        self._grow()
        try:
            guest = await ready
        except asyncio.CancelledError:
            if ready.done() and not ready.cancelled() and ready.exception() is None:
                self._offer(ready.result())
            raise
        self._lent.add(guest)
        return guest

    def give_back(self, guest: Guest) -> None:
        """Take a guest back, to be lent again; one that is lost is removed."""
        self._lent.discard(guest)
        if guest.lost or self._closed:
            self._remove(guest)
        else:
            self._offer(guest)

    async def discard(self, guest: Guest) -> None:
        """Remove a lent guest that shall not be used again."""
        self._lent.discard(guest)
        await guest.kill()

    async def aclose(self) -> None:
        """Remove every guest, lent ones included, and wait until they are gone. Idempotent."""
        self._closed = True
        if self._trimming is not None:
            self._trimming.cancel()
        while self._waiting:
            ready = self._waiting.popleft()
            if not ready.done():
                ready.set_exception(SandboxStartFailed("this supply of sandboxes was closed"))
        for start in self._starts:
            start.cancel()
        while self._starts or self._removals:
            await asyncio.wait({*self._starts, *self._removals})
        guests = [*self._idle, *self._lent]
        self._idle.clear()
        self._lent.clear()
        await asyncio.gather(*(guest.kill() for guest in guests))

    def _offer(self, guest: Guest) -> None:
        while self._waiting:
            ready = self._waiting.popleft()
            if not ready.done():
                ready.set_result(guest)
                return
        self._idle.append(guest)
        if len(self._idle) > self._max_idle and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._trim)

    def _trim(self) -> None:
        """Remove the guests that have been idle for longest, but for `max_idle`."""
        self._trimming = None
        surplus = len(self._idle) - self._max_idle
        for guest in self._idle[: max(surplus, 0)]:
            self._idle.remove(guest)
            self._remove(guest)

    def _grow(self) -> None:
        spare = 1 if self._max_idle else 0
        missing = len(self._waiting) + spare - len(self._idle) - len(self._starts)
        for _ in range(missing):
            task = asyncio.create_task(self._start(), name="sandbox-start")
            self._starts.add(task)
            task.add_done_callback(self._started)

    async def _start(self) -> Guest:
        async with self._gate:
            return await self._make()

    def _started(self, task: asyncio.Task[Guest]) -> None:
        self._starts.discard(task)
        error = SandboxStartFailed("the start was cancelled") if task.cancelled() else task.exception()
        if error is None:
            self._offer(task.result())
        else:
            self._refuse(error)

    def _refuse(self, error: BaseException) -> None:
        """Tell the first who waits; a spare that could not be started is only worth a note."""
        while self._waiting:
            ready = self._waiting.popleft()
            if not ready.done():
                ready.set_exception(error)
                return
        if not self._closed:
            _log.warning("a spare sandbox could not be started: %s", error)

    def _remove(self, guest: Guest) -> None:
        task = asyncio.create_task(guest.kill(), name="sandbox-removal")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)
