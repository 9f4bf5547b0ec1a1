"""Whether an answer that was reasoned out is the one that a program computes."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate, Model
from ..core.types import Message, Python, Semantics, Usage, Verdict
from ..search.equivalence import Same, grouped, is_answer, number
from .answers import code_of
from .asking import Asker
from .fence import TAINTED, fenced
from .showing import Show, shown

NEUTRAL = 0.5
"""The value where the program says nothing."""

_SYSTEM = """You turn worked solutions into programs.
{tainted}
Write one Python program, in a code block, that computes the answer to the task the way the solution does, from the numbers and
facts that the task gives, and prints nothing but the final answer. Do not copy the solution's results: compute them."""


@dataclass(frozen=True)
class ProgramAgreement:
    """Have a model write a program from a candidate's reasoning, run it in the sandbox, and compare what it prints.

    Reasoning in words and reasoning in code fail in different ways, so what both come to is likelier right (Liang et al. 2024,
    Improving LLM Reasoning through Scaling Inference Computation with Collaborative Verification). Value 1 where they
    agree, 0 where they do not, 1/2 where the program does not run, prints nothing or computes nothing: that says nothing about
    the answer. It accepts nothing by itself. Where task or solution are misread alike in words and code, the two agree on
    what is wrong: the gain goes with the share of mistakes that they do not share.

    `Cached(ProgramAgreement())` writes one program for equal answers, which saves most calls.

    Args:
        same: when the answer and what is printed are the same (`search.equivalence`).
        tolerance: largest difference of numbers, relative or absolute.
        timeout_seconds: for the program.
        show: what the model sees of the candidate.
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        temperature: of its sampling.
        max_tokens: longest program.
        name: shown beside its verdicts.

    Raises:
        UsageError: an option is out of range.
    """

    same: Same = "number"
    tolerance: float = 1e-6
    timeout_seconds: float = 10.0
    show: Show = "steps"
    model: str | Model | None = None
    temperature: float = 0.3
    max_tokens: int = 768
    name: str = "program"
    semantics: Semantics = "outcome"
    scope: Literal["answer"] = "answer"

    def __post_init__(self) -> None:
        if not self.timeout_seconds > 0:
            raise UsageError(f"ProgramAgreement(timeout_seconds={self.timeout_seconds!r}) must be above 0")

    @property
    def own_models(self) -> Sequence[str | Model]:
        """The model that it has for itself."""
        return () if self.model is None else (self.model,)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Have the program written, run it and compare."""
        asker = Asker(self.name, self.model, self.temperature, self.max_tokens)
        parts = [fenced("task", candidate.task.prompt), fenced("solution", shown(candidate, self.show))]
        messages = [Message("system", _SYSTEM.format(tainted=TAINTED)), Message("user", "\n\n".join(parts))]
        text, usage = await asker.write(candidate, messages)
        program = code_of(text)
        if not computes(program):
            return self._verdict(None, "the program computes nothing", usage)
        async with candidate.open(candidate.origin_ref) as environment:
            result = await environment.exec(Python(program), timeout_seconds=self.timeout_seconds)
        if not result.ok or not result.stdout.strip():
            return self._verdict(None, "the program failed or printed nothing", usage)
        agrees = self.agree(candidate.answer or "", result.stdout)
        return self._verdict(
            agrees, f"a program that follows the reasoning printed {result.stdout.strip()[-200:]!r}", usage
        )

    def agree(self, answer: str, printed: str) -> bool | None:
        """Whether an answer and what was printed are the same; None where one of them holds nothing to compare."""
        if not (is_answer(answer, self.same) and is_answer(printed, self.same)):
            return None
        if self.same == "number":
            one, two = number(answer), number(printed)
            assert one is not None
            assert two is not None
            return abs(one - two) <= Fraction(self.tolerance) * max(Fraction(1), abs(one), abs(two))
        return len(grouped([answer, printed], self.same)) == 1

    def _verdict(self, agrees: bool | None, feedback: str, usage: Usage) -> Verdict:
        value = NEUTRAL if agrees is None else float(agrees)
        logged = {"ran": float(agrees is not None), "agrees": float(agrees is True)}
        return Verdict(value, self.semantics, self.name, feedback=feedback, per_constraint=logged, usage=usage)


def computes(program: str) -> bool:
    """Whether a program does anything but print what it was given: one that prints a literal agrees with everything."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    loops = (ast.BinOp, ast.Compare, ast.For, ast.While, ast.comprehension, ast.AugAssign)
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and not (
            isinstance(node.func, ast.Name) and node.func.id in {"print", "str"}
        )
        if called or isinstance(node, loops):
            return True
    return False
