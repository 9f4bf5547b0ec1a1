"""Which lines of a text changed. Bounded in time, for what is compared is what a guest wrote."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

_THOROUGH = 1_000_000
"""Pairs of lines up to which a part is compared thoroughly: a tenth of a second, some seconds at the very worst."""


class Change(NamedTuple):
    """Lines `old_start` to `old_end` of the old text became lines `new_start` to `new_end` of the new one."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


def lines_of(content: bytes) -> list[bytes]:
    r"""Return the lines with their ends; only `\n` ends one, as for git."""
    lines = content.split(b"\n")
    last = lines.pop()
    return [line + b"\n" for line in lines] + ([last] if last else [])


def changes(old: Sequence[bytes], new: Sequence[bytes]) -> list[Change]:
    """Return what changed, in order; no two of them touch.

    Equal beginnings and ends are set aside, and lines that are unique in both texts taken as fixed points (the "patience"
    method). What lies between two of them is compared thoroughly where it is small, and taken as changed where it is not.
    """
    start = 0
    most = min(len(old), len(new))
    while start < most and old[start] == new[start]:
        start += 1
    end = 0
    while end < most - start and old[-1 - end] == new[-1 - end]:
        end += 1
    old_end, new_end = len(old) - end, len(new) - end
    found: list[Change] = []
    at_old, at_new = start, start
    for point_old, point_new in (*_fixed_points(old, new, start, old_end, new_end), (old_end, new_end)):
        _compare(old, new, Change(at_old, point_old, at_new, point_new), found)
        at_old, at_new = point_old + 1, point_new + 1
    return found


def _compare(old: Sequence[bytes], new: Sequence[bytes], part: Change, found: list[Change]) -> None:
    """Append the changes within a part."""
    rows, columns = part.old_end - part.old_start, part.new_end - part.new_start
    if not rows and not columns:
        return
    if not rows or not columns or rows * columns > _THOROUGH:
        _append(part, found)
        return
    matcher = SequenceMatcher(
        None, old[part.old_start : part.old_end], new[part.new_start : part.new_end], autojunk=False
    )
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            _append(Change(part.old_start + a, part.old_start + b, part.new_start + c, part.new_start + d), found)


def _append(change: Change, found: list[Change]) -> None:
    last = found[-1] if found else None
    if last is not None and last.old_end == change.old_start and last.new_end == change.new_start:
        found[-1] = Change(last.old_start, change.old_end, last.new_start, change.new_end)
    else:
        found.append(change)


def _fixed_points(
    old: Sequence[bytes], new: Sequence[bytes], start: int, old_end: int, new_end: int
) -> Iterator[tuple[int, int]]:
    """Yield pairs of equal lines that are unique in both parts, in an order that both share: a longest such chain."""
    if (old_end - start) * (new_end - start) <= _THOROUGH:
        return
    once_old, once_new = (
        {line for line, count in Counter(text[start:end]).items() if count == 1}
        for text, end in ((old, old_end), (new, new_end))
    )
    unique = once_old & once_new
    where = {new[index]: index for index in range(start, new_end) if new[index] in unique}
    pairs = [(index, where[old[index]]) for index in range(start, old_end) if old[index] in unique]
    # A longest rising sequence of places in `new`, by patience sorting: the piles' tops, and who stood on whom.
    tops: list[int] = []
    top_pairs: list[int] = []
    below: list[int | None] = []
    for number, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        below.append(top_pairs[pile - 1] if pile else None)
        if pile == len(tops):
            tops.append(place)
            top_pairs.append(number)
        else:
            tops[pile], top_pairs[pile] = place, number
    chain: list[tuple[int, int]] = []
    at = top_pairs[-1] if top_pairs else None
    while at is not None:
        chain.append(pairs[at])
        at = below[at]
    yield from reversed(chain)
