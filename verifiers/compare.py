"""Comparing plain data as it comes from a guest.

Nothing that a guest chose is hashed or built into a dict or set: ints and tuples with equal hashes would make that slow.
"""
# ruff: noqa: PLR0911 - each kind of data returns for itself
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import json
import math
from typing import Any

from .plain import NotPlainError, load_rare, pair_of, tagged

Wire = Any


def canonical(wire: Wire, depth: int = 0) -> str:
    """Return a text that two wires share exactly if they stand for equal data of equal types. NaN equals NaN here.

    Raises:
        NotPlainError: the wire holds no plain data.
    """
    if wire is None or isinstance(wire, (bool, str)):
        return json.dumps(wire)
    if isinstance(wire, int):
        return f"i{wire:x}"
    if isinstance(wire, float):
        return f"f{wire + 0.0!r}"  # -0.0 is 0.0
    tag: str
    tag, items = tagged(wire, depth)
    if tag in ("l", "t"):
        return tag + "[" + ",".join([canonical(item, depth + 1) for item in items]) + "]"
    if tag in ("s", "z"):
        return tag + "[" + ",".join(sorted({canonical(item, depth + 1) for item in items})) + "]"
    if tag == "d":
        return "d[" + ",".join(f"{key}:{value}" for key, value in sorted(_entries(items, depth).items())) + "]"
    value = load_rare(tag, items)
    return canonical(value) if tag in ("i", "f") else f"{tag}({value!r})"


def _entries(items: list[Wire], depth: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, item in map(pair_of, items):
        name = canonical(key, depth + 1)
        if name in found:
            raise NotPlainError("a dict has the same key twice")
        found[name] = canonical(item, depth + 1)
    return found


def close(wanted: Wire, got: Wire, tolerance: float, depth: int = 0) -> bool:
    """Return whether two wires stand for data that is equal but for small differences of numbers.

    Ints and floats may stand for each other. Keys of dicts must be equal, items of sets may differ only where all of
    them are numbers.

    Args:
        wanted: wire of the expected value.
        got: wire of the value that a guest gave.
        tolerance: largest difference, relative to the larger number or absolute, whichever allows more.
        depth: how deep the wires lie in what was sent.

    Raises:
        NotPlainError: a wire holds no plain data.
    """
    first, second = _number(wanted), _number(got)
    if first is not None and second is not None:
        return _close_numbers(first, second, tolerance)
    if not (isinstance(wanted, list) and isinstance(got, list)):
        return canonical(wanted, depth) == canonical(got, depth)
    (tag, items), (tag_got, items_got) = tagged(wanted, depth), tagged(got, depth)
    if tag != tag_got or len(items) != len(items_got):
        return False
    if tag == "d":
        values, values_got = _by_key(items, depth), _by_key(items_got, depth)
        return values.keys() == values_got.keys() and all(
            close(item, values_got[key], tolerance, depth + 1) for key, item in values.items()
        )
    if tag in ("s", "z") and all(_number(item) is not None for item in items + items_got):
        items, items_got = sorted(items, key=_number), sorted(items_got, key=_number)
    elif tag not in ("l", "t", "c"):
        return canonical(wanted, depth) == canonical(got, depth)
    return all(close(item, other, tolerance, depth + 1) for item, other in zip(items, items_got, strict=True))


def _by_key(items: list[Wire], depth: int) -> dict[str, Wire]:
    return {canonical(key, depth + 1): item for key, item in map(pair_of, items)}


def _number(wire: Wire) -> Any:
    if isinstance(wire, (int, float)) and not isinstance(wire, bool):
        return wire
    if isinstance(wire, list) and wire and wire[0] in ("i", "f"):
        return load_rare(wire[0], wire[1:])
    return None


def _close_numbers(wanted: Any, got: Any, tolerance: float) -> bool:
    if wanted == got or (wanted != wanted and got != got):  # noqa: PLR0124 - NaN
        return True
    try:
        return math.isclose(wanted, got, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an int beyond the range of floats
        return False
