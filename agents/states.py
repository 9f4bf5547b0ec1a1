"""The states of a run's sandboxes: opened, kept, paid for, and made again where one was dropped."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from ..core.budget import Bill, Ledger
from ..core.errors import BudgetExceeded, SandboxError
from ..core.protocols import Environment, Process, Sandboxes
from ..core.types import Command, ExecResult, Node, Place, StateCost, StatesReport, Usage

if TYPE_CHECKING:
    from .acting import Actor

_LEAST_SECONDS = 0.001
"""What must be left of the budget's `sandbox_seconds` for a state to be opened or kept."""


@dataclass
class StateLog:
    """What was done to states, and what it took."""

    keep_seconds: list[float] = field(default_factory=list[float])
    open_seconds: list[float] = field(default_factory=list[float])
    new_files: int = 0
    new_bytes: int = 0
    replayed: int = 0

    def report(self, *, stored_bytes: int, dropped: int, dropped_bytes: int) -> StatesReport:
        """Return it in the form in which a result has it."""
        return StatesReport(
            kept=len(self.keep_seconds),
            opened=len(self.open_seconds),
            keep_ms=1000 * median(self.keep_seconds or [0.0]),
            open_ms=1000 * median(self.open_seconds or [0.0]),
            new_files=self.new_files,
            new_bytes=self.new_bytes,
            stored_bytes=stored_bytes,
            dropped=dropped,
            dropped_bytes=dropped_bytes,
            replayed=self.replayed,
        )


class States:
    """Opens states of a run.

    Args:
        sandboxes: the supply of environments.
        ledger: pays for what runs in them and for keeping and bringing back states.
    """

    def __init__(self, sandboxes: Sandboxes, ledger: Ledger) -> None:
        self.log = StateLog()
        self.in_use: Counter[str] = Counter()
        """States that are being opened or made again: not to be dropped now."""
        self._sandboxes = sandboxes
        self._ledger = ledger
        self._making: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def open(self, ref: str | None, bill: Bill) -> AsyncGenerator[Paid]:
        """Open a fresh environment in a state (None: an empty one), closed on leaving the block."""
        with self._using(ref):
            await _check_left(self._ledger)
            environment = await self._sandboxes.open(ref)
        paid = Paid(environment, self._ledger, bill, self.log)
        try:
            paid.settle(self.log.open_seconds)
            yield paid
        finally:
            await paid.close()

    async def ensure(self, path: Sequence[Node], actor: Actor, bill: Bill) -> None:
        """See that the state of the path's last node is there: one that was dropped is made again by its actions.

        It starts from the nearest ancestor whose state is there, and what comes out after every step is compared with what
        the search had seen there, by its content address.

        Raises:
            SandboxError: an action did something else this time.
        """
        ref = path[-1].env_ref
        if ref is None or self._sandboxes.snapshots.holds(ref):
            return
        async with self._making.setdefault(ref, asyncio.Lock()):
            if self._sandboxes.snapshots.holds(ref):
                return
            start = max((n for n, node in enumerate(path) if self._holds(node.env_ref)), default=0)
            with self._using(*(node.env_ref for node in path[start:])):
                async with self.open(path[start].env_ref, bill) as environment:
                    for number in range(start + 1, len(path)):
                        await _redo(path[: number + 1], actor, cast("Environment", environment), bill)
            self.log.replayed += 1
        self._making.pop(ref, None)

    def _holds(self, ref: str | None) -> bool:
        return ref is None or self._sandboxes.snapshots.holds(ref)

    @contextmanager
    def _using(self, *refs: str | None) -> Generator[None]:
        held = [ref for ref in refs if ref is not None]
        self.in_use.update(held)
        try:
            yield
        finally:
            self.in_use.subtract(held)
            self.in_use += Counter()  # without those that are at zero


async def _redo(path: Sequence[Node], actor: Actor, environment: Environment, bill: Bill) -> None:
    """Take the last step of a path once more and compare what comes out."""
    node = path[-1]
    if node.step is None or not node.step.calls or node.step.held:
        return  # what was only said, or held back, changed no file
    await actor.redo(path[:-1], node.step, environment, bill)
    found = await environment.snapshot()
    if found != node.env_ref:
        tools = sorted({call.name for call in node.step.calls})
        actor.unstable.update(tools)
        raise SandboxError(
            f"the state of node {node.id} had been dropped to make room, and doing its actions again ({', '.join(tools)}) "
            "led to another state, which is not searched on; raise Budget(snapshot_bytes=...), or make these tools do "
            "the same every time"
        )


async def _check_left(ledger: Ledger) -> None:
    """See that some of the budget's `sandbox_seconds` is left.

    Raises:
        BudgetExceeded: none is.
    """
    if ledger.limits("sandbox_seconds"):
        (await ledger.reserve(Usage(sandbox_seconds=_LEAST_SECONDS))).settle(Usage())


