# ruff: noqa: SLF001 - the classes of this module are one mechanism
# pyright: reportPrivateUsage=false
"""One hard budget over everything a run does: reserve before, settle after, never overshoot.

A call *reserves* the most it can cost before it is made and *settles* what it did cost after. A reservation is granted
only if everything spent and everything reserved by others leaves room for it, so the cap holds however many calls are in
flight. Where others' reservations stand in the way the caller waits for them to settle; where nothing can free more, the
completion is clamped to what is left, and below its `least` the reservation fails with `BudgetExceeded`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

from .errors import BudgetExceeded
from .types import NO_USAGE, Budget, Usage

LIMITS: Final[dict[str, Callable[[Usage], float]]] = {
    "tokens": lambda u: u.tokens,
    "completion_tokens": lambda u: u.completion_tokens + u.cancelled_tokens,
    "calls": lambda u: u.calls,
    "verifier_calls": lambda u: u.verifier_calls,
    "tool_calls": lambda u: u.tool_calls,
    "sandbox_seconds": lambda u: u.sandbox_seconds,
    "usd": lambda u: u.usd,
    "nodes": lambda u: u.nodes,
}
"""What each limit of a `Budget` measures; `seconds` is the ledger's deadline, `snapshot_bytes` the snapshot store's own."""


@dataclass(slots=True)
class Bill:
    """What one work item has cost so far, kept up while it runs so that one that is cancelled or fails is charged too."""

    usage: Usage = NO_USAGE
    running: int = 0
    """Programs of it that hold a part of the budget at this moment."""

    def add(self, usage: Usage) -> None:
        """Add a finished part."""
        self.usage += usage


_SHRINKABLE: Final = {"tokens", "completion_tokens"}
_FRACTIONS: Final = {"usd", "sandbox_seconds"}


class Reservation:
    """Part of the budget, held for one call. Leaving the `with` block settles it with `actual`."""

    def __init__(self, ledger: Ledger, amount: Usage) -> None:
        self._ledger = ledger
        self._open = True
        self.amount = amount
        """What was granted; its `completion_tokens` may be less than what was asked for."""
        self.actual = NO_USAGE
        """What the call cost; set it before leaving the block."""

    def settle(self, actual: Usage) -> None:
        """Give the reservation back and charge `actual`. Further calls do nothing."""
        if self._open:
            self._open = False
            self.actual = actual
            self._ledger._settle(self, actual)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.settle(self.actual)


class Ledger:
    """What a run, or a child of it, may spend, has reserved and has spent.

    Belongs to one event loop. A child's spending counts in every ancestor, so a child never overdraws its parent.

    Args:
        budget: the limits.
        parent: ledger that this one is a share of.
        spent: what earlier processes of the run spent.
        elapsed_seconds: wall clock that they took.
        whose: what it pays for, in the words of whoever reads which limit was reached; nothing for a whole run.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        parent: Ledger | None = None,
        spent: Usage = NO_USAGE,
        elapsed_seconds: float = 0.0,
        whose: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.parent = parent
        self.whose = whose
        self.spent = spent
        self.reserved = NO_USAGE
        self.overshoot = 0.0
        """Largest amount by which a settled call ever exceeded a limit. Stays 0 unless a server breaks its word."""
        self._clock = clock
        self._started = clock() - elapsed_seconds
        self._caps = {name: float(cap) for name in LIMITS if (cap := getattr(budget, name)) is not None}
        self._held: set[Reservation] = set()
        """Open reservations of this ledger and its children; `reserved` is their sum."""
        self._waiting: deque[_Waiter] = deque()

    # --- time ---

    @property
    def elapsed_seconds(self) -> float:
        """Wall clock of the run so far, over all its processes."""
        return self._clock() - self._started

    @property
    def seconds_left(self) -> float | None:
        """Until the nearest deadline of this ledger and its ancestors; None without one, never negative."""
        left = [b.budget.seconds - b.elapsed_seconds for b in self._chain() if b.budget.seconds is not None]
        return max(0.0, min(left)) if left else None

    @property
    def late(self) -> Ledger | None:
        """The nearest of this ledger and its ancestors whose deadline has passed."""
        return next((b for b in self._chain() if (s := b.budget.seconds) is not None and b.elapsed_seconds >= s), None)

    # --- reading ---

    def left(self, limit: str) -> float | None:
        """What is neither spent nor reserved of a limit, over all ancestors; None where there is no such limit."""
        room = [b._room(limit) for b in self._chain() if limit in b._caps]
        return max(0.0, min(room)) if room else None

    @property
    def share_left(self) -> float | None:
        """What is left of the tightest limit, in [0, 1]; None without limits. Disk space is no limit of work."""
        shares = [max(0.0, b._room(name)) / b._caps[name] for b in self._chain() for name in b._caps if b._caps[name]]
        shares += [max(0.0, 1 - b.elapsed_seconds / s) for b in self._chain() if (s := b.budget.seconds) is not None]
        return min(shares) if shares else None

    def limits(self, limit: str) -> bool:
        """Whether this ledger or an ancestor caps `limit`."""
        return any(limit in b._caps for b in self._chain())

    def _chain(self) -> Iterator[Ledger]:
        ledger: Ledger | None = self
        while ledger is not None:
            yield ledger
            ledger = ledger.parent

    def _room(self, limit: str, *, ignore_reserved: bool = False) -> float:
        measure = LIMITS[limit]
        held = 0.0 if ignore_reserved else measure(self.reserved)
        return self._caps[limit] - measure(self.spent) - held

    # --- spending ---

    def child(
        self, budget: Budget, *, spent: Usage = NO_USAGE, elapsed_seconds: float = 0.0, whose: str = ""
    ) -> Ledger:
        """Return a ledger for a part of the work: it obeys `budget` and everything above it.

        Args:
            budget: the part's own limits.
            spent: what earlier processes spent on it, which this ledger has counted already.
            elapsed_seconds: wall clock that they took.
            whose: what it pays for, in words.
        """
        return Ledger(budget, parent=self, spent=spent, elapsed_seconds=elapsed_seconds, whose=whose, clock=self._clock)

    def share(self, part: float, before: Usage = NO_USAGE) -> Budget:
        """Return a part, in (0, 1], of what is left of every limit; the deadline stays.

        Args:
            part: which part.
            before: spending that counts as left.
        """
        limits: dict[str, float | None] = {"snapshot_bytes": None}
        for name, measure in LIMITS.items():
            if (left := self.left(name)) is not None:
                left = part * (left + measure(before))
                limits[name] = left if name in _FRACTIONS else max(1, int(left))
        return Budget.model_validate({name: amount for name, amount in limits.items() if amount != 0})

    def recall(self, usage: Usage) -> None:
        """Count what an earlier process spent, which the ledgers above have counted already."""
        self.spent += usage

    def charge(self, usage: Usage) -> None:
        """Record spending that could not be reserved, such as calls that an earlier process lost."""
        self._settle(None, usage)

    async def reserve(self, want: Usage, *, least_completion_tokens: int | None = None) -> Reservation:
        """Hold `want` until it is settled.

        Waits while others' reservations stand in the way.

        Args:
            want: the most that the call can cost.
            least_completion_tokens: the reservation may be clamped down to so many completion tokens; None: not at all.

        Raises:
            BudgetExceeded: it does not fit and nothing that could still be given back would make it fit.
        """
        least = want
        if least_completion_tokens is not None and least_completion_tokens < want.completion_tokens:
            least = replace(want, completion_tokens=least_completion_tokens)
        root = list(self._chain())[-1]
        if not root._waiting and (reservation := self._try(want, least)) is not None:
            return reservation
        waiter = _Waiter(self, want, least, asyncio.get_running_loop().create_future())
        root._waiting.append(waiter)
        root._serve()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            waiter.withdraw(root._waiting)
            raise

    def _try(self, want: Usage, least: Usage) -> Reservation | None:
        """Grant what can be granted now; None where waiting for others to settle can help."""
        self._refuse_impossible(least)
        if self._fits(want):
            return self._hold(want)
        if self._can_free_more(want):
            return None
        return self._hold(self._clamped(want, least))

    def _serve(self) -> None:
        """Grant, in the order of arrival, every waiter whose turn has come.

        Not strictly first come first served: one that waits for nodes must not hold up one that waits for tokens, whose
        work may be what holds the nodes.
        """
        for waiter in list(self._waiting):
            if waiter.turn.done():
                continue  # its caller was cancelled and has not run yet
            try:
                reservation = waiter.ledger._try(waiter.want, waiter.least)
            except BudgetExceeded as error:
                waiter.turn.set_exception(error)
            else:
                if reservation is None:
                    continue
                waiter.turn.set_result(reservation)
            self._waiting.remove(waiter)

    def _refuse_impossible(self, least: Usage) -> None:
        for ledger in self._chain():
            for name in ledger._caps:
                asked = LIMITS[name](least)
                if asked and asked > ledger._room(name, ignore_reserved=True):
                    spent = LIMITS[name](ledger.spent)
                    raise BudgetExceeded(name, allowed=ledger._caps[name], spent=spent, asked=asked, whose=ledger.whose)

    def _fits(self, want: Usage) -> bool:
        return all(
            not (asked := LIMITS[name](want)) or asked <= ledger._room(name)
            for ledger in self._chain()
            for name in ledger._caps
        )

    def _clamped(self, want: Usage, least: Usage) -> Usage:
        """`want` with as many completion tokens as fit now, at least those of `least`."""
        tokens = want.completion_tokens
        for ledger in self._chain():
            for name in _SHRINKABLE & ledger._caps.keys():
                fixed = LIMITS[name](want) - want.completion_tokens
                tokens = min(tokens, int(ledger._room(name) - fixed))
        return replace(want, completion_tokens=max(tokens, least.completion_tokens))

    def _hold(self, amount: Usage) -> Reservation:
        reservation = Reservation(self, amount)
        for ledger in self._chain():
            ledger.reserved += amount
            ledger._held.add(reservation)
        return reservation

    def _release(self, reservation: Reservation) -> None:
        self._held.remove(reservation)
        self.reserved = _subtract(self.reserved, reservation.amount, (held.amount for held in self._held))

    def _settle(self, reservation: Reservation | None, actual: Usage) -> None:
        for ledger in self._chain():
            if reservation is not None:
                ledger._release(reservation)
            ledger.spent += actual
            for name in ledger._caps:
                if LIMITS[name](actual):
                    ledger.overshoot = max(ledger.overshoot, -ledger._room(name, ignore_reserved=True))
        root = list(self._chain())[-1]
        if root._waiting:
            root._serve()

    def _can_free_more(self, want: Usage) -> bool:
        """Whether others hold something of a limit that `want` does not fit into."""
        return any(
            LIMITS[name](ledger.reserved) > 0
            for ledger in self._chain()
            for name in ledger._caps
            if LIMITS[name](want) > ledger._room(name)
        )


