"""Which layers may stand where in an Archon, and how many candidates and calls there are at most."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import cast

from ...core.errors import UsageError
from ...verifiers.ordering import MOST_ORDERED
from .components import Checker, Component, Critic, Fuser, Generator, Layer, Ranker, UnitTestEvaluator, UnitTestWriter

_COMPONENTS = (Generator, Fuser, Ranker, Critic, Checker, UnitTestWriter, UnitTestEvaluator)
_SEVERAL = (Generator, Fuser)
"""Components of which a layer may have several."""


def layers_of(given: Iterable[Component | Iterable[Component]]) -> tuple[Layer, ...]:
    """Return the layers as they were given, a component alone being a layer of its own.

    Raises:
        UsageError: something in them is no component.
    """
    return tuple(_layer(number, layer) for number, layer in enumerate(given, start=1))


def _layer(number: int, given: object) -> Layer:
    if isinstance(given, _COMPONENTS):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, str):
        raise UsageError(
            f"{given!r} is no layer of an Archon; give a component, such as Generator(), or a list of them"
        )
    parts: list[Component] = []
    for part in cast("Iterable[object]", given):
        if not isinstance(part, _COMPONENTS):
            known = ", ".join(kind.__name__ for kind in _COMPONENTS)
            raise UsageError(f"layer {number} of the Archon has {part!r}; a layer is made of: {known}")
        parts.append(part)
    return tuple(parts)


def check_layers(layers: Sequence[Layer]) -> None:
    """Refuse layers that cannot follow each other like this (Saad-Falcon et al. 2024, rules of construction).

    Only the paper's terminal layer is not taken over: where it would choose one of several candidates by chance, the last
    layer must leave one here.

    Raises:
        UsageError: with the rule that is broken, and what to do.
    """
    if not layers:
        raise UsageError("an Archon needs layers, the first of generators: Archon([Generator(samples=5), Fuser()])")
    for number, layer in enumerate(layers, start=1):
        _check_alike(number, layer)
    kinds = [type(layer[0]) for layer in layers]
    for number, kind in enumerate(kinds, start=1):
        after = kinds[number] if number < len(kinds) else None
        _check_place(number, kind, after, kinds[: number - 1], kinds[number:])
    if not leaves_one(layers[-1]):
        raise UsageError(
            f"the last layer of the Archon, {list(layers[-1])!r}, may leave several candidates; end with one Fuser(), Ranker(top=1) or "
            "UnitTestEvaluator(top=1)"
        )
    if (most := max(candidates_after(layers))) > MOST_ORDERED:
        warnings.warn(
            f"this Archon has up to {most} candidates at once; more than {MOST_ORDERED} are ranked, fused and criticised in groups",
            stacklevel=4,
        )


def _check_alike(number: int, layer: Layer) -> None:
    if not layer:
        raise UsageError(f"layer {number} of the Archon is empty; leave it out")
    if len({type(part) for part in layer}) > 1:
        raise UsageError(
            f"layer {number} of the Archon mixes components, {list(layer)!r}; one layer has one kind: divide it"
        )
    if len(layer) > 1 and not isinstance(layer[0], _SEVERAL):
        raise UsageError(
            f"layer {number} of the Archon has {len(layer)} of {type(layer[0]).__name__}; of generators and fusers there may be several, "
            "of others one: put them in layers of their own"
        )


def _check_place(
    number: int,
    kind: type[Component],
    after: type[Component] | None,
    earlier: Sequence[type[Component]],
    later: Sequence[type[Component]],
) -> None:
    """Refuse a layer where it stands, given the kinds of the layers around it."""
    broken = ""
    if (kind is Generator) != (not earlier):
        broken = "generators stand in the first layer and nowhere else; later candidates come from fusers"
    elif kind is Critic and after not in {Ranker, Fuser}:
        broken = "a critic stands directly before a ranker or a fuser, which reads what it says"
    elif kind is Ranker and later and Fuser not in later:
        broken = "a ranker stands before a fuser, for which it chooses, or at the end"
    elif kind is UnitTestWriter and after is not UnitTestEvaluator:
        broken = "unit tests are evaluated in the layer after the one that writes them: put UnitTestEvaluator() there"
    elif kind is UnitTestEvaluator and (not earlier or earlier[-1] is not UnitTestWriter):
        broken = "unit tests are written in the layer before the one that evaluates them: put UnitTestWriter() there"
    if broken:
        raise UsageError(f"layer {number} of the Archon is a {kind.__name__}: {broken}")


def leaves_one(layer: Layer) -> bool:
    """Whether at most one candidate leaves a layer, however many came in."""
    match layer:
        case (Generator(samples=1) | Fuser(samples=1),):
            return True
        case (Ranker(top=1) | UnitTestEvaluator(top=1, first=None | 1),):
            return True
        case _:
            return False


def candidates_after(layers: Sequence[Layer]) -> list[int]:
    """Return how many candidates leave each layer at most."""
    counts: list[int] = []
    for layer in layers:
        before = counts[-1] if counts else 0
        match layer[0]:
            case Generator() | Fuser():
                counts.append(sum(part.samples for part in layer if isinstance(part, _SEVERAL)))
            case Ranker(top=top):
                counts.append(min(top, before))
            case UnitTestEvaluator(top=top, first=first):
                counts.append(min(max(top, first or 0), before))
            case _:
                counts.append(before)
    return counts


def calls_of(layers: Sequence[Layer]) -> list[int]:
    """Return how many searches and calls each layer makes at most, a tool's turns and the evaluator's code left out.

    Generators and fusers: one search for each sample; a critic, a ranker: one call; a checker: two for each candidate; unit tests:
    one to write them, and one for each candidate that is judged by them. Groups of many candidates cost more.
    """
    counts = [0, *candidates_after(layers)]
    calls: list[int] = []
    for layer, before in zip(layers, counts, strict=False):
        match layer[0]:
            case Generator() | Fuser():
                calls.append(sum(part.samples for part in layer if isinstance(part, _SEVERAL)))
            case Checker():
                calls.append(2 * before)
            case UnitTestEvaluator():
                calls.append(before)
            case Ranker() | Critic() | UnitTestWriter():
                calls.append(1)
    return calls
