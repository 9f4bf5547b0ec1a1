"""Plain data on the wire between a host and the code that it judges.

Plain data is None, bool, int, float, complex, str, bytes, range, and lists, tuples, sets, frozensets and dicts of these.
On the wire each is a JSON value that says its exact type, so that True is not 1, 1 is not 1.0 and a tuple is no list:
None, bool, str, finite floats and ints of up to 63 bits stand for themselves, everything else is an array that begins with
a tag. An instance of a subclass (a `defaultdict`, an `IntEnum`) travels as what it is underneath.

This module serves both sides. Guests get it as text (see `guest_code`): it must run on Python 3.8 with nothing but the
standard library. The host never builds objects of a guest's classes, since there is no tag for them.
"""
# ruff: noqa: B905, PLR0911 - Python 3.8 knows no `strict`; each kind of data returns for itself
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import base64
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
    tag, items = tagged(wire, depth)
    if tag in _TYPES:
        values = [load(item, other, depth + 1) for item in items]
        return _TYPES[tag](_hashable(values) if tag in "sz" else values)
    if tag == "d":
        pairs = [(load(key, other, depth + 1), load(item, other, depth + 1)) for key, item in map(pair_of, items)]
        return dict(zip(_hashable([key for key, _ in pairs]), (item for _, item in pairs)))
    if tag == "o" and other is not None:
        return other(items)
    return load_rare(tag, items)


def load_rare(tag: str, items: list[Wire]) -> Any:
    """Return data of a kind that is seldom met."""
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


def tagged(wire: Wire, depth: int) -> Any:
    """Return the tag and the rest of an array."""
    if not isinstance(wire, list) or not wire or not isinstance(wire[0], str):
        raise NotPlainError("an array with a tag was expected")
    if depth > MOST_DEEP:
        raise NotPlainError(f"it is nested more than {MOST_DEEP} deep")
    return wire[0], wire[1:]


def pair_of(item: Wire) -> list[Wire]:
    """Return a key and its value, as wires."""
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
