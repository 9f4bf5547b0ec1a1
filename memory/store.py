"""A memory in SQLite: entries found by the words of their cues."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Self, cast

from ..core.errors import UsageError
from ..core.protocols import Entry, EntryKind, Found
from ..core.types import Result
from .lessons import lessons
from .likeness import cosine, weighted, words

QUERY_WORDS = 96
"""At most so many different words of a context are looked up, the last ones: they are nearest to what comes next."""

LOOKED_AT = 32
"""Entries with the most and rarest words in common that are compared with the context in full, beside those that are wanted."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, cue TEXT NOT NULL, text TEXT NOT NULL,
                                    evidence TEXT NOT NULL, UNIQUE (kind, cue, text));
CREATE VIRTUAL TABLE IF NOT EXISTS cues USING fts5(cue, tokenize = "unicode61 remove_diacritics 0");
CREATE VIRTUAL TABLE IF NOT EXISTS vocabulary USING fts5vocab(cues, 'row');
"""


class Store:
    """Keeps entries in a file, or for as long as it lives. Safe for several threads and processes.

    Candidates come from SQLite's full-text index by BM25 (Robertson & Zaragoza 2009), which has no scale that could be compared
    with a bound; how much they are alike is the cosine of both texts' word vectors, 1 for the same words.

    Args:
        path: the file; None keeps everything in the process.

    Raises:
        UsageError: the file is there and is no memory.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(":memory:" if path is None else path, check_same_thread=False, timeout=30.0)
        try:
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise UsageError(f"{path} is no memory ({error}); name a new file, or one that a Store has made") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM entries").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # --- the protocol ---

    async def query(self, context: str, k: int, kind: EntryKind | None = None) -> Sequence[Found]:
        """Return at most `k` entries whose cues are like `context`, the most alike first."""
        return await asyncio.to_thread(self.find, context, k, kind)

    async def write(self, entry: Entry) -> None:
        """Remember something. What is known already is not kept twice."""
        await asyncio.to_thread(self.add, entry)

    # --- the same for callers without an event loop ---

    def add(self, *entries: Entry) -> int:
        """Remember entries; return how many of them were new."""
        with self._lock, self._db:
            return sum(self._add(entry) for entry in entries)

    def _add(self, entry: Entry) -> bool:
        row = self._db.execute(
            "INSERT OR IGNORE INTO entries (kind, cue, text, evidence) VALUES (?, ?, ?, ?)",
            (entry.kind, entry.cue, entry.text, entry.evidence),
        )
        if row.rowcount < 1:
            return False
        self._db.execute("INSERT INTO cues (rowid, cue) VALUES (?, ?)", (row.lastrowid, entry.cue))
        return True

    def find(self, context: str, k: int, kind: EntryKind | None = None) -> list[Found]:
        """Return at most `k` entries whose cues are like `context`, the most alike first."""
        asked = list(dict.fromkeys(reversed(words(context))))[:QUERY_WORDS]
        if k < 1 or not asked:
            return []
        with self._lock:
            entries = self._candidates(asked, k + LOOKED_AT, kind)
            rarities = self._rarities({*words(context), *(word for e in entries for word in words(e.cue))})
        vector = weighted(context, rarities.__getitem__)
        found = [Found(entry, cosine(vector, weighted(entry.cue, rarities.__getitem__))) for entry in entries]
        return sorted(found, key=lambda one: -one.likeness)[:k]

    def _candidates(self, asked: Sequence[str], limit: int, kind: EntryKind | None) -> list[Entry]:
        rows = self._db.execute(
            "SELECT e.cue, e.text, e.kind, e.evidence FROM cues JOIN entries e ON e.id = cues.rowid "
            "WHERE cues MATCH ? AND (? IS NULL OR e.kind = ?) ORDER BY bm25(cues), e.id LIMIT ?",
            (" OR ".join(f'"{word}"' for word in asked), kind, kind, limit),
        )
        return [Entry(*row) for row in rows]

    def _rarities(self, asked: set[str]) -> dict[str, float]:
        """Return the inverse document frequency of words; of one that no cue has, the highest."""
        (total,) = self._db.execute("SELECT count(*) FROM entries").fetchone()
        known: dict[str, int] = {}
        listed = sorted(asked)
        for start in range(0, len(listed), 500):
            some = listed[start : start + 500]
            marks = ",".join("?" * len(some))
            known.update(self._db.execute(f"SELECT term, doc FROM vocabulary WHERE term IN ({marks})", some))  # noqa: S608 - marks only
        return {word: math.log(1.0 + (total + 1) / (known.get(word, 0) + 0.5)) for word in asked}

    # --- learning, and moving ---

    def learn(self, task: str, result: Result) -> int:
        """Remember what a run teaches (`lessons`); return how many entries were new."""
        return self.add(*lessons(task, result))

    def dump(self, path: str | Path) -> None:
        """Write all entries into a file, one JSON object per line, in the order in which they were learnt."""
        with self._lock:
            rows = self._db.execute("SELECT cue, text, kind, evidence FROM entries ORDER BY id").fetchall()
        lines = (json.dumps(asdict(Entry(*row)), ensure_ascii=False) for row in rows)
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def load(self, path: str | Path) -> int:
        """Remember the entries of such a file; return how many were new.

        Raises:
            UsageError: a line is no entry.
        """
        return self.add(*_read(Path(path).read_text(encoding="utf-8").splitlines(), path))


def _read(lines: Iterable[str], path: str | Path) -> list[Entry]:
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            entry = Entry(str(row["cue"]), str(row["text"]), row.get("kind", "task"), str(row.get("evidence", "")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f'{path}, line {number} is no entry; each is like {{"cue": "...", "text": "..."}}'
            ) from error
        if cast("str", entry.kind) not in ("task", "step"):
            raise UsageError(f"{path}, line {number} has kind={entry.kind!r}; it must be 'task' or 'step'")
        entries.append(entry)
    return entries
