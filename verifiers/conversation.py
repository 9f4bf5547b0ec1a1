"""Talking to a program in a sandbox in such a way that only what it was asked can be answered."""

from __future__ import annotations

import json
import secrets
from collections import deque
from typing import Any

from ..core.protocols import Process

Message = dict[str, Any]

_ID_BYTES = 16
NOT_ASKED = "it answered what it was not asked"


class Unusable(Exception):
    """What came from the guest cannot be used; the message says why, in words for the verdict."""


class Ended(Unusable):
    """The guest's program has ended, or was ended by its limits."""


class Conversation:
    """Messages to and from a guest, one JSON object a line.

    Every message to the guest carries an id that cannot be guessed, and every message from it must carry the id of the one
    that it answers, in order. An answer that comes ahead of its question, or twice, ends the conversation.
    """

    def __init__(self, process: Process, *, limit_bytes: int) -> None:
        self._process = process
        self._limit_bytes = limit_bytes
        self._open: deque[str] = deque()
        self._buffer = bytearray()

    async def send(self, *messages: Message) -> None:
        """Send messages, each of which wants an answer."""
        lines = [question(message) for message in messages]
        self._open += [identity for identity, _ in lines]
        await self._process.send(b"".join(line for _, line in lines))

    async def receive(self) -> Message:
        """Return the answer to the oldest question that is open.

        Raises:
            Unusable: the guest ended (`Ended`), or sent something else.
            SandboxLost: the sandbox died.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > self._limit_bytes:
                raise Unusable(f"it answered more than {self._limit_bytes} bytes")
            piece = await self._process.receive()
            if not piece:
                raise Ended("it ended without an answer")
            self._buffer += piece
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if not self._open:
            raise Unusable(NOT_ASKED)
        return answer(line, self._open.popleft())

    async def finish(self) -> None:
        """End the guest's input and see that it has nothing more to say.

        Raises:
            Unusable: it has.
            SandboxLost: the sandbox died.
        """
        await self._process.close_input()
        if self._buffer or await self._process.receive():
            raise Unusable(NOT_ASKED)


def question(message: Message) -> tuple[str, bytes]:
    """Return the id that a message's answer must carry, and the line that carries the message."""
    identity = secrets.token_hex(_ID_BYTES)
    return identity, json.dumps({**message, "id": identity}).encode("ascii") + b"\n"


def answer(line: bytes, identity: str) -> Message:
    """Return the message in a line that must be the answer to the question `identity`.

    Raises:
        Unusable: it is none.
    """
    try:
        message: Any = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unusable("its answer is no message") from None
    match message:
        case {"re": str() as asked, **rest} if asked == identity:
            return {str(name): value for name, value in rest.items()}
        case _:
            raise Unusable(NOT_ASKED)


def only_answer(output: str, identity: str) -> Message:
    """Return the message in an output that must be the answer to the question `identity` and nothing else.

    Raises:
        Unusable: it is none.
    """
    lines = output.encode("utf-8", "replace").split(b"\n")
    if lines == [b""]:
        raise Ended("it ended without an answer")
    if len(lines) != 2 or lines[1]:
        raise Unusable(NOT_ASKED)
    return answer(lines[0], identity)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
