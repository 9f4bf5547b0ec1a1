"""A run's events one by one, to a reader who may be slow or leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..core.events import Event, Within
from ..core.tree import Tree
from ..core.types import Result

if TYPE_CHECKING:
    from .running import Running

Item = Event | Within | Result


async def streamed(begin: Callable[..., Coroutine[Any, Any, Result]]) -> AsyncGenerator[Item, None]:
    """Run and yield the events, then the result. A reader that is slow never slows the search, one that leaves ends it.

    Events wait in memory until they are read, whatever the reader does. That takes little: they are the records that the run's tree
    is made of, which is in memory as long as the run goes on, and not copies of them.

    Args:
        begin: runs, given `listener` and `started`.
    """
    queue: asyncio.Queue[Item | BaseException] = asyncio.Queue()
    running: list[Running] = []

    def take(path: str, events: Sequence[Event], _tree: Tree) -> None:
        for event in events:
            queue.put_nowait(Within(path, event) if path else event)

    async def work() -> None:
        try:
            queue.put_nowait(await begin(listener=take, started=running.append))
        except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
            queue.put_nowait(error)

    background = asyncio.create_task(work())
    try:
        while True:
            item = await queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, Result):
                return
    finally:
        for run in running:
            run.interrupt()
        if not background.done() and not running:
            background.cancel()
        with suppress(asyncio.CancelledError):
            await background
