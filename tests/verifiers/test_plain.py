"""Plain data on the wire: exact types, nothing of a guest's own, nothing that hurts the host."""

from __future__ import annotations

import collections
import enum
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.verifiers.compare import canonical, close
from branchwise.verifiers.plain import NotPlainError, dump, load, update

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.frozensets(KEYS) | st.sets(KEYS)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_data_comes_back_equal_and_of_the_same_types(value: Any) -> None:
    """What goes through JSON text comes back as it was, and has the same canonical text."""
    wire = json.loads(json.dumps(dump(value)))
    assert repr(load(wire)) == repr(value) or load(wire) == value
    assert canonical(wire) == canonical(dump(value)) == canonical(dump(load(wire)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (1, 1.0),
        ([1], (1,)),
        ({1}, frozenset([1])),
        ("1", b"1"),
        (0, None),
        ({1: 2}, {True: 2}),
        ([], {}),
        (1, 1 + 0j),
    ],
)
def test_equal_is_not_the_same(one: Any, other: Any) -> None:
    """Values that Python calls equal but that have other types are told apart, and so are empty ones."""
    assert canonical(dump(one)) != canonical(dump(other))


def test_order_counts_only_where_it_is_one() -> None:
    """Dicts and sets are equal whatever order they were made in; NaN equals NaN and -0.0 equals 0.0."""
    assert canonical(dump({"a": 1, "b": {2, 3}})) == canonical(dump({"b": {3, 2}, "a": 1}))
    assert canonical(dump([math.nan, -0.0])) == canonical(dump([math.nan, 0.0]))
    assert canonical(dump([1, 2])) != canonical(dump([2, 1]))


def test_subclasses_travel_as_what_they_are_underneath() -> None:
    """A guest's own list, number or text arrives as plain data; its methods stay behind."""

    class Sly(list[int]):
        def __iter__(self) -> Any:
            raise AssertionError("code of the guest")

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    class Number(int):
        def __repr__(self) -> str:
            raise AssertionError("code of the guest")

    kind = enum.IntEnum("kind", {"ONE": 1})
    assert dump([Sly([1, 2]), Number(3), kind["ONE"], collections.Counter("aa")]) == [
        "l",
        ["l", 1, 2],
        3,
        1,
        ["d", ["a", 2]],
    ]


def test_what_is_no_plain_data_is_refused() -> None:
    """Objects, functions, cycles and endless depth have no wire."""
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    for value in (object(), print, cycle, deep, {"a": object()}, int):
        with pytest.raises(NotPlainError):
            dump(value)


@pytest.mark.parametrize(
    "wire",
    [
        [],
        [1, 2],
        {"a": 1},
        ["x", 1],
        ["i", "zz"],
        ["i"],
        ["f", "1e5"],
        ["d", [1]],
        ["d", [["l"], 1]],
        ["s", ["l", 1]],
        ["y", "?"],
        ["r", 1, 2, 0],
        ["r", 1],
        ["o", "mine", 0, "a function"],
        ["c", "a", "b"],
    ],
)
def test_wires_that_are_none(wire: Any) -> None:
    """A wire that no `dump` makes is refused, never guessed at."""
    with pytest.raises(NotPlainError):
        load(wire)


def test_equal_hashes_do_not_slow_the_host() -> None:
    """Keys made to have one hash are refused before a dict is built of them, and comparing never hashes them."""
    keys = [index * ((1 << 61) - 1) for index in range(20_000)]
    wire = ["d", *[[dump(key), 0] for key in keys]]
    begun = time.perf_counter()
    with pytest.raises(NotPlainError, match="same hash"):
        load(wire)
    assert canonical(wire) == canonical(wire)
    assert time.perf_counter() - begun < 5


def test_numbers_close_enough() -> None:
    """With a tolerance ints and floats may stand for each other, but never bools, texts or other shapes."""
    assert close(dump({"a": [1.0, 2]}), dump({"a": [1, 2.0000001]}), 1e-6)
    assert close(dump({1.0, 2.0}), dump({2, 1}), 1e-9)
    assert close(dump(10**400), dump(10**400), 1e-9)
    assert close(dump(math.inf), dump(math.inf), 1e-9)
    for wanted, got in [
        (True, 1),
        ("1", 1),
        ([1], [1, 1]),
        ([1], (1,)),
        ({"a": 1}, {"b": 1}),
        (1.0, 1.1),
        (10**400, 1.0),
        (1, math.nan),
    ]:
        assert not close(dump(wanted), dump(got), 1e-6)


def test_changes_in_place() -> None:
    """Lists, dicts and sets take another's content and keep their identity, at every depth."""
    old: list[Any] = [[1], {"a": [2]}, {3}]
    first, second, third = old
    assert update(old, [[1, 4], {"a": [2, 5], "b": 6}, {7}, 8])
    assert old == [[1, 4], {"a": [2, 5], "b": 6}, {7}, 8]
    assert (old[0] is first, old[1] is second, old[2] is third) == (True, True, True)
    assert not update(old, {"a": 1})
