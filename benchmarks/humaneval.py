"""HumanEval problems: where they come from, how a model is asked about them, and what counts as solved."""

from __future__ import annotations

import ast
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import branchwise as bw
from branchwise.core.types import ROOT, NodeId, Semantics
from branchwise.verifiers import Case, InputOutput, Split
from branchwise.verifiers.answers import code_of

FILE = "solution.py"

MOST_TESTS = 4


@dataclass(frozen=True)
class Problem:
    """A function to write, with hidden tests."""

    task_id: str
    prompt: str
    """Imports, helpers, signature and docstring."""
    entry_point: str
    test: str
    """Source of `check(candidate)`; only the score sees it."""

    @property
    def preamble(self) -> str:
        """What stands above the function: imports and helpers that an answer need not repeat."""
        return self.prompt[: self.prompt.rindex(f"def {self.entry_point}(")]

    def program(self, answer: str) -> str:
        """Return the code of an answer with what stands above it in the prompt."""
        return f"{self.preamble}\n{code_of(closed(answer))}"


def closed(answer: str) -> str:
    """Return a reply with its block of code closed: sampling stops where the model would close it."""
    return answer if answer.rstrip().endswith("```") else f"{answer}\n```"


def problems(path: Path) -> list[Problem]:
    """Return the problems, every other one first: they grow harder along the file, and any beginning should be fair.

    Raises:
        FileNotFoundError: with where to get the file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no problems at {path}; get HumanEval.jsonl.gz from https://github.com/openai/human-eval (folder data, MIT "
            "licence), unpack it, and name it by --data FILE, or its folder by BRANCHWISE_DATA with the name humaneval_dev.jsonl"
        )
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    known = [Problem(row["task_id"], row["prompt"], row["entry_point"], row["test"]) for row in rows]
    return [*known[::2], *known[1::2]]


# --- tests that the model writes ---------------------------------------------------------------------------------------


def ask_for_tests(problem: Problem) -> str:
    """Return the prompt for tests of a function that nobody has written yet."""
    return (
        f"Write {MOST_TESTS} tests for the function below, by its docstring. Each test is one line: "
        f"`assert {problem.entry_point}(...) == ...` with literal values. Ordinary and special cases. "
        f"Do not write the function.\n\n```python\n{problem.prompt.rstrip()}\n```"
    )


def cases_of(answer: str, entry_point: str) -> list[Case]:
    """Return the usable tests in a reply: one call with literal arguments, compared with a literal."""
    found: dict[str, Case] = {}
    for line in answer.splitlines():
        try:
            statement = ast.parse(line.strip()).body
        except SyntaxError:
            continue
        if len(statement) == 1 and isinstance(statement[0], ast.Assert):
            case = _case(statement[0].test, entry_point)
            if case is not None:
                found.setdefault(repr(case.args), case)
    return list(found.values())[:MOST_TESTS]


def _case(test: ast.expr, entry_point: str) -> Case | None:
    match test:
        case ast.Compare(left=ast.Call() as call, ops=[ast.Eq() | ast.Is()], comparators=[wanted]):
            pass
        case ast.UnaryOp(op=ast.Not(), operand=ast.Call() as call):
            wanted = ast.Constant(value=False)
        case ast.Call() as call:
            wanted = ast.Constant(value=True)
        case _:
            return None
    if not isinstance(call.func, ast.Name) or call.func.id != entry_point or call.keywords:
        return None
    try:
        return Case(tuple(ast.literal_eval(arg) for arg in call.args), ast.literal_eval(wanted))
    except (ValueError, TypeError, bw.UsageError):
        return None


@dataclass(frozen=True)
class OwnTests:
    """Judges by tests that a model wrote, which may be wrong: the share that passes, accepted where all do.

    Args:
        problem: the problem.
        cases: the tests, at least one.
        in_file: judge the file in the work space, at every state, rather than the answer.
    """

    problem: Problem
    cases: Sequence[Case]
    in_file: bool = False
    name: str = "own tests"
    semantics: Semantics = "outcome"

    @property
    def scope(self) -> Literal["state", "answer"]:
        """What it judges."""
        return "state" if self.in_file else "answer"

    async def judge(self, candidate: bw.Candidate) -> bw.Verdict:
        """Run the tests. Numbers compare as `==` does, whatever their type."""
        judge = InputOutput(
            tuple(self.cases),
            function=self.problem.entry_point,
            file=FILE if self.in_file else None,
            tolerance=1e-9,
            timeout_seconds=5.0,
            shown=len(self.cases),
            name=self.name,
        )
        if not self.in_file:
            node = replace(candidate.node, answer=self.problem.program(candidate.answer or ""))
            candidate = replace(candidate, path=[*candidate.path[:-1], node])
        return await judge.judge(candidate)


# --- the score ---------------------------------------------------------------------------------------------------------


async def passes(problem: Problem, program: str, supply: bw.Sandboxes) -> bool:
    """Whether a program passes the hidden tests, which it cannot see: they run in a sandbox of their own."""

    @asynccontextmanager
    async def fresh(ref: str | None) -> AsyncGenerator[bw.Environment]:
        environment = await supply.open(ref)
        try:
            yield environment
        finally:
            await environment.close()

    root = bw.Node(ROOT, None, None)
    node = bw.Node(NodeId(1), ROOT, bw.Step("answer", ""), depth=1, answer=program)
    candidate = bw.Candidate(bw.Task(prompt=problem.prompt), [root, node], None, fresh, supply.diff)
    verdict = await Split(problem.test, problem.entry_point, timeout_seconds=15.0).judge(candidate)
    return verdict.passed is True
