"""One run of a test in one sandbox against code in another; the host in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ..core.protocols import Environment, Process
from ..core.types import ExecResult, Python
from .conversation import NOT_ASKED, Conversation, Ended, Message, Unusable, answer, only_answer, question
from .guest_code import program
from .split_plan import Plan

LIVE = "live"
"""What a judge says that was given all the replies there were, and needs more."""
_MESSAGE_LIMIT_BYTES = 4 << 20
_OUTPUT_LIMIT_BYTES = 16 << 20
_GRACE_SECONDS = 2.0
"""How much longer the judge may take than the judged code, so that it can report that the other took too long."""
_ENV = {"PYTHONDONTWRITEBYTECODE": "1"}
_FIELDS = frozenset(["op", "on", "args", "kwargs", "name", "value", "changed", "error", "stop", "cannot"])
"""What calls consist of. A report is nothing that the judged code can send."""


@dataclass(frozen=True)
class Trial:
    """A test and the code that it judges, each in its sandbox.

    Args:
        bench: the judge's sandbox.
        environment: the code's sandbox.
        path: the code in it.
        config: the test, for the judge.
        planned: what the test's source tells.
        seconds: how long the test may take.
    """

    bench: Environment
    environment: Environment
    path: str
    config: Message
    planned: Plan
    seconds: float

    async def at_once(self) -> Message:
        """Have all calls made that the source tells, then the test run with what came of them; return the judge's report.

        Where the test asks for more than that, the report says that it has to be judged live.
        """
        asked = [question(request) for request in self.planned.ahead]
        async with self._judging(2 * self.seconds) as judge:  # it starts while the code still runs
            result = await self.environment.exec(
                self._server,
                stdin=b"".join(line for _, line in asked),
                timeout_seconds=self.seconds,
                env=_ENV,
                output_limit_bytes=_OUTPUT_LIMIT_BYTES,
            )
            replies, otherwise = _replies(result, [identity for identity, _ in asked])
            identity, order = question(self._order(replies, otherwise))
            await judge.send(order)
            await judge.close_input()
            ended = await judge.wait()
            try:
                return _report(only_answer(ended.stdout, identity))
            except Unusable as error:
                return {"problem": f"it took longer than {ended.seconds:.0f} s" if ended.timed_out else str(error)}

    async def live(self) -> Message:
        """Carry calls and replies between judge and code until the judge reports; return the report."""
        guest = self.environment.start(
            self._server, timeout_seconds=self.seconds, env=_ENV, output_limit_bytes=_OUTPUT_LIMIT_BYTES
        )
        async with together(guest, self._judging(self.seconds)) as (code, judge):
            asking = Conversation(judge, limit_bytes=_MESSAGE_LIMIT_BYTES)
            answering = Conversation(code, limit_bytes=_MESSAGE_LIMIT_BYTES)
            replies, failed = await self._ahead(answering, code)
            try:
                await asking.send(self._order(replies, None))
                while "report" not in (message := await asking.receive()):
                    if failed is None:
                        try:
                            await answering.send(_clean(message))
                            message = _clean(await answering.receive())
                        except Unusable as error:
                            failed = await _words(error, code)
                    await asking.send(message if failed is None else {"cannot": failed})
                return _report(message)
            except Unusable as error:
                return {"problem": await _words(error, judge)}

    async def _ahead(self, answering: Conversation, code: Process) -> tuple[list[Message], str | None]:
        """Return the replies to the calls that the test is bound to make first, and why there are no more of them."""
        replies: list[Message] = []
        await answering.send(*self.planned.ahead)
        try:
            while len(replies) < len(self.planned.ahead):
                replies.append(_clean(await answering.receive()))
        except Unusable as error:
            return replies, await _words(error, code)
        return replies, None

    @property
    def _server(self) -> Python:
        return program("plain", "guest_link", "guest_peer", "guest_candidate", args=(self.path, "objects"))

    def _judging(self, seconds: float) -> AbstractAsyncContextManager[Process]:
        judge = program("plain", "guest_link", "guest_peer", "guest_judge")
        return self.bench.start(
            judge, timeout_seconds=seconds + _GRACE_SECONDS, env=_ENV, output_limit_bytes=_OUTPUT_LIMIT_BYTES
        )

    def _order(self, replies: list[Message], otherwise: str | None) -> Message:
        known = [list(pair) for pair in zip(self.planned.ahead, replies, strict=False)]
        return {**self.config, "known": known, "otherwise": otherwise}


@asynccontextmanager
async def together(*managers: AbstractAsyncContextManager[Any]) -> AsyncGenerator[list[Any]]:
    """Enter and leave several context managers at the same time; those that were entered are left whatever happens."""
    entering = [asyncio.ensure_future(manager.__aenter__()) for manager in managers]
    try:
        await asyncio.wait(entering)
        yield [task.result() for task in entering]
    finally:
        for task in entering:
            task.cancel()
        await asyncio.wait(entering)
        entered = [not task.cancelled() and task.exception() is None for task in entering]
        leaving = [m.__aexit__(None, None, None) for m, inside in zip(managers, entered, strict=True) if inside]
        await asyncio.gather(*leaving)


def _replies(result: ExecResult, identities: list[str]) -> tuple[list[Message], str]:
    """Return the answers to questions that were asked at once, and what is to be said where one is missing."""
    replies: list[Message] = []
    lines = result.stdout.encode("utf-8", "replace").split(b"\n")[:-1]
    if len(lines) > len(identities):
        return [], NOT_ASKED
    try:
        replies.extend(_clean(answer(line, identity)) for line, identity in zip(lines, identities, strict=False))
    except Unusable as error:
        return replies, str(error)
    if result.timed_out:
        return replies, f"it took longer than {result.seconds:.0f} s"
    return replies, LIVE if len(replies) == len(identities) else "it ended without an answer"


def _clean(message: Message) -> Message:
    return {name: value for name, value in message.items() if name in _FIELDS}


def _report(message: Message) -> Message:
    found: Any = message.get("report")
    match found:
        case {"tests": _} as report:
            return {str(name): value for name, value in report.items()}
        case _:
            return {"problem": "the judge gave no report"}


async def _words(error: Unusable, process: Process) -> str:
    if isinstance(error, Ended):
        result = await process.wait()
        if result.timed_out:
            return f"it took longer than {result.seconds:.0f} s"
    return str(error)
