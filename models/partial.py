"""A file on its way to this machine, and what can happen to it there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from ..core.errors import CatalogError
from .catalog import Entry


class SourceFailed(Exception):
    """One source could not give the file; the next one is tried."""


class PullStopped(Exception):
    """The caller does not want the file any more."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is."""

    doing: str
    """In words, for example "from the hub" or "checking"."""
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Partial:
    """A file on its way: where it lies, how much of it is there, whom to tell."""

    model: Entry
    path: Path
    on_progress: OnProgress
    stop: threading.Event
    file: BufferedRandom

    @property
    def done_bytes(self) -> int:
        """How much has been written."""
        return self.file.tell()

    def cut(self, size_bytes: int) -> None:
        """Keep the first `size_bytes` only and go on from there."""
        self.file.truncate(size_bytes)
        self.file.seek(size_bytes)

    def write(self, block: bytes, doing: str) -> None:
        """Append a block.

        Raises:
            SourceFailed: the source gives more than the file has.
            CatalogError: the disk does not take it.
            PullStopped: the caller asked to stop.
        """
        if self.stop.is_set():
            raise PullStopped
        if self.done_bytes + len(block) > self.model.size_bytes:
            raise SourceFailed(f"it holds more than the {self.model.size_bytes:,} bytes that the file has")
        try:
            self.file.write(block)
        except OSError as error:
            raise CatalogError(f"cannot write {self.path}: {error}; free some space and pull again") from error
        self.on_progress(Progress(doing, self.done_bytes, self.model.size_bytes))
