"""Countdown arithmetic with an exact solver, and a scripted model that divides a puzzle into branches and joins their results."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import UsageError
from ..testing import ScriptedModel
from ..types import JSON, ModelRequest

Rng = random.Random

Term = tuple[Fraction, str]
"""A value, and the expression that it came from."""


@dataclass(frozen=True)
class Countdown:
    """Make `target` of all the numbers by +, -, * and /, each number used once.

    A puzzle forks by its first operation: each fork has one term less. Solving is exact: fractions, every order tried.
    """

    terms: tuple[Term, ...]
    target: int

    @classmethod
    def of(cls, numbers: Sequence[int], target: int) -> Countdown:
        """Return the puzzle of some numbers."""
        return cls(tuple((Fraction(number), str(number)) for number in numbers), target)

    @classmethod
    def drawn(cls, seed: int, size: int = 4, largest: int = 13) -> Countdown:
        """Return a puzzle that has a solution.

        Args:
            seed: which one.
            size: how many numbers, >= 2.
            largest: of the numbers and, tenfold, of the target.
        """
        rng = Rng(f"{seed} countdown")
        while True:
            numbers = [rng.randint(1, largest) for _ in range(size)]
            terms = cls.of(numbers, 0).terms
            while len(terms) > 1:
                terms = rng.choice(list(_combined(terms)))
            value, _ = next(iter(terms))
            if value.denominator == 1 and 0 < value <= 10 * largest:
                return cls.of(numbers, int(value))

    def forks(self) -> list[Countdown]:
        """Return the puzzles after one operation, no two alike."""
        found = {tuple(sorted(value for value, _ in terms)): terms for terms in _combined(self.terms)}
        return [Countdown(terms, self.target) for terms in found.values()]

    def solution(self) -> str | None:
        """Return an expression that makes the target, None where there is none."""
        if len(self.terms) == 1:
            ((value, expression),) = self.terms
            return expression if value == self.target else None
        return next((found for fork in self.forks() if (found := fork.solution()) is not None), None)

    # --- as a model sees it ---

    def __str__(self) -> str:
        return f"make {self.target} of {', '.join(expression for _, expression in self.terms)}"

    @classmethod
    def read(cls, text: str) -> Countdown:
        """Return the puzzle that `str` wrote."""
        target, terms = text.removeprefix("make ").split(" of ")
        return cls(tuple((_worth(expression), expression) for expression in terms.split(", ")), int(target))


def fork_and_join(branches: int = 4) -> ScriptedModel:
    """Return a model that works on Countdown by dividing it.

    The last message is either a puzzle as text or, to join, the JSON list of its branches' answers. It replies with JSON:
    `{"spawn": [puzzle, ...]}` where more than two terms are left, `{"answer": expression or null}` else. Of the forks it spawns the
    `branches` that a look at their solutions ranks first, so that a solution is among them wherever there is one.

    Args:
        branches: most that are spawned at once, >= 1.
    """

    def script(request: ModelRequest) -> str:
        last = request.messages[-1].content
        if last.startswith("["):
            answers: list[str | None] = json.loads(last)
            return json.dumps({"answer": next((answer for answer in answers if answer is not None), None)})
        puzzle = Countdown.read(last)
        if len(puzzle.terms) <= 2:
            return json.dumps({"answer": puzzle.solution()})
        ranked = sorted(puzzle.forks(), key=lambda fork: fork.solution() is None)
        reply: Mapping[str, JSON] = {"spawn": [str(fork) for fork in ranked[:branches]]}
        return json.dumps(reply)

    return ScriptedModel(script, name="simulated:countdown")


def _combined(terms: tuple[Term, ...]) -> Iterator[tuple[Term, ...]]:
    """Yield the terms after each possible operation on two of them."""
    for i, (a, left) in enumerate(terms):
        for j, (b, right) in enumerate(terms):
            rest = tuple(term for place, term in enumerate(terms) if place not in (i, j))
            if i < j:
                yield (*rest, (a + b, f"({left} + {right})"))
                yield (*rest, (a * b, f"({left} * {right})"))
            if i != j:
                yield (*rest, (a - b, f"({left} - {right})"))
                if b:
                    yield (*rest, (a / b, f"({left} / {right})"))


def _worth(expression: str) -> Fraction:
    """Return the value of an expression that `_combined` wrote: a number, or two in brackets with an operator."""
    if not expression.startswith("("):
        return Fraction(expression)
    depth = 0
    for place, sign in enumerate(expression):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth == 1 and expression[place : place + 3] in (" + ", " - ", " * ", " / "):
            left, right = _worth(expression[1:place]), _worth(expression[place + 3 : -1])
            match expression[place + 1]:
                case "+":
                    return left + right
                case "-":
                    return left - right
                case "*":
                    return left * right
                case _:
                    return left / right
    raise UsageError(
        f"{expression!r} is no term of a puzzle; write a number, or two terms with an operator in brackets"
    )
