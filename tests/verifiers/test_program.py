"""`ProgramAgreement`: reasoning in words against reasoning in code."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ExecResult, ModelRequest, Python
from branchwise.verifiers import Cached, ProgramAgreement
from branchwise.verifiers.program import computes

from .bench import Bench
from .judged import candidate_of, tree_of


def block(code: str) -> str:
    """A program as a model writes it."""
    return f"Here it is:\n```python\n{code}\n```\n"


@pytest.mark.docker
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("a = 2\nb = 3\nprint(a + b)", 1.0),
        ("print(2 * 3)", 0.0),
        ("print(sum([2, 3]) + 0.0000001)", 1.0),
        ("print(1 / 0)", 0.5),
        ("x = 2 + 3", 0.5),
        ("print('the result is', 2 + 3, 'apples')", 1.0),
        ("print(str(2) + 'no number' * 0 + ' or so' if False else 'none' + '')", 0.5),
    ],
)
async def test_a_program_that_does_not_run_says_nothing(empty: Bench, code: str, value: float) -> None:
    """Agreement 1, disagreement 0, anything else one half; it decides nothing by itself."""
    model = ScriptedModel(lambda _r: block(code))
    verdict = await ProgramAgreement().judge(candidate_of(tree_of("The answer is 5"), model=model, open=empty.open))
    assert (verdict.value, verdict.passed, verdict.semantics) == (value, None, "outcome")
    assert verdict.per_constraint == {"ran": float(value != 0.5), "agrees": float(value == 1.0)}


def test_a_program_that_only_prints_computes_nothing() -> None:
    """One that prints the answer it was shown would agree with everything."""
    assert not computes("print(5)")
    assert not computes("answer = 5\nprint(str(answer))")
    assert not computes("this is no program")
    assert computes("print(2 + 3)")
    assert computes("from math import comb\nprint(comb(5, 2))")


def test_texts_and_functions_are_compared_as_they_are_asked_to() -> None:
    """By the one place that says when answers are the same."""
    assert ProgramAgreement(same="text").agree("The answer is Paris.", "paris")
    assert ProgramAgreement(same="text").agree("Paris", "London") is False
    assert ProgramAgreement(same="number").agree("none", "5") is None
    assert ProgramAgreement(same=lambda a, b: sorted(a) == sorted(b)).agree("abc", "cba")
    with pytest.raises(UsageError, match="timeout_seconds"):
        ProgramAgreement(timeout_seconds=0)


class Calculator:
    """An environment that runs programs of the form `print(0 + N)`."""

    async def exec(self, command: Python, **_: Any) -> ExecResult:
        """Run it."""
        return ExecResult(0, command.code.partition("+ ")[2].rstrip(")"))


@asynccontextmanager
async def calculator(_ref: str | None) -> Any:
    """Open one."""
    yield Calculator()


E1, E2, WRONG = 0.4, 0.3, 4
"""Chance of a mistake in words, in code, and how many wrong answers there are, all alike."""


async def precision(correlation: float, trials: int) -> tuple[float, int]:
    """How many of the answers that a program agrees with are right, and how many there are."""
    kept: list[bool] = []
    for seed in range(trials):
        rng = random.Random(f"{correlation} {seed}")
        answer = 0 if rng.random() >= E1 else rng.randrange(1, WRONG + 1)
        alone = 0 if rng.random() >= E2 else rng.randrange(1, WRONG + 1)
        computed = answer if rng.random() < correlation else alone  # misread alike
        tree = tree_of(str(answer))
        model = ScriptedModel(lambda _r, computed=computed: block(f"print(0 + {computed})"))  # type: ignore[misc]
        verdict = await ProgramAgreement().judge(candidate_of(tree, model=model, open=calculator))
        if verdict.value == 1.0:
            kept.append(answer == 0)
    return sum(kept) / len(kept), len(kept)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
async def test_the_precision_of_what_agrees_is_the_analytic_one(correlation: float) -> None:
    """Within four standard errors; where all mistakes are shared nothing is gained (ablation)."""
    right = correlation * (1 - E1) + (1 - correlation) * (1 - E1) * (1 - E2)
    wrong = correlation * E1 + (1 - correlation) * E1 * E2 / WRONG
    expected = right / (right + wrong)
    measured, count = await precision(correlation, 500)
    assert measured == pytest.approx(expected, abs=4 * (expected * (1 - expected) / count) ** 0.5)
    assert (expected > 1 - E1 + 0.05) == (correlation < 1.0)


async def test_one_program_is_written_for_equal_answers() -> None:
    """With `Cached` around it."""
    model = ScriptedModel(lambda _r: block("print(0 + 5)"))
    cached = Cached(ProgramAgreement(), same="number")
    tree = tree_of("5", "it is 5", "5.0", "6")
    values = [
        (await cached.judge(candidate_of(tree, node, model=model, open=calculator))).value for node in (1, 2, 3, 4)
    ]
    assert values == [1.0, 1.0, 1.0, 0.0]
    assert len(model.requests) == 2


async def test_the_program_follows_the_reasoning_that_is_shown() -> None:
    """The prompt has the trajectory in a fence."""
    asked: list[ModelRequest] = []

    def script(request: ModelRequest) -> str:
        asked.append(request)
        return block("print(0 + 5)")

    await ProgramAgreement().judge(
        candidate_of(tree_of("Two and three are 5"), model=ScriptedModel(script), open=calculator)
    )
    assert fences(asked[0]) == {"task": "What is 2 + 3?", "solution": "Two and three are 5"}
