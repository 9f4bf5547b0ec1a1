from brackets import balanced, deepest
from lint import problems


def test_none():
    assert balanced("abc")


def test_nested():
    assert balanced("f(a[1], {2: (3)})")


def test_open():
    assert not balanced("((1)")


def test_wrong_kind():
    assert not balanced("(1]")


def test_crossed():
    assert not balanced("([1)]")


def test_closed_too_early():
    assert not balanced(")1(")


def test_deepest():
    assert deepest("a(b(c)(d))") == 2


def test_problems():
    assert problems("f((((1))))") == ["nested too deep"]
    assert problems("f(") == ["unbalanced brackets"]
