"""Paying for model calls: reserve, make, settle, and never pay twice for a call that finished.

Layers, from outside: `Retrying` (each attempt is paid for by itself) around `Accounted` (this module) around the client.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from ..core.around import AroundModel
from ..core.budget import Ledger
from ..core.errors import JournalError, ToolError, UsageError
from ..core.keys import request_key
from ..core.observing import UNOBSERVED, Observer
from ..core.protocols import Meter, Model
from ..core.types import NO_USAGE, ModelRequest, ModelResponse, Usage

LEAST_COMPLETION_TOKENS = 16
"""A reply that the budget would cut below this is not asked for."""

_REPLY = TypeAdapter(ModelResponse)
_USAGE = TypeAdapter(Usage)

_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spending
    (id INTEGER PRIMARY KEY, key TEXT NOT NULL, settled INTEGER NOT NULL, usage TEXT NOT NULL, path TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, result TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tools (tool TEXT PRIMARY KEY, usage TEXT NOT NULL, seconds REAL NOT NULL) WITHOUT ROWID;
COMMIT;
"""


def is_within(inner: str, outer: str) -> bool:
    """Whether the search at one path is that at another, or within it."""
    return not outer or inner == outer or inner.startswith(f"{outer}/")


class CallLog:
    """What a run's model calls cost and what the finished ones replied, in SQLite.

    A call is entered with what it reserves before it is made, and settled together with its reply in one transaction. After
    a kill the entries that were never settled are calls that were in flight: they stay charged at their reservation, for
    nobody knows what they really cost and a hard budget must not be overshot. The process, not the machine, is what may
    die: a power cut can lose the last entries.

    Args:
        path: database file; made where it does not exist. ":memory:" forgets with the process.

    Raises:
        JournalError: the file cannot be opened or written.
    """

    def __init__(self, path: Path | str = ":memory:") -> None:
        self.path = path
        self.replayed = 0
        """Calls of this process that were answered from the log."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise JournalError(f"cannot open the log of model calls {path}: {error}") from error

    def spent(self, path: str = "") -> Usage:
        """What the calls of a search and those within it cost so far, unsettled ones at their reservation."""
        total = NO_USAGE
        for usage, where in self._rows("SELECT usage, path FROM spending"):
            if is_within(where, path):
                total += _USAGE.validate_json(usage)
        return total

    def lost(self) -> Usage:
        """Settle the calls that an ended process left open, at their reservation; return the sum."""
        lost = NO_USAGE
        with self._transaction():
            for row, usage in self._rows("SELECT id, usage FROM spending WHERE settled = 0"):
                reserved = _USAGE.validate_json(usage)
                cost = replace(
                    reserved,
                    completion_tokens=0,
                    cancelled_tokens=reserved.cancelled_tokens + reserved.completion_tokens,
                )
                self._db.execute("UPDATE spending SET settled = 1, usage = ? WHERE id = ?", (_dump(cost), row))
                lost += cost
        return lost

    def reply(self, key: str) -> ModelResponse | None:
        """Return what a finished call replied."""
        for (reply,) in self._rows("SELECT reply FROM replies WHERE key = ?", key):
            self.replayed += 1
            return _REPLY.validate_json(reply)
        return None

    def enter(self, key: str, reserved: Usage, path: str = "") -> int:
        """Enter a call that is about to be made in the search at `path`; return its number."""
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO spending (key, settled, usage, path) VALUES (?, 0, ?, ?)", (key, _dump(reserved), path)
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def settle(self, number: int, key: str, usage: Usage, reply: ModelResponse | None) -> None:
        """Record what a call cost and, where it finished, its reply."""
        text = None if reply is None else _text(reply)
        with self._transaction():
            self._db.execute("UPDATE spending SET settled = 1, usage = ? WHERE id = ?", (_dump(usage), number))
            if text is not None:
                self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, text))

    def effects(self, path: str) -> Effects:
        """Return the log of the external effects of the search at `path`."""
        return Effects(self, path)

    def begin_effect(self, key: str) -> str | None:
        """Enter an external effect that is about to happen; return what it returned where it happened already.

        Raises:
            ToolError: a process that died had begun it: whether it happened is unknown, so it is not done again.
        """
        for (result,) in self._rows("SELECT result FROM effects WHERE key = ?", key):
            if result is None:
                raise ToolError(
                    "this action was begun before the run was interrupted; whether it took effect is unknown and it is "
                    "not repeated. Find out by other means, then go on"
                )
            return str(result)
        with self._transaction():
            self._db.execute("INSERT INTO effects VALUES (?, NULL)", (key,))
        return None

    def end_effect(self, key: str, result: str) -> None:
        """Enter what an external effect returned."""
        with self._transaction():
            self._db.execute("UPDATE effects SET result = ? WHERE key = ?", (result, key))

    def forget_effect(self, key: str) -> None:
        """Take an effect back that did not begin after all."""
        with self._transaction():
            self._db.execute("DELETE FROM effects WHERE key = ? AND result IS NULL", (key,))

    def tool_used(self, tool: str) -> tuple[Usage, float]:
        """Return what a tool with limits has spent, and for how many seconds it ran."""
        for usage, seconds in self._rows("SELECT usage, seconds FROM tools WHERE tool = ?", tool):
            return _USAGE.validate_json(usage), float(seconds)
        return NO_USAGE, 0.0

    def tool_uses(self, tool: str, usage: Usage, seconds: float) -> None:
        """Enter what a tool with limits has spent so far, and for how many seconds it ran."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO tools VALUES (?, ?, ?)", (tool, _dump(usage), seconds))

    def give_answer(self, question: str, answer: Any) -> None:
        """Keep a person's answer; a later one to the same question replaces it."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (question, json.dumps(answer)))

    def answer(self, question: str) -> Any:
        """Return what a person answered; None where nobody has."""
        for (answer,) in self._rows("SELECT answer FROM answers WHERE key = ?", question):
            return json.loads(answer)
        return None

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"cannot read the log of model calls {self.path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """All or nothing; SQLite's errors become `JournalError`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(f"cannot write the log of model calls {self.path}: {error}") from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Effects:
    """One search's external effects and the answers it was given; see `CallLog`."""

    log: CallLog
    path: str

    def begin_effect(self, key: str) -> str | None:
        """As `CallLog.begin_effect`, for this search."""
        return self.log.begin_effect(f"{self.path}:{key}")

    def end_effect(self, key: str, result: str) -> None:
        """As `CallLog.end_effect`, for this search."""
        self.log.end_effect(f"{self.path}:{key}", result)

    def forget_effect(self, key: str) -> None:
        """As `CallLog.forget_effect`, for this search."""
        self.log.forget_effect(f"{self.path}:{key}")

    def tool_used(self, tool: str) -> tuple[Usage, float]:
        """As `CallLog.tool_used`, for this search."""
        return self.log.tool_used(f"{self.path}:{tool}")

    def tool_uses(self, tool: str, usage: Usage, seconds: float) -> None:
        """As `CallLog.tool_uses`, for this search."""
        self.log.tool_uses(f"{self.path}:{tool}", usage, seconds)

    def question_id(self, key: str) -> str:
        """Return the name of a question within the run."""
        return f"{self.path}/{key}" if self.path else key

    def answer(self, key: str) -> Any:
        """As `CallLog.answer`, for this search."""
        return self.log.answer(self.question_id(key))


