"""A warm pool: sandboxes started ahead of demand, lent, taken back and used again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from ..core.errors import SandboxStartFailed
from .governor import Governor, this_machine
from .guest import Guest

_log = logging.getLogger(__name__)

_LINGER_SECONDS = 30.0
"""How long more than `max_idle` guests are kept, in case that demand rises again."""


class Pool:
    """Guests that are ready: as many as are in demand and a spare one; `max_idle` stay when demand has fallen.

    Room for them is had from the machine's governor, which they share with the pools of other runs.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[Guest]],
        *,
        max_idle: int,
        memory_bytes: int,
        governor: Governor | None = None,
    ) -> None:
        """Make a pool, in the event loop that it will be used in.

        Args:
            make: starts a guest.
            max_idle: how many stay when demand has fallen.
            memory_bytes: what a guest may come to use at most.
            governor: of the machine on which the guests live; None: this one.
        """
        self._make = make
        self._share = (governor or this_machine()).join(memory_bytes, self._shed)
        self._max_idle = max_idle
        self._idle: list[Guest] = []
        self._lent: set[Guest] = set()
        self._waiting: deque[asyncio.Future[Guest]] = deque()
        self._alive: set[Guest] = set()
        """Those that take room, on their way out too."""
        self._starts: set[asyncio.Task[Guest]] = set()
        self._queued: set[asyncio.Task[Any]] = set()
        """Starts that wait for room."""
        self._removals: set[asyncio.Task[None]] = set()
        self._trimming: asyncio.TimerHandle | None = None
        self._closed = False

    async def warm(self) -> None:
        """Wait until one guest is ready, so that what is wrong with the engine is known early.

        Raises:
            SandboxStartFailed: it could not be started.
        """
        guest = await self.take()
        self._lent.discard(guest)
        self._offer(guest)

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
            self._share.idle = len(self._idle)
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
        """Take a guest back, to be lent again; one that is lost, used up, or whose room another run is owed, is removed."""
        self._lent.discard(guest)
        if guest.lost or guest.single_use or self._closed or self._share.owes():
            self._remove(guest)
        else:
            self._offer(guest)

    async def discard(self, guest: Guest) -> None:
        """Remove a lent guest that shall not be used again."""
        self._lent.discard(guest)
        await self._end(guest)

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
        await asyncio.gather(*(self._end(guest) for guest in guests))
        self._share.leave()

    def _offer(self, guest: Guest) -> None:
        while self._waiting:
            ready = self._waiting.popleft()
            if not ready.done():
                ready.set_result(guest)
                self._retract()
                return
        self._idle.append(guest)
        self._share.idle = len(self._idle)
        if len(self._idle) > self._max_idle and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._trim)

    def _trim(self) -> None:
        """Remove the guests that have been idle for longest, but for `max_idle`."""
        self._trimming = None
        surplus = len(self._idle) - self._max_idle
        for _ in range(surplus):
            self._shed()

    def _shed(self) -> None:
        """Remove the guest that has been idle for longest, to make room; there may be none any more."""
        if self._idle:
            self._remove(self._idle.pop(0))
            self._share.idle = len(self._idle)
        else:
            self._share.keeps()

    def _grow(self) -> None:
        waiting = sum(not ready.done() for ready in self._waiting)
        missing = waiting - len(self._idle) - len(self._starts)
        if missing == 0 and self._max_idle and self._share.has_room():
            missing = 1
        for _ in range(missing):
            task = asyncio.create_task(self._start(), name="sandbox-start")
            self._starts.add(task)
            task.add_done_callback(self._started)

    def _retract(self) -> None:
        """Give up starts that wait for room while nobody waits for them any more."""
        needed = sum(not ready.done() for ready in self._waiting)
        for task in list(self._queued)[: max(len(self._starts) - needed, 0)]:
            self._queued.discard(task)
            task.cancel()

    async def _start(self) -> Guest:
        task = asyncio.current_task()
        assert task is not None  # `_grow` made one
        self._queued.add(task)
        try:
            async with self._share.start():
                self._queued.discard(task)
                guest = await self._make()
        finally:
            self._queued.discard(task)
        self._alive.add(guest)
        return guest

    def _started(self, task: asyncio.Task[Guest]) -> None:
        self._starts.discard(task)
        if task.cancelled():
            return  # nobody waits for it: the pool was closed, or another guest came back in time
        error = task.exception()
        if error is None:
            self._offer(task.result())
        else:
            self._refuse(error)

    async def _end(self, guest: Guest) -> None:
        """Remove a guest; then its room is free."""
        try:
            await guest.kill()
        finally:
            if guest in self._alive:
                self._alive.discard(guest)
                self._share.release()

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
        task = asyncio.create_task(self._end(guest), name="sandbox-removal")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)
