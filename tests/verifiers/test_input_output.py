"""`InputOutput` in a real sandbox: hidden cases, compared on the host."""

from __future__ import annotations

from typing import Any

import pytest

import branchwise as bw
from branchwise.verifiers import Case, InputOutput

from .bench import Bench

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

ADD = "def add(a, b):\n    print('noise')\n    return a + b\n"
CASES = [
    Case((1, 2), 3),
    Case(([1], [2]), [1, 2]),
    Case((0.5, 1), 1.5),
    Case((10**400, 1), 10**400 + 1),
    Case((1, ""), raises="TypeError"),
]


@pytest.mark.parametrize("fresh", [True, False])
async def test_right_code_is_accepted(empty: Bench, *, fresh: bool) -> None:
    """A function that gives every output is accepted, whatever it prints."""
    verdict = await empty.judge(InputOutput(CASES, "add", file="solution.py", fresh=fresh), {"solution.py": ADD})
    assert (verdict.value, verdict.passed, verdict.integrity) == (1.0, True, "host-io")


@pytest.mark.parametrize("fresh", [True, False])
async def test_wrong_code_scores_its_share_and_learns_nothing(empty: Bench, *, fresh: bool) -> None:
    """The score is the share of cases; feedback has no word of a hidden case, not even in the names of exceptions."""
    code = "def add(a, b):\n    if a == 1:\n        return float(a) + b\n    raise type(f'got_{a}', (ValueError,), {})(a)\n"
    verdict = await empty.judge(InputOutput(CASES[:2], "add", file="solution.py", fresh=fresh), {"solution.py": code})
    assert (verdict.value, verdict.passed) == (0.0, False)
    assert verdict.feedback == "0 of 2 cases pass\nHidden cases: it raised ValueError; wrong value"


async def test_shown_cases_are_told(empty: Bench) -> None:
    """Cases that may be shown appear with input, expected output and what came out."""
    verifier = InputOutput(CASES[:2], "add", file="solution.py", shown=1)
    verdict = await empty.judge(verifier, {"solution.py": "def add(a, b):\n    return a - b\n"})
    assert verdict.feedback.splitlines()[1] == "add(1, 2) should give 3: wrong value: -1"
    assert "[1]" not in verdict.feedback


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def f(x):\n    while True:\n        pass\n", "longer than 1 s"),
        ("import os\nos._exit(0)\n", "without an answer"),
        ("def f(x:\n", "it raised SyntaxError"),
        ("def g(x):\n    return 1\n", "it raised AttributeError"),
        ("def f(x):\n    return object()\n", "no plain data"),
        ("def f(x):\n    return 'x' * (1 << 22)\n", "more than 1 MiB"),
        ("def f(x):\n    return True\n", "wrong value"),
        ("import os\ndef f(x):\n    if os.fork():\n        os.wait()\n    return 1\n", "not asked"),
        ("import sys\nsys.setrecursionlimit(10**6)\ndef f(x):\n    return f(x)\n", ""),
    ],
    ids=["loop", "exit", "syntax", "missing", "object", "flood", "type", "fork", "recursion"],
)
async def test_ways_to_fail(empty: Bench, code: str, problem: str) -> None:
    """Whatever the code does instead of answering is a failed case with a reason."""
    verifier = InputOutput([Case((1,), 1)], "f", file="solution.py", timeout_seconds=1)
    verdict = await empty.judge(verifier, {"solution.py": code})
    assert verdict.passed is False
    assert problem in verdict.feedback


async def test_time_outs_do_not_add_up(empty: Bench) -> None:
    """After two cases that took too long the others are not waited for."""
    verifier = InputOutput([Case((n,), n) for n in range(20)], "f", file="solution.py", timeout_seconds=0.5)
    verdict = await empty.judge(verifier, {"solution.py": "import time\ndef f(x):\n    time.sleep(9)\n"})
    assert verdict.feedback.startswith("0 of 20 cases pass")


async def test_code_in_an_answer(empty: Bench) -> None:
    """The last Python block of an answer is judged, here a method of a class."""
    answer = "First:\n```python\nclass A: pass\n```\nbetter:\n```python\nclass Solution:\n    def inc(self, x):\n        return x + 1\n```\n"
    verifier = InputOutput([Case((1,), 2)], "Solution().inc")
    assert verifier.scope == "answer"
    assert (await empty.judge(verifier, answer=answer)).passed


async def test_programs(empty: Bench) -> None:
    """A program reads its input and arguments; what it prints is compared line by line, its status must be 0."""
    code = "import sys\nprint(int(input()) * int(sys.argv[1]), ' ')\nsys.exit(int(sys.argv[1]) // 100)\n"
    cases = [Case(("2",), "6", stdin="3\n"), Case(("3",), "9\n", stdin="3\n")]
    assert (await empty.judge(InputOutput(cases, file="main.py"), {"main.py": code})).passed
    shell = InputOutput(cases, command=("python3", "main.py"))
    assert (await empty.judge(shell, {"main.py": code})).passed
    failed = await empty.judge(InputOutput([Case(("100",), "300", stdin="3\n")], file="main.py"), {"main.py": code})
    assert "ended with status 1" in failed.feedback


async def test_tolerance_and_checker(empty: Bench) -> None:
    """A tolerance lets numbers differ, a checker accepts any of many right outputs and may fail on odd ones."""
    third = {"solution.py": "def f(x):\n    return x / 3\n"}
    assert not (await empty.judge(InputOutput([Case((1,), 0.3333)], "f", file="solution.py"), third)).passed
    assert (await empty.judge(InputOutput([Case((1,), 0.3333)], "f", file="solution.py", tolerance=1e-3), third)).passed

    def divides(case: Case, output: Any) -> bool:
        return bool(case.args[0] % output == 0)

    verifier = InputOutput([Case((9,))], "f", file="solution.py", check=divides)
    assert (await empty.judge(verifier, {"solution.py": "def f(x):\n    return 3\n"})).passed
    odd = await empty.judge(verifier, {"solution.py": "def f(x):\n    return 'none'\n"})
    assert "the checker raised TypeError" in odd.feedback


async def test_cases_of_a_task(empty: Bench) -> None:
    """Cases may depend on the task; a task without any cannot be judged."""
    with pytest.raises(bw.VerifierError, match="no cases"):
        await empty.judge(InputOutput(lambda task: [], "f", file="solution.py"), {"solution.py": "def f(): pass\n"})
