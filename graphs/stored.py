"""A run's journal as its file has it, read without LangGraph, which takes most of a second to load.

LangGraph keeps one chain of checkpoints per thread, and beside each what its super-step wrote. A batch of events is such a write
to the channel `journal`; what a checkpoint has of that channel itself is a summary of all writes before it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import ormsgpack

from ..core.errors import JournalError
from ..core.events import Cancelled, Denied, Event, Expanded, Failed, Judged, decode
from ..core.types import NO_USAGE, Usage

CHAIN: Final = """
WITH RECURSIVE chain(id, parent, type, checkpoint) AS (
    SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint FROM checkpoints
    WHERE thread_id = :thread AND checkpoint_ns = :ns AND checkpoint_id = :head
    UNION ALL
    SELECT c.checkpoint_id, c.parent_checkpoint_id, c.type, c.checkpoint
    FROM chain CROSS JOIN checkpoints c ON c.checkpoint_id = chain.parent
    WHERE c.thread_id = :thread AND c.checkpoint_ns = :ns
)
SELECT id, type, checkpoint FROM chain
"""
"""A thread's checkpoints from the `head` to the first."""

WRITES: Final = """
SELECT checkpoint_id, task_id, type, value FROM writes
WHERE thread_id = :thread AND checkpoint_ns = :ns AND channel = :channel
ORDER BY task_path, task_id, idx
"""
"""What was written to a channel of a thread, beside which checkpoint."""

_HEAD = "SELECT MAX(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"

_THREADS = "SELECT thread_id FROM checkpoints GROUP BY thread_id ORDER BY MIN(rowid)"

_SUMMARY = 7
"""LangGraph's code for the value of a delta channel."""


def threads(db: sqlite3.Connection) -> list[str]:
    """Return the names of all threads, the oldest first."""
    return [str(thread) for (thread,) in db.execute(_THREADS)]


def events(db: sqlite3.Connection, thread: str) -> list[Event]:
    """Return the events of a search, in order; none where there is no such thread.

    Raises:
        JournalVersionMismatch: another version wrote them.
    """
    return [event for batch in batches(db, thread) for event in decode(batch)]


def batches(db: sqlite3.Connection, thread: str) -> list[str]:
    """Return the batches of events of a search as they were written, in order."""
    [(head,)] = db.execute(_HEAD, (thread,))
    keys = {"thread": thread, "ns": "", "head": head, "channel": "journal"}
    found: list[str] = []
    chain: list[str] = []
    for checkpoint, _, blob in db.execute(CHAIN, keys):
        values: Mapping[str, Any] = _plain(blob).get("channel_values") or {}
        chain.append(checkpoint)
        if "journal" in values:
            found = list(values["journal"])
            break
    # Beside the head stands what a super-step wrote whose own checkpoint is not there yet.
    written: dict[str, list[str]] = {checkpoint: [] for checkpoint in chain}
    for checkpoint, _, _, blob in db.execute(WRITES, keys):
        if checkpoint in written:
            written[checkpoint] += _plain(blob)
    return found + [batch for checkpoint in reversed(chain) for batch in written[checkpoint]]


def _plain(blob: bytes) -> Any:
    return ormsgpack.unpackb(blob, ext_hook=_extension, option=ormsgpack.OPT_NON_STR_KEYS)


def _extension(code: int, data: bytes) -> Any:
    return _plain(data) if code == _SUMMARY else None


def usage(db: sqlite3.Connection, run_id: str) -> dict[str, Usage]:
    """Return what each search of a run spent as their journals have it, model calls left out, by its path within the run."""
    spent: dict[str, Usage] = {}
    for thread in threads(db):
        if "#" not in thread and (thread == run_id or thread.startswith(f"{run_id}/")):
            spent[thread.removeprefix(run_id).removeprefix("/")] = _without_calls(events(db, thread))
    return spent


def _without_calls(journal: list[Event]) -> Usage:
    total = NO_USAGE
    for event in journal:
        match event:
            case Expanded():
                total += replace(event.node.usage, nodes=1)
            case Judged() | Failed() | Cancelled() | Denied():
                total += event.usage
            case _:
                pass
    return replace(total, prompt_tokens=0, cached_tokens=0, completion_tokens=0, cancelled_tokens=0, calls=0, usd=0.0)


def events_of_file(path: Path, thread: str) -> list[Event]:
    """Return the events of a search from a journal that another process may be writing; none where there is no journal.

    Raises:
        JournalError: it cannot be read.
    """
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(path)) as db:
            begun = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'writes'").fetchone()
            return events(db, thread) if begun else []
    except sqlite3.Error as error:
        raise JournalError(f"cannot read the journal {path}: {error}") from error