class Paid:
    """An environment whose time is paid from a ledger; everything else goes straight through.

    Programs reserve their time before they run. Keeping and bringing back a state is charged after it, for it may have to
    wait for others, and what is reserved meanwhile would make them wait too; never more is charged than is left.
    """

    def __init__(self, inner: Environment, ledger: Ledger, bill: Bill, log: StateLog) -> None:
        self.payer = ledger
        """What pays for what is done from now on."""
        self._inner = inner
        self._bill = bill
        self._log = log
        self._charged = StateCost()
        """What of the environment's cost was charged already."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def place(self) -> Place | None:
        """The page that is shown, where the environment has pages."""
        shown: Place | None = getattr(self._inner, "place", None)
        return shown

    async def over(self) -> bool:
        """Return whether the environment has come to an end by itself, where it knows of ends."""
        asked: Callable[[], Awaitable[bool]] | None = getattr(self._inner, "over", None)
        return asked is not None and await asked()

    async def exec(self, command: Command, *, timeout_seconds: float = 60.0, **options: Any) -> ExecResult:
        """Run a program, for at most what is left of the budget's `sandbox_seconds`."""
        async with self._running(timeout_seconds) as allowed:
            return await self._inner.exec(command, timeout_seconds=allowed, **options)

    @asynccontextmanager
    async def start(
        self, command: Command, *, timeout_seconds: float = 60.0, **options: Any
    ) -> AsyncGenerator[Process]:
        """Run a program and talk to it, for at most half of what is left of the budget's `sandbox_seconds`.

        The other half is for a second program that it may talk to, such as a judge and what it judges.
        """
        async with (
            self._running(timeout_seconds, share=0.5) as allowed,
            self._inner.start(command, timeout_seconds=allowed, **options) as process,
        ):
            yield process

    @asynccontextmanager
    async def _running(self, timeout_seconds: float, *, share: float = 1.0) -> AsyncGenerator[float]:
        left = self.payer.left("sandbox_seconds")
        if left is None:
            allowed = timeout_seconds
        elif not self._bill.running:
            allowed = min(timeout_seconds, max(share * left, 0.01))
        else:
            # The same work item holds a part already, and may not give it back before this program has run: waiting for it
            # could be waiting for ever. What nobody holds has to do, and where that is nothing the reservation fails.
            allowed = min(timeout_seconds, left)
            if allowed < _LEAST_SECONDS:
                raise BudgetExceeded(
                    "sandbox_seconds",
                    allowed=self.payer.budget.sandbox_seconds or 0.0,
                    spent=self.payer.spent.sandbox_seconds,
                    asked=_LEAST_SECONDS,
                    whose=self.payer.whose,
                )
        with await self.payer.reserve(Usage(sandbox_seconds=allowed)) as held:
            self._bill.running += 1
            began = monotonic()
            try:
                yield allowed
            finally:
                self._bill.running -= 1
                # Never more than was held: what the worker needs on top of the program is not the program's.
                held.actual = Usage(sandbox_seconds=min(allowed, monotonic() - began))
                self._bill.add(held.actual)

    async def snapshot(self) -> str:
        """Keep the present state and return its address."""
        await _check_left(self.payer)
        try:
            return await self._inner.snapshot()
        finally:
            self.settle(self._log.keep_seconds)

    async def restore(self, ref: str) -> None:
        """Make the state that of a snapshot."""
        await _check_left(self.payer)
        try:
            await self._inner.restore(ref)
        finally:
            self.settle(self._log.open_seconds)

    async def fork(self) -> Paid:
        """Return a second environment in the same state."""
        await _check_left(self.payer)
        try:
            return Paid(await self._inner.fork(), self.payer, self._bill, self._log)
        finally:
            self.settle(self._log.keep_seconds)

    async def close(self) -> None:
        """Give the sandbox back. A fork may have been opened as late as by its first use: that is charged now."""
        if self._inner.cost != self._charged:
            self.settle(self._log.open_seconds)
        await self._inner.close()

    def settle(self, times: list[float]) -> None:
        """Charge what operations on states have cost since the last time, and note their time in `times`."""
        cost = self._inner.cost - self._charged
        self._charged = self._inner.cost
        left = self.payer.left("sandbox_seconds")
        seconds = cost.seconds if left is None else min(cost.seconds, left)
        usage = Usage(sandbox_seconds=seconds, snapshot_bytes=cost.new_bytes)
        self.payer.charge(usage)
        self._bill.add(usage)
        times.append(cost.seconds)
        self._log.new_files += cost.new_files
        self._log.new_bytes += cost.new_bytes
