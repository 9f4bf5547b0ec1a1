"""A guest's side of the conversation with the host: lines of JSON on streams that the judged code is not given.

Runs inside sandboxes: Python 3.8, standard library only.
"""

from __future__ import annotations

import os
import sys
from json import dumps, loads
from os import write
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    Message = dict[str, Any]


class Link:
    """Takes the standard streams for the host; what the judged code reads is empty, what it prints goes to `output`.

    Every message that the host sends has an `id` that cannot be guessed, and what is sent carries, as `re`, the `id` of the
    last one that was read: whoever answers must have read the question.
    """

    def __init__(self, output: int | None = None) -> None:
        self.source = os.fdopen(os.dup(0), "rb")
        self.sink = os.dup(1)
        self.last: str | None = None
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null if output is None else output, 1)
        os.close(null)

    def read(self) -> Message | None:
        """Return the next message, None once the host has closed the stream."""
        line = self.source.readline()
        if not line.endswith(b"\n"):
            return None
        message: Message = loads(line)
        self.last = message.pop("id")
        return message

    def write(self, message: Message) -> None:
        """Send a message."""
        view = memoryview(dumps({**message, "re": self.last}).encode("ascii") + b"\n")
        while view:
            view = view[write(self.sink, view) :]


def quit_now(status: int) -> NoReturn:
    """End the process without running what the judged code has left to be run at exit."""
    sys.stderr.flush()
    os._exit(status)
