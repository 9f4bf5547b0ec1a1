"""A run's events as lines of JSON, for logs and other programs. Who reads them slowly holds nothing up."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from ..core.events import Event, encode
from ..core.tree import Tree
from ..core.types import JSON


class EventLog:
    """A listener that writes every event as one JSON object per line, in a thread of its own.

    A line has `time` (Unix, seconds), `search` (the path of a search within the run, left out for the run's own) and `event`, as the
    journal has it: a name and its fields. What is not written yet waits in memory, where the run's tree has it anyway; leaving the
    `with` block waits until it is. A reader who has gone away is no trouble: nothing more is written, and the run goes on.

    Args:
        stream: where the lines go; flushed whenever there are no more for now. Stays open.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._waiting: queue.SimpleQueue[tuple[float, str, Sequence[Event]] | dict[str, JSON] | None] = (
            queue.SimpleQueue()
        )
        self._writer = threading.Thread(target=self._write, name="event log", daemon=True)

    def __call__(self, path: str, events: Sequence[Event], _tree: Tree) -> None:
        """Take in a batch of events; a `graphs.resources.Listener`."""
        self._waiting.put((time.time(), path, tuple(events)))

    def add(self, record: dict[str, JSON]) -> None:
        """Write a line of another kind after what came before."""
        self._waiting.put(record)

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._writer.join()

    def _write(self) -> None:
        try:
            while (item := self._waiting.get()) is not None:
                for line in [json.dumps(item)] if isinstance(item, dict) else _lines(*item):
                    self._stream.write(line + "\n")
                if self._waiting.empty():
                    self._stream.flush()
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the reader has gone, the disk is full, or the stream was closed: the run has its journal


def _lines(when: float, path: str, events: Sequence[Event]) -> list[str]:
    where = {"search": path} if path else {}
    return [json.dumps({"time": round(when, 3), **where, "event": json.loads(encode([event]))[0]}) for event in events]
