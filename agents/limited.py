"""Tools with limits of their own: what their calls may take together, in one search."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from ..core.budget import Ledger
from ..core.errors import BudgetExceeded
from ..core.protocols import Children, Context
from ..core.types import Budget, Result, Task, Usage
from ..tools.tool import Tool
from .states import Paid


class ToolLog(Protocol):
    """Remembers what tools with limits have used; see `models.accounts.CallLog`."""

    def tool_used(self, tool: str) -> tuple[Usage, float]:
        """Return what a tool has spent, and for how many seconds it ran."""
        ...

    def tool_uses(self, tool: str, usage: Usage, seconds: float) -> None:
        """Enter what a tool has spent so far, and for how many seconds it ran."""
        ...


@dataclass
class ToolAccount:
    """What a tool may spend in one search, over all branches and all processes of it.

    Args:
        tool: the tool; it must have limits.
        ledger: of the search.
        log: where it is kept.
    """

    tool: Tool
    ledger: Ledger
    log: ToolLog
    seconds: float = field(init=False)
    """For how long its calls ran, all together."""

    def __post_init__(self) -> None:
        assert self.tool.limits is not None
        spent, self.seconds = self.log.tool_used(self.tool.name)
        # The seconds of a tool are those in which it works, not those since the search began.
        limits = self.tool.limits.model_copy(update={"seconds": None})
        self.ledger = self.ledger.child(limits, spent=spent, whose=f"tool {self.tool.name!r}")

    @property
    def timeout_seconds(self) -> float:
        """How long a call that begins now may take.

        Raises:
            BudgetExceeded: the tool's seconds are used up.
        """
        limit = self.tool.limits.seconds if self.tool.limits is not None else None
        if limit is None:
            return self.tool.timeout_seconds
        if self.seconds >= limit:
            whose = self.ledger.whose
            raise BudgetExceeded("seconds", allowed=limit, spent=self.seconds, asked=0.0, whose=whose)
        return min(self.tool.timeout_seconds, limit - self.seconds)

    @contextmanager
    def paying(self, ctx: Context) -> Generator[None]:
        """Have this account pay for what a call does in its sandbox and for the searches that it starts."""
        children, environment = ctx.children, ctx.environment if isinstance(ctx.environment, Paid) else None
        before = None if environment is None else environment.payer
        if children is not None:
            ctx.children = _PaidChildren(children, self.ledger)
        if environment is not None:
            environment.payer = self.ledger
        began = monotonic()
        try:
            yield
        finally:
            self.seconds += monotonic() - began
            ctx.children = children
            if environment is not None and before is not None:
                environment.payer = before
            self.log.tool_uses(self.tool.name, self.ledger.spent, self.seconds)

    def used_up(self, error: BudgetExceeded) -> bool:
        """Whether it is a limit of the tool that was reached, and not one of the search."""
        return error.whose == self.ledger.whose


@dataclass(frozen=True)
class _PaidChildren:
    """`core.protocols.Children` whose searches are paid from a tool's account."""

    inner: Children
    payer: Ledger

    @property
    def depth(self) -> int:
        return self.inner.depth

    def share(self, part: float) -> Budget:
        return self.payer.share(part)

    def start(
        self,
        name: str,
        agent: Any,
        task: Task,
        *,
        origin: str | None = None,
        budget: Budget | None = None,
        payer: Ledger | None = None,
    ) -> asyncio.Future[Result]:
        return self.inner.start(name, agent, task, origin=origin, budget=budget, payer=payer or self.payer)

    async def cancel(self, name: str) -> None:
        await self.inner.cancel(name)
