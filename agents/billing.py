"""A model whose calls are entered in the bill of a work item."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.budget import Bill
from ..core.protocols import Meter, Model
from ..core.types import ModelRequest, ModelResponse, Usage


@dataclass(frozen=True)
class Billed:
    """A model as it is lent to a verifier: what it costs is part of what the judgement costs, also where that fails.

    Args:
        inner: the model, already accounted.
        bill: that of the work item.
    """

    inner: Model
    bill: Bill

    @property
    def name(self) -> str:
        """The model's name."""
        return self.inner.name

    @property
    def slots(self) -> int:
        """The endpoint's slots."""
        return self.inner.slots

    @property
    def native_tools(self) -> bool:
        """The model's own way of calling tools."""
        return self.inner.native_tools

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return one reply, and enter its cost."""
        try:
            return await self.inner.generate(request, meter)
        finally:
            usage = meter.usage()
            self.bill.add(replace(usage, usd=self.price(usage) or 0.0))

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """An upper bound on the prompt's tokens."""
        return await self.inner.prompt_tokens(request)

    def price(self, usage: Usage) -> float | None:
        """US dollars for `usage`."""
        return self.inner.price(usage)

    async def aclose(self) -> None:
        """Leave it open: it is lent."""
