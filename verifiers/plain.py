"""Plain data on the wire between a host and the code that it judges.

Plain data is None, bool, int, float, complex, str, bytes, range, and lists, tuples, sets, frozensets and dicts of these.
On the wire each is a JSON value that says its exact type, so that True is not 1, 1 is not 1.0 and a tuple is no list:
None, bool, str, finite floats and ints of up to 63 bits stand for themselves, everything else is an array that begins with
a tag. An instance of a subclass (a `defaultdict`, an `IntEnum`) travels as what it is underneath.

This module serves both sides. Guests get it as text (see `guest_code`): it must run on Python 3.8 with nothing but the
standard library. The host never builds objects of a guest's classes, since there is no tag for them, and compares by
`canonical` or `close`, which hash nothing that a guest chose: ints and tuples with equal hashes would make that slow.
"""
# ruff: noqa: B905, PLR0911 - Python 3.8 knows no `strict`; each kind of data returns for itself
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Hook = Callable[[Any], Any]
    Wire = Any
    """A JSON value that stands for plain data."""

MOST_DEEP = 60
"""How deep data may be nested."""
_MOST_COLLISIONS = 500
_WORD = 1 << 63
_SEQUENCES: list[tuple[Any, str]] = [(list, "l"), (tuple, "t"), (set, "s"), (frozenset, "z")]
_TYPES: dict[str, Any] = {tag: kind for kind, tag in _SEQUENCES}


class NotPlainError(ValueError):
    """The value is no plain data, or the wire holds none."""


def dump(value: Any, other: Hook | None = None, depth: int = 0) -> Wire:
    """Return `value` as it goes on the wire.

    Args:
        value: plain data.
        other: makes the wire of what is no plain data; without it there is no such wire.
        depth: how deep `value` lies in what is sent.

    Raises:
        NotPlainError: it holds something that is no plain data, holds itself, or is nested too deep.
    """
    kind: Any = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if depth > MOST_DEEP:
        raise NotPlainError(f"it is nested more than {MOST_DEEP} deep or holds itself")
    if kind is int:
        return value if -_WORD < value < _WORD else ["i", f"{value:x}"]
    if kind is float:
        return value if math.isfinite(value) else ["f", repr(value)]
    for base, tag in _SEQUENCES:
        if issubclass(kind, base):
            return [tag, *[dump(item, other, depth + 1) for item in base.__iter__(value)]]
    if issubclass(kind, dict):
        items: Any = dict.items(value)
        return ["d", *[[dump(key, other, depth + 1), dump(item, other, depth + 1)] for key, item in items]]
    return _rare(value, kind, other)


def _rare(value: Any, kind: Any, other: Hook | None) -> Wire:
    """Return the wire of a kind of data that is seldom met."""
    if kind is complex:
        return ["c", dump(value.real), dump(value.imag)]
    if issubclass(kind, bytes):
        return ["y", base64.b64encode(bytes.__getitem__(value, slice(None))).decode("ascii")]
    if kind is range:
        return ["r", dump(value.start), dump(value.stop), dump(value.step)]
    if issubclass(kind, int):
        return dump(int.__add__(value, 0))
    if issubclass(kind, float):
        return dump(float.__add__(value, 0.0))
    if issubclass(kind, str):
        return str.__getitem__(value, slice(None))
    if other is None:
        raise NotPlainError(f"it holds {describe(kind)}, which is no plain data")
    return other(value)


def describe(kind: Any) -> str:
    """Return the name of a class of unknown origin, cut short."""
    name: str = type.__dict__["__name__"].__get__(kind)
    return "an object of class " + name[:80]


def load(wire: Wire, other: Hook | None = None, depth: int = 0) -> Any:
    """Return the data that `wire` stands for.

    Args:
        wire: parsed JSON.
        other: reads what the other side's `other` made.
        depth: how deep `wire` lies in what was sent.

    Raises:
        NotPlainError: the wire holds no plain data.
    """
    if wire is None or isinstance(wire, (bool, str, float, int)):
        return wire
    tag, items = _tagged(wire, depth)
    if tag in _TYPES:
        values = [load(item, other, depth + 1) for item in items]
        return _TYPES[tag](_hashable(values) if tag in "sz" else values)
    if tag == "d":
        pairs = [(load(key, other, depth + 1), load(item, other, depth + 1)) for key, item in map(_pair, items)]
        return dict(zip(_hashable([key for key, _ in pairs]), (item for _, item in pairs)))
    if tag == "o" and other is not None:
        return other(items)
    return _load_rare(tag, items)


