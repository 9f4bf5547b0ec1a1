"""Siblings share a prompt: equal requests that come together are sent as one.

A searching agent asks for several continuations of one trajectory at once. vLLM finds their common prefix by itself; a
llama.cpp server, which keeps one prompt per slot, would compute it anew in every slot. Sent as one request with n > 1 it
computes the prompt once and copies it to the other slots, which on a CPU is most of the cost of a first step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from ..core.keys import request_key
from ..core.types import JSON, ModelRequest
from .wire import Reply

GATHER_SECONDS = 0.01
"""How long a first request waits for its siblings."""

Send = Callable[[ModelRequest, int, Callable[[object], bool]], Awaitable[None]]
"""Streams a request for n choices, handing every chunk on."""


@dataclass(eq=False)
class _Member:
    """One caller's part of a group."""

    reply: Reply
    done: asyncio.Future[None]
    left: bool = False
    """Whether the caller was cancelled."""


@dataclass(eq=False)
class _Group:
    request: ModelRequest
    members: list[_Member] = field(default_factory=list[_Member])
    task: asyncio.Task[None] | None = None
    open: bool = True
    """Whether siblings may still join."""


class Siblings:
    """Gathers requests that differ in their seed only.

    It does so only while nothing else is in flight: a server starts n choices when n slots are free, and waiting for them
    would cost more than the prompt.

    Args:
        send: streams one request.
        slots: the largest n.
    """

    def __init__(self, send: Send, slots: int) -> None:
        self._send = send
        self._slots = slots
        self._groups: dict[str, _Group] = {}
        self._in_flight = 0

    async def stream(self, request: ModelRequest, reply: Reply) -> None:
        """Fill `reply`, by itself or together with its siblings.

        A cancelled caller whose group goes on waits until its own choice has ended: the server cannot stop one of n, and
        what it samples is charged. When all of a group are cancelled the request is closed at once.
        """
        key = request_key("", replace(request, sampling=replace(request.sampling, seed=None)))
        group = self._groups.get(key)
        if group is None or not group.open:
            if self._in_flight:
                await self._alone(request, reply)
                return
            group = self._groups[key] = _Group(request)
            group.task = asyncio.create_task(self._run(key, group))
        member = _Member(reply, asyncio.get_running_loop().create_future())
        group.members.append(member)
        group.open = len(group.members) < self._slots
        try:
            await asyncio.shield(member.done)
        except asyncio.CancelledError:
            await _leave(group, member)
            raise

    async def _alone(self, request: ModelRequest, reply: Reply) -> None:
        self._in_flight += 1
        try:
            await self._send(request, 1, reply.take)
        finally:
            self._in_flight -= 1

    async def _run(self, key: str, group: _Group) -> None:
        self._in_flight += 1
        failure: BaseException | None = None
        try:
            await asyncio.sleep(GATHER_SECONDS)
            self._close(key, group)
            await self._send(group.request, len(group.members), _Splitter(group.members).take)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - every caller gets it, in its own task
            failure = error
        finally:
            self._close(key, group)
            self._in_flight -= 1
            for member in group.members:
                if not member.done.done():
                    _end(member.done, failure)

    def _close(self, key: str, group: _Group) -> None:
        group.open = False
        if self._groups.get(key) is group:
            del self._groups[key]


def _end(done: asyncio.Future[None], failure: BaseException | None) -> None:
    if failure is None:
        done.set_result(None)
    elif isinstance(failure, asyncio.CancelledError):
        done.cancel()
    else:
        done.set_exception(failure)
        done.exception()  # the caller may have left; nobody else need be told


async def _leave(group: _Group, member: _Member) -> None:
    """Stop the request where nobody is left; else wait until the choice has ended."""
    member.left = True
    assert group.task is not None
    if all(other.left or other.done.done() for other in group.members):
        group.task.cancel()
    while not member.done.done():
        try:
            await asyncio.wait([member.done])
        except asyncio.CancelledError:
            continue


class _Splitter:
    """Deals the chunks of n choices out to their replies."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self._members = members
        self._last = 0

    def take(self, chunk: object) -> bool:
        """Take in a chunk; llama.cpp reports a choice's usage in a chunk without choices, right behind its last one."""
        data = cast("Mapping[str, JSON]", chunk)
        choices = data.get("choices") or ()
        if choices:
            self._last = int(choices[0].get("index") or 0)
        number = min(self._last, len(self._members) - 1)
        member = self._members[number]
        brought = member.reply.take(chunk)
        if data.get("usage"):
            if number:
                # Copied from the first choice's slot, not computed.
                member.reply.meter.cached_tokens = member.reply.meter.prompt_tokens
            if member.reply.finish is not None and not member.done.done():
                member.done.set_result(None)
        return brought
