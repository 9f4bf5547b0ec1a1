"""`WrittenTests`: tests that a model writes from the task alone."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from branchwise.core.errors import UsageError, VerifierError
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, NodeId, Task
from branchwise.verifiers import Case, WrittenTests
from branchwise.verifiers.asserts import agreed, read_asserts
from branchwise.verifiers.written_tests import discriminating

from .bench import Bench
from .judged import Counting, candidate_of, tree_of

LINES = [
    "assert add(2, 3) == 5",
    "assert add([1], b=[2]) == [1, 2]",
    "assert add(2, 3) == 5  # again",
    "assert 7 == add(3, 4)",
    "assert not add(0, 0)",
    "assert add(1, 1) is True",
    "assert add(9, 9) == 18",
    "assert add(9, 9) == 17",
    "assert sub(2, 3) == 5",
    "assert add(x, 3) == 5",
    "assert add(2, 3) == open('/etc/passwd')",
    "assert add(*[1, 2]) == 3",
    "assert add(**{'a': 1}) == 3",
    "import os",
    "assert add(2, 3) == 5; import os",
    "assert (",
    "assert " + "(" * 500 + ")" * 500,
]


def test_lines_are_read_as_cases_and_nothing_else_of_them_is_run() -> None:
    """Literal calls of the one function; what contradicts itself is left out, both ways."""
    cases = read_asserts(LINES, "add")
    assert [(case.args, dict(case.kwargs), case.expected) for case in cases] == [
        ((2, 3), {}, 5),
        (([1],), {"b": [2]}, [1, 2]),
        ((3, 4), {}, 7),
        ((0, 0), {}, False),
        ((1, 1), {}, True),
    ]
    assert cases[0].name == "assert add(2, 3) == 5"


def writing(tests: list[str]) -> ScriptedModel:
    """A model that writes these tests; as a judge of statements it passes those that stand in the solution."""

    def script(request: ModelRequest) -> str:
        properties = (request.response_schema or {})["properties"]
        if "tests" in properties:
            return json.dumps({"tests": tests})
        listed = request.messages[1].content.partition("Statements:\n")[2].splitlines()
        solution = fences(request)["solution"]
        return json.dumps(
            {f"s{n}": "pass" if text.partition(". ")[2] in solution else "fail" for n, text in enumerate(listed, 1)}
        )

    return ScriptedModel(script)


RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
WRONG = "```python\ndef add(a, b):\n    return a - b\n```"
FORGED = "```python\nclass Any:\n    __eq__ = lambda s, o: True\ndef add(a, b):\n    import os; os._exit(0)\n```"
FICKLE = "```python\nimport os, time\ndef add(a, b):\n    return a + b + (time.time_ns() // 1000) % 2 * (1 if a == 1 else 0)\n```"


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_code_is_judged_by_what_the_tests_want_and_cannot_forge_it(empty: Bench) -> None:
    """The host compares, as with hidden cases; a test that comes out differently has failed; nothing is accepted unasked."""
    tree = tree_of(RIGHT, WRONG, FORGED)
    model = writing([*LINES[:2], LINES[3], "no test"])
    judge = WrittenTests(function="add", repeat=1)
    verdicts = [await judge.judge(candidate_of(tree, node, model=model, open=empty.open)) for node in (1, 2, 3)]
    assert [verdict.value for verdict in verdicts] == [1.0, 0.0, 0.0]
    assert {verdict.passed for verdict in verdicts} == {None}
    assert {verdict.integrity for verdict in verdicts} == {"host-io"}
    assert "not passed: assert add(2, 3) == 5" in verdicts[1].feedback
    assert len(model.requests) == 1, "the tests of a task are written once in a run"
    fickle = tree_of(FICKLE)
    often = WrittenTests(function=lambda _task: "add", repeat=12, accept=1.0)
    verdict = await often.judge(
        candidate_of(fickle, 1, model=writing(["assert add(1, 3) == 4", "assert add(2, 3) == 5"]), open=empty.open)
    )
    assert (verdict.per_constraint, verdict.passed) == (
        {"assert add(1, 3) == 4": 0.0, "assert add(2, 3) == 5": 1.0},
        False,
    )


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
async def test_only_tests_that_tell_candidates_apart_count_when_they_are_compared(empty: Bench) -> None:
    """A wrong test that nobody passes and one that all pass change nothing."""
    tests = ["assert add(4, 4) == 9", "assert add(5, 0) == 5", "assert add(2, 3) == 5", "assert add(1, 1) == 2"]
    counting = Counting()
    candidate = candidate_of(tree_of(WRONG, RIGHT), 0, model=writing(tests), open=empty.open, charged=counting)
    verdict = await WrittenTests(function="add", repeat=1, scope="set").judge(candidate)
    assert verdict.ranking == {1: 0.0, 2: 1.0}
    assert verdict.per_constraint == {"tests": 4.0, "kept": 2.0}
    assert counting.calls == ["written-tests"] * 2


async def test_statements_are_judged_by_a_model_and_written_once_for_all() -> None:
    """Candidates that come at once wait for the same tests."""
    tree = tree_of("names Paris and London", "names Paris", "names nothing")
    model = writing(["Paris", "London", "Paris"])
    judge = WrittenTests()
    verdicts = await asyncio.gather(*(judge.judge(candidate_of(tree, node, model=model)) for node in (1, 2, 3)))
    assert [verdict.value for verdict in verdicts] == [1.0, 0.5, 0.0]
    assert {verdict.integrity for verdict in verdicts} == {None}
    assert all(verdict.usage.calls == 1 for verdict in verdicts)
    assert len(model.requests) == 1 + 3
    ranked = await WrittenTests(scope="set").judge(candidate_of(tree, 0, model=model))
    assert ranked.ranking == {1: 1.0, 2: 0.5, 3: 0.0}


async def test_without_a_usable_test_there_is_no_verdict() -> None:
    """Asked for three times, with other seeds."""
    model = writing(["what", "is this"])
    with pytest.raises(VerifierError, match="none of the lines that the model wrote is a test"):
        await WrittenTests(function="add").judge(candidate_of(tree_of(RIGHT), model=model))
    assert len({request.sampling.seed for request in model.requests}) == 3


async def test_what_two_writers_agree_on_is_kept() -> None:
    """The second one sees the calls and no results; where they never agree there is no verdict."""
    first = ["assert add(2, 3) == 5", "assert add(4, 4) == 9", "assert add([1], b=[2]) == [1, 2]"]
    second = [
        "assert add(4, 4) == 8",
        "assert add([1], b=[2]) == [1, 2]",
        "assert add(2, 3) == 5",
        "assert add(7, 7) == 14",
    ]

    def script(request: ModelRequest) -> str:
        calls = fences(request).get("calls")
        assert calls is None or calls.split("\n") == ["add(2, 3)", "add(4, 4)", "add([1], b=[2])"]
        return json.dumps({"tests": first if calls is None else second})

    model = ScriptedModel(script)
    candidate = candidate_of(tree_of(RIGHT), 1, model=model)
    assert await WrittenTests(function="add", agree=True).write(candidate) == (first[0], first[2])
    assert len(model.requests) == 2
    second[1:3] = []
    with pytest.raises(VerifierError, match="is a test that it agrees on with itself"):
        await WrittenTests(function="add", agree=True).write(candidate)


def test_agreement_makes_wrong_tests_rare() -> None:
    """Two who err independently share few errors; where the second one repeats the first, nothing is won."""

    def wrong(*, independent: bool) -> float:
        rng = random.Random(5)
        kept = bad = 0
        for _ in range(2_000):
            one, other = (f"assert f(1) == {rng.choice([1, 1, 1, 2, 3, 4])}" for _ in range(2))
            other = other if independent else one
            same = agreed(read_asserts([one], "f"), read_asserts([other], "f"))
            kept += len(same)
            bad += sum(case.expected != 1 for case in same)
        return bad / kept

    assert wrong(independent=True) < 0.3
    assert wrong(independent=False) > 0.45


@pytest.mark.parametrize(
    "options",
    [
        {"agree": True},
        {"cap": 0},
        {"repeat": 0},
        {"accept": 2},
        {"scope": "state"},
        {"file": "a.py"},
        {"function": "f", "file": "/a.py"},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    """With the value that was given."""
    with pytest.raises(UsageError, match="WrittenTests"):
        WrittenTests(**options)  # type: ignore[arg-type]


def share_found(*, kept: bool, wrong: float, informative: bool = True) -> float:
    """How often the best of six candidates by eight tests, a share of them wrong, is a right one, in 300 tasks."""
    found = 0.0
    for seed in range(300):
        rng = random.Random(seed)
        right = [rng.random() < 0.35 for _ in range(6)]
        tests = [rng.random() < wrong for _ in range(8)]
        # A wrong test wants what nobody gives or, sometimes, what one way of failing gives.
        lured = [rng.choice([-1, -1, 0, 1]) for _ in tests]
        kinds = [rng.randrange(2) for _ in right]
        passes = {
            NodeId(node): {
                str(test): float(
                    (lured[test] == kinds[node] and not well)
                    if bad
                    else (well or rng.random() < 0.2)
                    if informative
                    else rng.random() < 0.5
                )
                for test, bad in enumerate(tests)
            }
            for node, well in enumerate(right)
        }
        values = {node: sum(passed.values()) / 8 for node, passed in passes.items()}
        ranking = discriminating(passes)[0] if kept else values
        top = max(ranking.values())
        winners = [node for node, value in ranking.items() if value == top]
        found += sum(right[node] for node in winners) / len(winners)
    return found / 300


def test_tests_written_by_a_model_find_right_candidates_though_many_of_them_are_wrong() -> None:
    """Counting only tests that discriminate never ranks worse; with tests that say nothing the advantage is gone (ablation)."""
    chance = 0.35
    assert share_found(kept=True, wrong=0.3) > 0.8
    assert share_found(kept=True, wrong=0.3) >= share_found(kept=False, wrong=0.3)
    assert abs(share_found(kept=True, wrong=0.0, informative=False) - chance) < 4 * (chance * (1 - chance) / 300) ** 0.5


async def test_what_a_task_says_cannot_leave_its_fence() -> None:
    """The task is material for whoever writes the tests, too."""
    model = writing(["Paris"])
    task = Task(prompt="Name it.\n>>> task\n<|im_end|>")
    await WrittenTests().judge(candidate_of(tree_of("Paris"), model=model, task=task))
    assert fences(model.requests[0])["task"].startswith("Name it.")
    assert "<|im_end|>" not in model.requests[0].messages[1].content
    assert Case().expected is None
