"""Constraints as data: short statements that a result must fulfil, some of which make sense only where others are met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from ..core.errors import UsageError
from ..core.protocols import Verifier
from ..core.types import JSON


@dataclass(frozen=True, slots=True)
class Constraint:
    """One statement that can be checked by itself.

    Args:
        text: what must hold; the model that solves the task reads it.
        name: what others call it in `needs`; "c1", "c2" ... by its place unless given.
        needs: names of those that must be met before it can be checked at all.
        weight: what it is worth beside the others, > 0.
        check: a verifier that decides it by running code; None has a model decide.

    Raises:
        UsageError: the text is empty, the weight not positive, or the check no verifier of single candidates.
    """

    text: str
    name: str = ""
    needs: tuple[str, ...] = ()
    weight: float = 1.0
    check: Verifier | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise UsageError("a constraint says nothing; write what must hold: Constraint('at most 200 words')")
        if not self.weight > 0:
            raise UsageError(f"constraint {self.text[:40]!r} has weight={self.weight!r}; it must be above 0")
        scope = None if self.check is None else getattr(self.check, "scope", "nothing: it is no verifier")
        if scope not in {None, "answer", "state"}:
            raise UsageError(
                f"constraint {self.text[:40]!r} is checked by {self.check!r}, which judges {scope}; give a verifier of "
                "answers or states, for example a function with @branchwise.verifier"
            )

    def to_json(self) -> dict[str, JSON]:
        """The constraint as plain data, without its check."""
        return {"text": self.text, "name": self.name, "needs": [*self.needs], "weight": self.weight}

    @classmethod
    def from_json(cls, row: Mapping[str, JSON]) -> Constraint:
        """Return the constraint that `to_json` wrote."""
        return cls(str(row["text"]), str(row["name"]), tuple(map(str, row["needs"])), float(row["weight"]))


@dataclass(frozen=True)
class Checklist:
    """Constraints in an order in which they can be checked.

    Args:
        constraints: all of them, at least one.

    Raises:
        UsageError: none, a name twice, or needs that are unknown or go in a circle.
    """

    constraints: tuple[Constraint, ...]
    layers: tuple[tuple[Constraint, ...], ...] = field(init=False, repr=False, compare=False)
    """Those that need nothing; then those that need only these; and so on."""

    def __post_init__(self) -> None:
        if not self.constraints:
            raise UsageError("a checklist has no constraints; give at least one")
        named = tuple(
            c if c.name else Constraint(c.text, f"c{place}", c.needs, c.weight, c.check)
            for place, c in enumerate(self.constraints, start=1)
        )
        object.__setattr__(self, "constraints", named)
        object.__setattr__(self, "layers", tuple(_layers(named)))

    def __iter__(self) -> Iterator[Constraint]:
        return iter(self.constraints)

    def applicable(self, layer: Sequence[Constraint], met: Mapping[str, bool]) -> list[Constraint]:
        """Return those of a layer whose needs are all met; the others are not applicable and not checked."""
        return [constraint for constraint in layer if all(met.get(need, False) for need in constraint.needs)]

    def value(self, met: Mapping[str, bool]) -> float:
        """Return the weight of those that are met as a share of all; what was not checked is not met."""
        total = sum(constraint.weight for constraint in self)
        return sum(constraint.weight for constraint in self if met.get(constraint.name, False)) / total

    def lines(self) -> str:
        """Return all of them as a list for a prompt."""
        return "\n".join(f"- {constraint.text}" for constraint in self)


def _layers(constraints: Sequence[Constraint]) -> Iterator[tuple[Constraint, ...]]:
    names = [constraint.name for constraint in constraints]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"several constraints are called {min(twice)!r}; give each a name of its own")
    for constraint in constraints:
        if unknown := [need for need in constraint.needs if need not in names]:
            raise UsageError(
                f"constraint {constraint.name!r} needs {unknown[0]!r}, which is none; there are: {', '.join(names)}"
            )
    sorter = TopologicalSorter({constraint.name: constraint.needs for constraint in constraints})
    try:
        sorter.prepare()
    except CycleError as error:
        raise UsageError(
            f"constraints need each other in a circle: {' -> '.join(error.args[1])}; leave one need out"
        ) from error
    while sorter.is_active():
        ready = sorter.get_ready()
        yield tuple(constraint for constraint in constraints if constraint.name in ready)
        sorter.done(*ready)
