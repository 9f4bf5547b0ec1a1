"""Reading an order of candidates out of whatever a model wrote."""

from __future__ import annotations

import re

MOST_ORDERED = 32
"""More candidates than this are not put in order in one call (Saad-Falcon et al. 2024, Archon)."""

_MARKED = re.compile(r"\[\s*(\d{1,4})\s*\]", re.ASCII)
_BARE = re.compile(r"(?<![\w.])(\d{1,4})(?![\w.]?\d)", re.ASCII)


def read_order(text: str, count: int) -> tuple[list[int], int]:
    """Return the places of `count` candidates in the order that a reply such as "[4] > [2] > [1]" gives them, the best first.

    The first line that names candidates counts. What it names twice counts once, and what it leaves out follows in the order in
    which the candidates were shown, so any text at all gives a permutation.

    Args:
        text: the reply; candidates are called 1 to `count`.
        count: how many there are, >= 0.

    Returns:
        The permutation, places counted from 0, and how many of the candidates the reply named.
    """
    named: list[int] = []
    for line in text.splitlines():
        marks = _MARKED.findall(line) or (_BARE.findall(line) if ">" in line else [])
        if named := [place for place in dict.fromkeys(int(mark) - 1 for mark in marks) if 0 <= place < count]:
            break
    return [*named, *(place for place in range(count) if place not in named)], len(named)
