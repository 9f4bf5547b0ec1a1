"""A model inside another one: what wraps a model and changes only how it is called."""

from __future__ import annotations

from .protocols import Model, can_see
from .types import ModelRequest, Usage


class AroundModel:
    """All of a model but `generate`, which whoever derives from this adds."""

    inner: Model
    """The model."""

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

    @property
    def sees(self) -> bool:
        """Whether the model may be shown pictures."""
        return can_see(self.inner)

    def price(self, usage: Usage) -> float | None:
        """US dollars for `usage`."""
        return self.inner.price(usage)

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """An upper bound on the prompt's tokens."""
        return await self.inner.prompt_tokens(request)

    async def aclose(self) -> None:
        """Close the model."""
        await self.inner.aclose()
