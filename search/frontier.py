"""A priority queue whose best entries can be read without taking them out."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Priority = tuple[float, ...]


@dataclass
class Frontier(Generic[Key]):
    """Keys by priority, smallest first, with updates in O(log n).

    A strategy's `ask` must change nothing, so it *peeks* at the best entries; entries are taken out or re-ranked only when
    the strategy is told that work was started. Two frontiers with the same history are equal.
    """

    _heap: list[tuple[Priority, int, Key]] = field(default_factory=list[tuple[Priority, int, Key]], init=False)
    """Entries that count and entries that went stale: a change of priority leaves the old entry in."""
    _current: dict[Key, int] = field(default_factory=dict[Key, int], init=False)
    """The stamp of each key's entry that counts."""
    _count: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, key: object) -> bool:
        return key in self._current

    def put(self, key: Key, priority: Priority) -> None:
        """Add `key`, or change its priority."""
        self._count += 1
        self._current[key] = self._count
        heapq.heappush(self._heap, (priority, self._count, key))
        self._drop_stale()

    def remove(self, key: Key) -> None:
        """Take `key` out; nothing happens where it is not in."""
        self._current.pop(key, None)
        self._drop_stale()

    def _drop_stale(self) -> None:
        while self._heap and self._stale(0):
            heapq.heappop(self._heap)
        if len(self._heap) > 2 * len(self._current) + 64:
            self._heap = [entry for index, entry in enumerate(self._heap) if not self._stale(index)]
            heapq.heapify(self._heap)

    def _stale(self, index: int) -> bool:
        _, stamp, key = self._heap[index]
        return self._current.get(key) != stamp

    def peek(self, again: Callable[[Key, int], Priority | None]) -> Iterator[Key]:
        """Yield keys best first, without end while there are any; one key may come several times.

        Args:
            again: the priority that a key would have after having been yielded n times (n >= 1); None: not again.

        Costs O(log k) for the k-th key, beside entries that went stale.
        """
        if not self._heap:
            return
        # Walks the heap from its top with a second heap of candidates: (priority, order, index or -1, key, times yielded).
        seen = 0
        candidates: list[tuple[Priority, int, int, Key, int]] = [(self._heap[0][0], 0, 0, self._heap[0][2], 0)]
        while candidates:
            _, _, index, key, times = heapq.heappop(candidates)
            if index >= 0:
                for child in (2 * index + 1, 2 * index + 2):
                    if child < len(self._heap):
                        seen += 1
                        heapq.heappush(candidates, (self._heap[child][0], seen, child, self._heap[child][2], 0))
                if self._stale(index):
                    continue
            yield key
            if (priority := again(key, times + 1)) is not None:
                seen += 1
                heapq.heappush(candidates, (priority, seen, -1, key, times + 1))