@dataclass(slots=True, eq=False)
class _Waiter:
    ledger: Ledger
    want: Usage
    least: Usage
    turn: asyncio.Future[Reservation]

    def withdraw(self, queue: deque[_Waiter]) -> None:
        """Leave the queue; give back what was granted while the caller was being cancelled."""
        if self in queue:
            queue.remove(self)
        elif self.turn.done() and not self.turn.cancelled() and self.turn.exception() is None:
            self.turn.result().settle(NO_USAGE)


def _subtract(total: Usage, part: Usage, rest: Iterable[Usage]) -> Usage:
    """Return `total` less `part`.

    Fractions are added up anew from the `rest`: a rounding error would look like something that is still held, and a
    caller would wait for it for ever.
    """
    left = list(rest) if part.sandbox_seconds or part.usd else None
    return Usage(
        total.prompt_tokens - part.prompt_tokens,
        total.cached_tokens - part.cached_tokens,
        total.completion_tokens - part.completion_tokens,
        total.cancelled_tokens - part.cancelled_tokens,
        total.calls - part.calls,
        total.verifier_calls - part.verifier_calls,
        total.tool_calls - part.tool_calls,
        total.sandbox_seconds if left is None else math.fsum(usage.sandbox_seconds for usage in left),
        total.usd if left is None else math.fsum(usage.usd for usage in left),
        total.nodes - part.nodes,
        total.snapshot_bytes - part.snapshot_bytes,
    )
