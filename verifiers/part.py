"""One call of a verifier that makes several, as a verifier of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from ..core.protocols import Model
from ..core.types import Semantics


class AsksModel(Protocol):
    """A verifier that makes model calls."""

    @property
    def name(self) -> str:
        """Shown beside its verdicts."""
        ...

    @property
    def semantics(self) -> Semantics:
        """What its values mean."""
        ...

    @property
    def scope(self) -> Literal["state", "answer", "set"]:
        """What it judges."""
        ...

    @property
    def model(self) -> str | Model | None:
        """Its own model; None asks the agent's."""
        ...


V = TypeVar("V", bound=AsksModel)


@dataclass(frozen=True)
class Part(Generic[V]):
    """What a part has of its verifier.

    Args:
        of: the verifier.
    """

    of: V

    @property
    def name(self) -> str:
        """The verifier's."""
        return self.of.name

    @property
    def semantics(self) -> Semantics:
        """The verifier's."""
        return self.of.semantics

    @property
    def scope(self) -> Literal["state", "answer", "set"]:
        """The verifier's."""
        return self.of.scope

    @property
    def own_models(self) -> Sequence[str | Model]:
        """The verifier's."""
        return () if self.of.model is None else (self.of.model,)
