"""A model whose calls are entered in the bill of a work item."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.around import AroundModel
from ..core.budget import Bill
from ..core.protocols import Meter, Model
from ..core.types import ModelRequest, ModelResponse


@dataclass(frozen=True)
class Billed(AroundModel):
    """A model as it is lent to a verifier: what it costs is part of what the judgement costs, also where that fails.

    Args:
        inner: the model, already accounted.
        bill: that of the work item.
    """

    inner: Model
    bill: Bill

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return one reply, and enter its cost."""
        try:
            return await self.inner.generate(request, meter)
        finally:
            usage = meter.usage()
            self.bill.add(replace(usage, usd=self.price(usage) or 0.0))

    async def aclose(self) -> None:
        """Leave it open: it is lent."""
