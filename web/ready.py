"""A start page that waits, loaded and at rest, for whoever begins there next or has to do a state again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ..core.errors import SandboxError
from .branch import Branch

_SECONDS = 120.0
"""A page that has waited longer is loaded again. So long an agent may look at one before it acts, too; that it still shows the same is
looked at when it is needed."""


class Ready:
    """At most one branch on the start page, made while nobody waits for it, or left there by somebody who has done nothing.

    Args:
        make: returns a branch on the start page, at rest.
        discard: closes a branch.
    """

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, Branch]], discard: Callable[[Branch], Awaitable[None]]
    ) -> None:
        self._make = make
        self._discard = discard
        self._task: asyncio.Future[Branch] | None = None

    def prepare(self) -> None:
        """Begin to make one ready, where there is none."""
        if self._task is None:
            self._task = asyncio.create_task(self._make())

    def offer(self, branch: Branch) -> bool:
        """Take over a branch on the start page in which nothing was done, where there is none; whether it is taken."""
        if self._task is not None or not branch.live.alive:
            return False
        self._task = asyncio.get_running_loop().create_future()
        self._task.set_result(branch)
        return True

    async def take(self) -> Branch | None:
        """Return the branch, which is nobody else's from now on; None where there is none that is as good as new."""
        task, self._task = self._task, None
        if task is None:
            return None
        try:
            branch = await task
        except SandboxError:
            return None  # whoever asks makes one, and learns what is the matter
        if branch.live.alive and time.monotonic() - branch.live.started < _SECONDS:
            return branch
        await self._discard(branch)
        return None

    async def drop(self) -> bool:
        """Close the branch; whether there was one."""
        task, self._task = self._task, None
        if task is None:
            return False
        task.cancel()
        done = await asyncio.gather(task, return_exceptions=True)
        if isinstance(done[0], Branch):
            await self._discard(done[0])
        return True
