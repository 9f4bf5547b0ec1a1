"""When two answers are the same answer: the one place where that is decided."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeVar, cast

Named = Literal["exact", "text", "number"]

Same = Named | Callable[[str, str], bool]
"""When two answers are the same. `exact`: the same characters, but for space around them. `text`: the same final answer, whatever
its case, spaces and the punctuation around it. `number`: the same number at the end, 1,000 and 1e3 and 2000/2 alike. Or a
function that says whether two answers are; it is asked about pairs of different texts, and what it links by way of others is the
same too.

The final answer is what stands in the last \\boxed{...}; else what follows the last "answer:" or "answer is" to the end of
its line; else all of it. An answer with nothing in it, or without a number where numbers are compared, is none."""

_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([-+\d.,]+)\s*\}\s*\{\s*(\d+)\s*\}")
_SAID = re.compile(r"\banswer\s*(?:is|:|=)[\s:*]*([^\n]*)", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\w.])([-+]?)\$?(\d{1,3}(?:,\d{3}){1,100}|\d{1,300})?(\.\d{1,300})?(e[-+]?\d{1,3})?(?:\s*/\s*(\d{1,300}))?(%?)",
    re.IGNORECASE,
)
_AROUND = string.punctuation.replace("-", "").replace("+", "") + string.whitespace


def final(answer: str) -> str:
    """Return the final answer that a text ends in; the whole text where it names none."""
    boxed = _BOXED.findall(answer)
    if boxed:
        return str(boxed[-1]).strip()
    said = [text for text in _SAID.findall(answer) if text.strip()]
    return str(said[-1]).strip() if said else answer.strip()


def names_answer(text: str) -> bool:
    """Whether a text names its final answer: in a box, or after words that say so."""
    return bool(_BOXED.search(text)) or any(said.strip() for said in _SAID.findall(text))


def number(answer: str) -> Fraction | None:
    """Return the last number of a final answer, exactly; None where there is none."""
    last: Fraction | None = None
    text = _FRACTION.sub(r"\1/\2", final(answer).replace("\u2212", "-"))
    for found in _NUMBER.finditer(text):
        sign, whole, decimals, exponent, divisor, percent = found.groups()
        if whole is None and decimals is None:
            continue
        value = Fraction(f"{sign}{(whole or '0').replace(',', '')}{decimals or ''}{exponent or ''}")
        if divisor is not None:
            if int(divisor) == 0:
                continue
            value /= int(divisor)
        last = value / 100 if percent else value
    return last


def key(answer: str, same: Named) -> Hashable | None:
    """Return what equal answers have in common; None for what is no answer."""
    match same:
        case "exact":
            return answer.strip() or None
        case "text":
            text = final(answer).strip(_AROUND).casefold()
            return " ".join(text.split()) or None
        case "number":
            return number(answer)


def is_answer(answer: str | None, same: Same) -> bool:
    """Whether there is an answer that can be compared with others."""
    if answer is None:
        return False
    return key(answer, "exact" if callable(same) else same) is not None


def equal(one: str | None, other: str | None, same: Same) -> bool:
    """Whether both are answers, and the same one."""
    return [len(group) for group in grouped([one, other], same)] == [2]


def grouped(answers: Sequence[str | None], same: Same) -> list[list[int]]:
    """Return the places of equal answers, group by group; in order, groups by their first. What is no answer is in none."""
    groups: dict[Hashable, list[int]] = {}
    for place, answer in enumerate(answers):
        what = None if answer is None else key(answer, "exact" if callable(same) else same)
        if what is not None:
            groups.setdefault(what, []).append(place)
    if not callable(same):
        return list(groups.values())
    return _linked(list(groups.values()), [str(what) for what in groups], same)


def _linked(groups: list[list[int]], texts: Sequence[str], same: Callable[[str, str], bool]) -> list[list[int]]:
    """Join groups of identical texts that a function links, directly or by way of others (union-find)."""
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for later in range(len(texts)):
        for earlier in range(later):
            a, b = root(earlier), root(later)
            if a != b and same(texts[earlier], texts[later]):
                parent[max(a, b)] = min(a, b)
    joined: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        joined.setdefault(root(i), []).extend(group)
    return [sorted(group) for group in joined.values()]


@dataclass(frozen=True, repr=False)
class Given:
    """A user's function as an option: written the same in every process, so that a run can be resumed with it."""

    function: Callable[..., Any]

    def __call__(self, *values: Any) -> Any:
        return self.function(*values)

    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"{getattr(self.function, '__module__', '?')}.{name}"


Option = TypeVar("Option")


def lasting(option: Option) -> Option:
    """Return an option, a function wrapped so that its `repr` is the same in every process."""
    kept: Any = Given(option) if callable(option) and not isinstance(option, Given) else option
    return cast("Option", kept)
