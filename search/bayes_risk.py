"""Choosing the answer that is most like the others: minimum Bayes risk, for answers that are never quite the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import ClassVar, Literal

from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import Node
from .common import one_of
from .equivalence import lasting
from .voting import answered

Likeness = Literal["sequence", "words"] | Callable[[str, str], float]
"""How alike two texts are, in [0, 1], the same both ways. `sequence`: the share of words in common stretches
(`difflib.SequenceMatcher`). `words`: F1 of their words, whatever the order. Or a function, for example of embeddings."""


@dataclass(frozen=True)
class MinimumBayesRisk:
    """Choose the answer with the highest mean similarity to all the others (Kumar & Byrne 2004; Bertsch et al. 2023).

    With `own_only`, trajectories that saw a variant of the task, for example in another language, count as evidence and are
    never chosen themselves: X-MBR (Khairi et al. 2025, When life gives you samples). Without variants both are the same.

    Args:
        similarity: how alike two answers are.
        own_only: choose among the trajectories that saw the task as it is, where there are any.
    """

    name: ClassVar[str] = "bayes-risk"
    similarity: Likeness = "sequence"
    own_only: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.similarity, str):
            one_of("similarity", self.similarity, ("sequence", "words"))
        object.__setattr__(self, "similarity", lasting(self.similarity))

    def choose(self, view: TreeView) -> Appraisal:
        """Return the answer that is most like the others. How like is no probability, so there is no confidence."""
        pool = [node for node in answered(view) if node.answer is not None and node.answer.strip()]
        if not pool:
            return Appraisal(None, source="no trajectory gave an answer")
        own = [node for node in pool if not self.own_only or not _varied(node, view)] or pool
        gains = self.gains(own, pool)
        best = max(range(len(own)), key=lambda place: (gains[place], -own[place].id))
        return Appraisal(own[best].id, None, f"mean similarity {gains[best]:.2f} to {len(pool) - 1} other answers")

    def gains(self, candidates: Sequence[Node], pool: Sequence[Node]) -> list[float]:
        """Return the mean similarity of each candidate to the others of the pool; every pair of texts is compared once."""
        counts = Counter(node.answer or "" for node in pool)
        known: dict[tuple[str, str], float] = {}

        def alike(a: str, b: str) -> float:
            pair = (a, b) if a <= b else (b, a)
            if pair not in known:
                known[pair] = similarity(self.similarity, *pair)
            return known[pair]

        gains: dict[str, float] = {}
        for node in candidates:
            text = node.answer or ""
            if text not in gains:
                others = counts - Counter([text])
                total = sum(alike(text, other) * times for other, times in sorted(others.items()))
                gains[text] = total / max(1, others.total())
        return [gains[node.answer or ""] for node in candidates]


def similarity(how: Likeness, a: str, b: str) -> float:
    """Return how alike two texts are, in [0, 1]."""
    if not isinstance(how, str):
        return how(a, b)
    if how == "sequence":
        return SequenceMatcher(None, a.split(), b.split(), autojunk=False).ratio()
    words_a, words_b = Counter(a.casefold().split()), Counter(b.casefold().split())
    total = words_a.total() + words_b.total()
    return 2 * (words_a & words_b).total() / total if total else 1.0


def _varied(node: Node, view: TreeView) -> bool:
    """Whether a trajectory saw a variant of the task."""
    return any(
        here.step is not None and here.step.framing is not None and here.step.framing.variant is not None
        for here in view.path(node.id)
    )
