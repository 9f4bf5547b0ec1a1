"""Which prompts the embedded engine has read already, and where they are: the bookkeeping behind `models.router`.

Pure: no I/O, no clock. Texts stand for tokens here; the engine itself compares tokens and recomputes what does not fit,
so a wrong guess costs time, never a wrong reply.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WORTHWHILE_CHARS = 192
"""About 50 tokens. To read less than that again costs less than what would be done to avoid it."""


def common_length(one: str, other: str) -> int:
    """Return how many characters two texts share from their beginning, in O(n log n) with a fast inner loop."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(slots=True, eq=False)
class Slot:
    """One of the engine's slots."""

    number: int
    text: str = ""
    """What its cache holds, as far as we know."""
    busy: bool = False
    used: int = 0
    """When it was last given out."""


@dataclass(slots=True, eq=False)
class Kept:
    """The state of a slot after it had read `text`, kept in memory under a file descriptor."""

    text: str
    descriptor: int
    size_bytes: int
    used: int = 0
    pins: int = 0
    """How many restore from it right now."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to serve a prompt."""

    slot: Slot
    restore: Kept | None
    """The state to put into the slot first."""
    covered: int
    """Characters of the prompt that need not be read then."""
    save_first: bool
    """Whether what the slot holds would be lost and is worth keeping."""


class Prefixes:
    """All slots and kept states.

    Args:
        slots: how many slots the engine has.
        limit_bytes: how much memory kept states may take.
    """

    def __init__(self, slots: int, limit_bytes: int) -> None:
        self.slots = [Slot(number) for number in range(slots)]
        self.kept: list[Kept] = []
        self.limit_bytes = limit_bytes
        self._turn = 0

    def plan(self, text: str) -> Plan:
        """Choose a slot for a prompt and mark it busy. One must be free.

        The slot that holds most of the prompt is taken, unless a kept state holds clearly more: that one goes into the slot
        that was not used for longest.
        """
        self._turn += 1
        free = [slot for slot in self.slots if not slot.busy]
        best = max(free, key=lambda slot: (common_length(slot.text, text), -slot.used))
        held = common_length(best.text, text)
        state = max(self.kept, key=lambda kept: common_length(kept.text, text), default=None)
        covered = held
        if state is not None and common_length(state.text, text) > held + WORTHWHILE_CHARS:
            covered = common_length(state.text, text)
            best = min(free, key=lambda slot: slot.used)
            state.used = self._turn
        else:
            state = None
        best.busy, best.used = True, self._turn
        return Plan(best, state, covered, self._worth_saving(best, text))

    def _worth_saving(self, slot: Slot, text: str) -> bool:
        lost = len(slot.text) - common_length(slot.text, text)
        return lost > WORTHWHILE_CHARS and self.missing(slot.text) > WORTHWHILE_CHARS

    def missing(self, text: str) -> int:
        """Return how many characters of `text` no kept state holds."""
        return len(text) - max((common_length(kept.text, text) for kept in self.kept), default=0)

    def keep(self, kept: Kept) -> list[Kept]:
        """Add a state; return those that have to go for it, the ones not used for longest first."""
        self._turn += 1
        kept.used = self._turn
        self.kept.append(kept)
        dropped: list[Kept] = []
        for old in sorted(self.kept, key=lambda state: state.used):
            if sum(state.size_bytes for state in self.kept) <= self.limit_bytes:
                break
            if not old.pins:
                self.kept.remove(old)
                dropped.append(old)
        return dropped


def longest_shared(text: str, others: Iterable[str]) -> tuple[int, str | None]:
    """Return the longest common beginning of `text` with one of `others`, and which one that is."""
    best: tuple[int, str | None] = (0, None)
    for other in others:
        length = common_length(text, other)
        if length > best[0]:
            best = (length, other)
    return best
