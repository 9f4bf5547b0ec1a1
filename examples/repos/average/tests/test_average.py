import pytest
from average import mean, moving, smooth
from weather import trend


def test_mean():
    assert mean([1, 2, 6]) == 3


def test_windows():
    assert moving([1, 2, 3, 4], 2) == [1.5, 2.5, 3.5]


def test_one_window():
    assert moving([1, 2, 3], 3) == [2]


def test_size_one():
    assert moving([1, 2], 1) == [1, 2]


def test_size_is_checked():
    with pytest.raises(ValueError):
        moving([1, 2], 0)


def test_short():
    assert smooth([1, 2], 3) == [1, 2]


def test_trend():
    assert trend([5] * 7 + [9]) == "up"
    assert trend([5] * 8) == "flat"