def _load_rare(tag: str, items: list[Wire]) -> Any:
    try:
        if tag == "i":
            return int(items[0], 16)
        if tag == "f" and items[0] in ("nan", "inf", "-inf"):
            return float(items[0])
        if tag == "c":
            return complex(float(load(items[0])), float(load(items[1])))
        if tag == "y":
            return base64.b64decode(items[0], validate=True)
        if tag == "r":
            start, stop, step = (int(load(item)) for item in items)
            return range(start, stop, step)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise NotPlainError(f"the value marked {tag!r} cannot be read: {error}") from None
    raise NotPlainError(f"there is no plain data marked {tag!r}")


def _tagged(wire: Wire, depth: int) -> Any:
    """Return the tag and the rest of an array."""
    if not isinstance(wire, list) or not wire or not isinstance(wire[0], str):
        raise NotPlainError("an array with a tag was expected")
    if depth > MOST_DEEP:
        raise NotPlainError(f"it is nested more than {MOST_DEEP} deep")
    return wire[0], wire[1:]


def _pair(item: Wire) -> list[Wire]:
    if not isinstance(item, list) or len(item) != 2:
        raise NotPlainError("a key with its value was expected")
    return item


def _hashable(values: list[Any]) -> list[Any]:
    """Return the values if a set of them can be made in reasonable time."""
    try:
        hashes = [hash(value) for value in values]
    except TypeError as error:
        raise NotPlainError(f"a set's item or a dict's key cannot be hashed: {error}") from None
    if len(values) - len(set(hashes)) > _MOST_COLLISIONS:
        raise NotPlainError("too many of its keys have the same hash")
    return values


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
    tag, items = _tagged(wire, depth)
    if tag in ("l", "t"):
        return tag + "[" + ",".join([canonical(item, depth + 1) for item in items]) + "]"
    if tag in ("s", "z"):
        return tag + "[" + ",".join(sorted({canonical(item, depth + 1) for item in items})) + "]"
    if tag == "d":
        return "d[" + ",".join(f"{key}:{value}" for key, value in sorted(_entries(items, depth).items())) + "]"
    value = _load_rare(tag, items)
    return canonical(value) if tag in ("i", "f") else f"{tag}({value!r})"


def _entries(items: list[Wire], depth: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, item in map(_pair, items):
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
    (tag, items), (tag_got, items_got) = _tagged(wanted, depth), _tagged(got, depth)
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
    return all(close(item, other, tolerance, depth + 1) for item, other in zip(items, items_got))


def _by_key(items: list[Wire], depth: int) -> dict[str, Wire]:
    return {canonical(key, depth + 1): item for key, item in map(_pair, items)}


def _number(wire: Wire) -> Any:
    if isinstance(wire, (int, float)) and not isinstance(wire, bool):
        return wire
    if isinstance(wire, list) and wire and wire[0] in ("i", "f"):
        return _load_rare(wire[0], wire[1:])
    return None


def _close_numbers(wanted: Any, got: Any, tolerance: float) -> bool:
    if wanted == got or (wanted != wanted and got != got):  # noqa: PLR0124 - NaN
        return True
    try:
        return math.isclose(wanted, got, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an int beyond the range of floats
        return False


def changed(before: list[Wire], after: Iterable[Wire]) -> list[Any]:
    """Return the index and the new wire of every argument that a call has changed in place."""
    return [[index, new] for index, (old, new) in enumerate(zip(before, after)) if old != new]


def update(old: Any, new: Any) -> bool:
    """Give a list, dict or set in place the content of another; return whether it was of the same kind.

    What lies in it keeps its identity as long as its kind stays the same.
    """
    if type(old) is not type(new):
        return False
    if isinstance(old, list):
        old[:] = [_merged(old[index], item) if index < len(old) else item for index, item in enumerate(new)]
        return True
    if isinstance(old, dict):
        content = {key: _merged(old[key], item) if key in old else item for key, item in new.items()}
        old.clear()
        old.update(content)
        return True
    if isinstance(old, set):
        old.clear()
        old.update(new)
        return True
    return False


def _merged(old: Any, new: Any) -> Any:
    """Return `old` with the content of `new` where it can take it, else `new`."""
    return old if update(old, new) else new
