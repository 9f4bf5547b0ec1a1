from booking import busy_hours, free
from intervals import merge


def test_apart():
    assert merge([(5, 6), (1, 2)]) == [(1, 2), (5, 6)]


def test_joined():
    assert merge([(1, 3), (2, 5)]) == [(1, 5)]


def test_touching():
    assert merge([(1, 3), (3, 5)]) == [(1, 5)]


def test_one_inside_another():
    assert merge([(1, 9), (2, 3), (4, 5)]) == [(1, 9)]


def test_input_is_kept():
    given = [(4, 5), (1, 2)]
    merge(given)
    assert given == [(4, 5), (1, 2)]


def test_busy_hours():
    assert busy_hours([(9, 10), (13, 14)]) == 4


def test_free():
    assert free([(9, 12)], (13, 14))
    assert not free([(9, 12)], (12, 14))
