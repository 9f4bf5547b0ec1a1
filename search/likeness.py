"""How alike two texts are."""

from __future__ import annotations


def levenshtein_ratio(one: str, other: str) -> float:
    """Return the normalised similarity of two texts, in [0, 1]: the share of their characters that need not be inserted or deleted.

    1 - d / (length of both), where a replacement counts as a deletion and an insertion: what `Levenshtein.ratio` computes. By the
    longest common subsequence, whose table is kept as the bits of one number (Hyyro 2004), a row at a time: 1,000 characters each take
    a millisecond.
    """
    if not one and not other:
        return 1.0
    places: dict[str, int] = {}
    for place, sign in enumerate(one):
        places[sign] = places.get(sign, 0) | 1 << place
    everything = (1 << len(one)) - 1
    row = everything
    for sign in other:
        matched = row & places.get(sign, 0)
        row = ((row + matched) | (row - matched)) & everything
    common = len(one) - row.bit_count()
    return 2 * common / (len(one) + len(other))
