"""`Split` in real sandboxes: the test in one, the code in another."""

from __future__ import annotations

import pytest

from branchwise.verifiers import Split

from .bench import Bench

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

CHECK = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(x=3) == 4\n    for n in range(3):\n        assert candidate(n) == n + 1\n"
INC = "def inc(x):\n    return x + 1\n"

MIXED = """
import unittest
from solution import LIMIT, Failed, Stack, boom, each, endless, maker, push, upto


class Cases(unittest.TestCase):
    def test_in_place(self):
        inner = [3]
        outer = [inner]
        push(outer, value=4)
        self.assertEqual(outer, [[3, 4]])
        self.assertIs(outer[0], inner)

    def test_callback(self):
        seen = []
        self.assertEqual(each(lambda x: seen.append(x) or x * 2, [1, 2]), [2, 4])
        self.assertEqual(seen, [1, 2])

    def test_iterators(self):
        self.assertEqual(list(upto(3)), [0, 1, 2])
        self.assertEqual(each(str, (n for n in range(2))), ["0", "1"])
        self.assertEqual([n for n, _ in zip(endless(), range(2))], [0, 1])

    def test_closures_and_objects(self):
        self.assertEqual(list(map(maker(1), [1, 2])), [2, 3])
        stack = Stack()
        stack.push(1)
        self.assertEqual((stack.size, stack.pop()), (1, 1))

    def test_exceptions(self):
        with self.assertRaises(Failed) as caught:
            boom()
        self.assertEqual(str(caught.exception), "oops")
        with self.assertRaises(ValueError):
            boom()
        with self.assertRaisesRegex(RuntimeError, "from the test"):
            each(raiser, [1])


def raiser(_):
    raise RuntimeError("from the test")


def test_constant():
    assert LIMIT == 10


async def test_async():
    assert LIMIT == 10
"""
SOLUTION = """
import itertools

LIMIT = 10


class Failed(ValueError):
    pass


def boom():
    raise Failed("oops")


def push(outer, value):
    outer[0].append(value)


def each(f, xs):
    return [f(x) for x in xs]


def upto(n):
    yield from range(n)


def endless():
    return itertools.count()


def maker(n):
    return lambda x: x + n


class Stack:
    def __init__(self):
        self.items = []

    def push(self, x):
        self.items.append(x)

    def pop(self):
        return self.items.pop()

    @property
    def size(self):
        return len(self.items)
"""


async def test_check_functions(empty: Bench) -> None:
    """A `check(candidate)` is run against the named function, and its asserts are counted."""
    right = await empty.judge(Split(CHECK, "inc", file="solution.py"), {"solution.py": INC})
    assert (right.value, right.passed, right.integrity, right.feedback) == (1.0, True, "split", "3 of 3 asserts hold")
    wrong = await empty.judge(Split(CHECK, "inc", file="solution.py"), {"solution.py": "def inc(x):\n    return 2\n"})
    assert (wrong.value, wrong.passed) == (pytest.approx(1 / 3), False)
    assert wrong.feedback == "1 of 3 asserts hold\na hidden test fails"
    told = await empty.judge(
        Split(CHECK, "inc", file="solution.py", reveal=True), {"solution.py": "def inc(x):\n    return 2\n"}
    )
    assert told.feedback.endswith("line 3: AssertionError")


async def test_everything_that_can_be_passed(empty: Bench) -> None:
    """Changes in place, functions, iterators, closures, objects, exceptions and constants work as in one process."""
    verdict = await empty.judge(Split(MIXED, file="solution.py", reveal=True), {"solution.py": SOLUTION})
    assert verdict.feedback == "7 of 7 tests pass"
    assert verdict.passed


async def test_code_in_an_answer_with_plain_asserts(empty: Bench) -> None:
    """Asserts that call the function by its name judge the code of an answer."""
    verifier = Split("assert inc(1) == 2\nassert inc(2) == 3", "inc", count=2)
    assert (await empty.judge(verifier, answer=f"```python\n{INC}```")).passed
    assert not (await empty.judge(Split("assert inc(1) == 2", "inc", count=2), answer=INC)).passed


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "class A:\n    def __eq__(self, other):\n        return True\n\ndef inc(x):\n    return A()\n",
            "no plain data",
        ),
        ("import os\n\ndef inc(x):\n    os._exit(0)\n", "ended without an answer"),
        ("import sys\nsys.exit(0)\n", "hidden test fails"),
        ("def inc(x):\n    while True:\n        pass\n", "took longer than"),
        ("def inc(x):\n    raise StopIteration\n", "hidden test fails"),
    ],
    ids=["equal", "exit", "import", "loop", "stop"],
)
async def test_ways_to_fail(empty: Bench, code: str, words: str) -> None:
    """Nothing that the code can do instead of answering passes or ends the judge; the reason is told."""
    test = "for got, want in zip(map(inc, [1, 2]), [2, 3]):\n    assert got == want\n"
    verdict = await empty.judge(Split(test, "inc", file="solution.py", timeout_seconds=2), {"solution.py": code})
    assert verdict.passed is False
    assert words in verdict.feedback


async def test_the_test_itself_may_fail_to_end(empty: Bench) -> None:
    """A test that loops or leaves is no pass."""
    for test in ("import os\nos._exit(0)\nassert inc(1) == 2", "assert inc(1) == 2\nwhile True:\n    pass"):
        verdict = await empty.judge(Split(test, "inc", file="solution.py", timeout_seconds=0.5), {"solution.py": INC})
        assert verdict.passed is False


async def test_the_test_is_not_in_the_candidates_sandbox(empty: Bench) -> None:
    """Code that looks for the test among its files, frames and objects finds nothing of it."""
    code = (
        "import gc, os, sys\n\ndef inc(x):\n"
        "    files = [f for _, _, names in os.walk('/workspace') for f in names]\n"
        "    texts = [t for t in gc.get_objects() if isinstance(t, (dict, list)) and 'SECRET' in repr(t)[:10000]]\n"
        "    return [files, len(texts)]\n"
    )
    test = "SECRET = 'SECRET'\nassert inc(1) == [['solution.py'], 0], inc(1)"
    assert (await empty.judge(Split(test, "inc", file="solution.py", reveal=True), {"solution.py": code})).passed
