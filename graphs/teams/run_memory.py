"""What explorers and provers of one run know together: facts, failed approaches, open claims."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.keys import canonical_json
from ...core.types import JSON
from ...verifiers.fence import fenced

MOST_ENTRIES = 40
"""Entries of a kind; the oldest are forgotten first, but for facts, of which the newest are not taken any more."""

_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class RunMemory:
    """Plain statements. Nothing is in it twice, whatever its capitals and spaces."""

    facts: tuple[str, ...] = ()
    """What was shown: by a proof that was accepted, or by code."""
    failed: tuple[str, ...] = ()
    """What was tried and did not work."""
    open: tuple[str, ...] = ()
    """What is believed and was not shown."""

    def with_facts(self, statements: Sequence[str]) -> RunMemory:
        """Return the memory with more facts; they are no open claims any more."""
        facts = _joined(self.facts, statements)[:MOST_ENTRIES]
        return RunMemory(facts, self.failed, _without(self.open, statements))

    def with_failed(self, statements: Sequence[str]) -> RunMemory:
        """Return the memory with more failed approaches."""
        return RunMemory(self.facts, _joined(self.failed, statements)[-MOST_ENTRIES:], self.open)

    def with_open(self, statements: Sequence[str]) -> RunMemory:
        """Return the memory with more open claims, but for those that are facts."""
        fresh = _without(statements, self.facts)
        return RunMemory(self.facts, self.failed, _joined(self.open, fresh)[-MOST_ENTRIES:])

    def refuted(self, numbers: Sequence[int]) -> RunMemory:
        """Return the memory with open claims, by their numbers from 1, among what failed."""
        wrong = [self.open[n - 1] for n in numbers if 1 <= n <= len(self.open)]
        rest = RunMemory(self.facts, self.failed, _without(self.open, wrong))
        return rest.with_failed([f"refuted: {claim}" for claim in wrong])

    def shown(self) -> str:
        """Return all of it as a prompt shows it."""
        parts = [
            _section("facts", "Known facts:", self.facts),
            _section("failed", "What did not work:", self.failed),
            _section("open", "Open claims, believed and not shown:", self.open),
        ]
        return "\n\n".join(filter(None, parts)) or "Nothing is known yet."

    def claims(self) -> str:
        """Return the open claims, numbered."""
        return fenced("claims", "\n".join(f"{n}. {claim}" for n, claim in enumerate(self.open, start=1)) or "none")

    @property
    def digest(self) -> str:
        """A digest of all of it: equal for equal memories and no others."""
        return hashlib.sha256(canonical_json(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, JSON]:
        """The memory as plain data."""
        return {"facts": [*self.facts], "failed": [*self.failed], "open": [*self.open]}

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> RunMemory:
        """Return the memory that `to_json` wrote."""
        return cls(*(tuple(map(str, data.get(name, []))) for name in ("facts", "failed", "open")))


def has_number(statement: str) -> bool:
    """Whether a statement has a number in it, so that code could tell."""
    return _NUMBER.search(statement) is not None


def _section(title: str, heading: str, entries: Sequence[str]) -> str:
    return f"{heading}\n{fenced(title, chr(10).join(f'- {entry}' for entry in entries))}" if entries else ""


def _plain(statement: str) -> str:
    return " ".join(statement.lower().split()).rstrip(".")


def _joined(known: Sequence[str], fresh: Sequence[str]) -> tuple[str, ...]:
    joined = {_plain(statement): " ".join(statement.split()) for statement in reversed([*known, *fresh])}
    return tuple(joined[plain] for plain in dict.fromkeys(map(_plain, [*known, *fresh])) if plain)


def _without(statements: Sequence[str], gone: Sequence[str]) -> tuple[str, ...]:
    left_out = {_plain(statement) for statement in gone}
    return tuple(statement for statement in statements if _plain(statement) not in left_out)
