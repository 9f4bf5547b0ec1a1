"""How much two texts are alike by their words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable

_WORD = re.compile(r"[^\W_]+")

Weights = dict[str, float]


def words(text: str) -> list[str]:
    """Return a text's words in lower case, as SQLite's `unicode61` tokenizer divides it."""
    return _WORD.findall(text.lower())


def weighted(text: str, rarity: Callable[[str], float]) -> Weights:
    """Return a text as a vector of length 1: each word by how often it occurs and how rare it is (tf-idf, Salton & Buckley 1988)."""
    counts = Counter(words(text))
    weights = {word: (1.0 + math.log(count)) * rarity(word) for word, count in counts.items()}
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {word: weight / length for word, weight in weights.items()} if length else {}


def cosine(one: Weights, other: Weights) -> float:
    """Return the cosine of two vectors of length 1, in [0, 1]."""
    if len(other) < len(one):
        one, other = other, one
    return min(1.0, sum(weight * other.get(word, 0.0) for word, weight in one.items()))
