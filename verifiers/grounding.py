"""Whether statements with numbers hold when code looks at them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate
from ..core.types import ExecResult, Python, Semantics, Verdict
from .answers import code_of
from .program import computes

_OUTPUT_LIMIT_CHARS = 200


@dataclass(frozen=True)
class Grounding:
    """Run a program for each statement: it is grounded if the program asserts something, computes it, and ends well.

    The programs are written by a model, so one that passes shows that code and words agree, not that they are right; one that asserts
    nothing, or nothing that was computed, shows nothing and does not count. They run in a fresh sandbox with the task's own files.
    `Verdict.per_constraint` has 1 for each statement that is grounded.

    Args:
        programs: Python by the statement's name.
        timeout_seconds: for each.
        name: shown beside its verdicts.

    Raises:
        UsageError: there are no programs, or an option is out of range.
    """

    programs: Mapping[str, str]
    timeout_seconds: float = 20.0
    name: str = "grounding"
    semantics: Semantics = "violation"
    scope: Literal["state"] = "state"

    def __post_init__(self) -> None:
        if not self.programs:
            raise UsageError("Grounding has nothing to run; give a program for each statement")
        if not self.timeout_seconds > 0:
            raise UsageError(f"Grounding(timeout_seconds={self.timeout_seconds!r}) must be above 0")

    async def judge(self, candidate: Candidate) -> Verdict:
        """Run them one after the other."""
        found: dict[str, float] = {}
        said: list[str] = []
        for name, text in self.programs.items():
            program = code_of(text)
            if not asserts(program):
                found[name] = 0.0
                said.append(f"{name}: its program asserts nothing that it computes")
                continue
            async with candidate.open(candidate.origin_ref) as environment:
                result = await environment.exec(Python(program), timeout_seconds=self.timeout_seconds)
            found[name] = float(result.ok)
            if not result.ok:
                said.append(f"{name}: {_failure(result)}")
        value = sum(found.values()) / len(found)
        return Verdict(value, self.semantics, self.name, value == 1.0, "\n".join(said), found, integrity="in-process")


def asserts(program: str) -> bool:
    """Whether a program has an assertion about something that it computes."""
    if not computes(program):
        return False
    return any(
        isinstance(node, ast.Assert) and any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node.test))
        for node in ast.walk(ast.parse(program))
    )


def _failure(result: ExecResult) -> str:
    if result.timed_out:
        return "its program took too long"
    lines = result.stderr.strip().splitlines()
    return f"its program failed: {lines[-1][:_OUTPUT_LIMIT_CHARS] if lines else 'without a word'}"
