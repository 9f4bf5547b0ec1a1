"""What is read in a test's source before it runs."""

from __future__ import annotations

import pytest

import branchwise as bw
from branchwise.verifiers import Split
from branchwise.verifiers.split_plan import plan

CHECK = """
def check(candidate):
    assert candidate(1, b="x") == 2
    assert abs(candidate([1, -2.5]) - 1) < 2, candidate
    if candidate:
        assert candidate(3)
    for n in range(3):
        assert candidate(n)
    with open("x"):
        assert candidate(4)
"""


def test_calls_that_are_bound_to_come_first() -> None:
    """Calls with literal arguments are known up to the first statement that does something else."""
    found = plan(CHECK, "f", "solution")
    assert [(row["args"], row["kwargs"]) for row in found.ahead] == [([1], {"b": "x"}), ([["l", 1, -2.5]], {})]
    assert found.style == "check"
    assert (found.asserts, found.bound) == ((3, 4, 6, 8, 10), (3, 4, 8))


@pytest.mark.parametrize(
    "statement",
    [
        "assert f(x) == 1",
        "assert f(1) == 1 or f(2) == 2",
        "assert [f(1) for _ in range(3)]",
        "assert 1 < f(1) < f(2)",
        "assert (lambda: f(1))()",
        "assert f(*[1])",
        "assert f(**{'a': 1})",
        "assert f(f(1))",
        "assert list(map(f, [1]))",
        "while f(1):\n    assert f",
    ],
)
def test_calls_that_may_not_come(statement: str) -> None:
    """Where the source does not tell whether, how often or with what a call is made, it waits for the judge."""
    assert plan(f"x = 1\n{statement}\nassert f(5)", "f", "solution").ahead == ()


def test_names_are_asked_for_ahead() -> None:
    """What a test imports from the judged module is asked for first, under its own name, and called by it."""
    found = plan("from solution import add as plus\n\ndef test_a():\n    assert plus(1, 2) == 3\n", None, "solution")
    assert found.ahead == (
        {"op": "get", "on": "", "name": "add"},
        {"op": "call", "on": "add", "args": [1, 2], "kwargs": {}},
    )
    assert (found.style, found.tests) == ("tests", ("test_a",))


def test_test_cases_are_counted() -> None:
    """Methods of unittest's cases are tests by name."""
    text = "import unittest\nclass A(unittest.TestCase):\n    def test_x(self): pass\n    def helper(self): pass\n"
    assert plan(text, None, "solution").tests == ("A.test_x",)


@pytest.mark.parametrize(
    ("test", "entry", "words"),
    [
        ("x = 1", "f", "accepts everything"),
        ("assert f(:", "f", "no Python"),
        ("def check(candidate):\n    assert candidate(1)", None, "entry="),
        ("def test_x(tmp_path):\n    assert f(1)", None, "fixtures"),
    ],
)
def test_tests_that_cannot_work(test: str, entry: str | None, words: str) -> None:
    """A test that has nothing to say or needs what is not there is refused when the verifier is made."""
    with pytest.raises(bw.UsageError, match=words):
        Split(test, entry)
