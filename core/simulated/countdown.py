"""Countdown arithmetic: puzzles drawn at random, an exact solver, and an exact judge of whatever a model answers."""

from __future__ import annotations

import ast
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ..errors import UsageError
from ..types import Task

Rng = random.Random

Term = tuple[Fraction, str]
"""A value, and the expression that it came from."""

_ARITHMETIC: Final = re.compile(r"[0-9+*/() -]{1,200}")

_OPERATORS: Final[dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]]] = {
    ast.Add: Fraction.__add__,
    ast.Sub: Fraction.__sub__,
    ast.Mult: Fraction.__mul__,
    ast.Div: Fraction.__truediv__,
}

_SIGNS: Final = str.maketrans({"\u00d7": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-", "[": "(", "]": ")"})
"""What models write for operators and brackets."""


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

    @property
    def numbers(self) -> list[int]:
        """The numbers that all terms were made of."""
        return [int(number) for _, expression in self.terms for number in re.findall(r"\d+", expression)]

    def solved_by(self, answer: str) -> bool:
        """Whether an answer is an expression that makes the target of exactly these numbers; what follows a "=" does not count."""
        expression = answer.translate(_SIGNS).partition("=")[0].strip().rstrip(".")
        if not _ARITHMETIC.fullmatch(expression):
            return False
        try:
            tree = ast.parse(expression, mode="eval").body
            used = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            return Counter(used) == Counter(self.numbers) and _value(tree) == self.target
        except (SyntaxError, ValueError, ZeroDivisionError):
            return False

    # --- as a model sees it ---

    def task(self) -> Task:
        """Return the puzzle as a task; its `inputs` have the puzzle for verifiers and for tasks that come of it."""
        words = (
            f"Use each of the numbers {', '.join(map(str, self.numbers))} exactly once, with +, -, * and / and brackets, to make "
            f"{self.target}. The answer is an expression such as (1 + 2) * 3."
        )
        return Task(prompt=words, inputs={"puzzle": str(self)})

    def __str__(self) -> str:
        return f"make {self.target} of {', '.join(expression for _, expression in self.terms)}"

    @classmethod
    def read(cls, text: str) -> Countdown:
        """Return the puzzle that `str` wrote."""
        target, terms = text.removeprefix("make ").split(" of ")
        return cls(tuple((_worth(expression), expression) for expression in terms.split(", ")), int(target))


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
    """Return the value of an expression that `_combined` wrote."""
    try:
        return _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError) as error:
        raise UsageError(
            f"{expression!r} is no term of a puzzle; write a number, or two terms with an operator in brackets"
        ) from error


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() as number):
            return Fraction(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case _:
            raise ValueError(ast.unparse(node))