def _text(reply: ModelResponse) -> str | None:
    """The reply as JSON; None where it holds half a surrogate pair, which no UTF-8 text can: it is not kept."""
    try:
        return _REPLY.dump_json(reply, exclude_defaults=True).decode()
    except PydanticSerializationError:
        return None


def _dump(usage: Usage) -> str:
    return json.dumps({name: value for name, value in asdict(usage).items() if value})


@dataclass
class Accounted(AroundModel):
    """A model whose calls are paid from a ledger and logged.

    Args:
        inner: the client.
        ledger: what pays.
        log: where calls are entered.
        gate: how many calls may be at the server at once; shared by all users of one endpoint within a run.
        live: where meters of calls in flight are entered; shared likewise.
        path: of the search that makes the calls, within its run.
        observer: looks on at every call that is made.
    """

    ledger: Ledger
    log: CallLog
    gate: asyncio.Semaphore
    live: dict[int, Meter]
    """Meters of the calls in flight, by their number in the log."""

    def __init__(
        self,
        inner: Model,
        ledger: Ledger,
        log: CallLog,
        *,
        gate: asyncio.Semaphore | None = None,
        live: dict[int, Meter] | None = None,
        path: str = "",
        observer: Observer = UNOBSERVED,
    ) -> None:
        self.inner = inner
        self.ledger = ledger
        self.log = log
        self.gate = gate or asyncio.Semaphore(inner.slots)
        self.live = {} if live is None else live
        self.path = path
        self.observer = observer
        if ledger.limits("usd") and inner.price(Usage(prompt_tokens=1, completion_tokens=1)) is None:
            raise UsageError(
                f"a budget in usd was set but the price of {inner.name} is unknown; give it: "
                "connect(name, price=Price(...)), or limit tokens instead"
            )

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return the logged reply, or pay for a new one.

        Raises:
            BudgetExceeded: not even a short reply fits into what is left.
        """
        key = request_key(self.name, request)
        if (known := self.log.reply(key)) is not None:
            return _remember(known, meter)
        want = Usage(
            prompt_tokens=await self.inner.prompt_tokens(request),
            completion_tokens=request.sampling.max_tokens,
            calls=1,
        )
        want = replace(want, usd=self.inner.price(want) or 0.0)
        async with self.gate:
            least = min(LEAST_COMPLETION_TOKENS, request.sampling.max_tokens)
            with await self.ledger.reserve(want, least_completion_tokens=least) as held:
                number = self.log.enter(key, held.amount, self.path)
                granted = replace(request.sampling, max_tokens=held.amount.completion_tokens)
                sent = replace(request, sampling=granted)
                reply: ModelResponse | None = None
                self.live[number] = meter
                try:
                    with self.observer.calling(self.name, sent, meter) as replied:
                        reply = await self.inner.generate(sent, meter)
                        replied(reply)
                    return reply
                finally:
                    del self.live[number]
                    cost = meter.usage()
                    held.actual = replace(cost, usd=self.inner.price(cost) or 0.0)
                    # A reply that the budget cut short is not the reply to this request; a larger budget asks again.
                    cut = reply is not None and reply.finish_reason == "length" and granted != request.sampling
                    self.log.settle(number, key, held.actual, None if cut else reply)


def _remember(reply: ModelResponse, meter: Meter) -> ModelResponse:
    """Set the meter to what the call cost when it was made."""
    meter.prompt_tokens = reply.usage.prompt_tokens
    meter.cached_tokens = reply.usage.cached_tokens
    meter.completion_tokens = reply.usage.completion_tokens
    meter.finished = True
    return reply
