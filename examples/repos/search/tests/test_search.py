from scores import Table
from search import contains, position


def test_empty():
    assert position([], 3) == 0


def test_front():
    assert position([2, 4, 6], 1) == 0


def test_middle():
    assert position([2, 4, 6], 5) == 2


def test_equal():
    assert position([2, 4, 4, 6], 4) == 1


def test_behind():
    assert position([2, 4, 6], 7) == 3


def test_contains():
    assert contains([1, 3], 3)
    assert not contains([1, 3], 4)


def test_table():
    table = Table()
    assert [table.add(n) for n in (9, 7, 5)] == [0, 0, 0]
    assert table.best() == 9
