"""Simulated worlds of texts that are written in pieces: paused, begun for the model, gone on with from what others wrote.

Their words are their tokens. What a text goes on with is a function of what it says so far, so that one that was cut says the same in
the end. `core.simulated.time.TimedSearch` takes a strategy through them on a clock that runs in words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..events import Expand
from ..tree import TreeView
from ..turns import begun, closes, is_open, text_of
from ..types import Node, Verdict
from .answers import RIGHT, Draw, Rng

_WORD = re.compile(r"\s*\S+")
_ANSWER = re.compile(r"answer is ([^.\n]+)")


class TextWorld:
    """Base of these worlds: cuts what a model would say as an expansion wants it."""

    def rest(self, said: str, work: Expand, view: TreeView, rng: Rng) -> str:
        """Return what the turn goes on with, to its end.

        Args:
            said: the turn so far.
            work: what is asked for.
            view: the tree, for what the prompt shows of it.
            rng: chance.
        """
        raise NotImplementedError  # pragma: no cover - abstract

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:
        """Return the piece of the turn that an expansion asks for."""
        before = text_of(begun(view.path(work.node)))
        rest = self.rest(before + work.lead, work, view, rng)
        end = rest.find(closes(work.closing)) if work.closing else -1
        rest = rest if end < 0 else rest[:end]
        pieces = _WORD.findall(rest)
        if work.segment_tokens is not None and len(pieces) > work.segment_tokens:
            return Draw(work.lead + "".join(pieces[: work.segment_tokens]), None, work.segment_tokens, partial=True)
        text = work.lead + rest
        if work.closing and is_open(before + text, work.closing):
            return Draw(text + closes(work.closing), None, len(pieces), partial=True)
        return Draw(text, self.answer(before + text), len(pieces))

    def answer(self, text: str) -> str | None:
        """Return the answer that a text ends in."""
        found = _ANSWER.findall(text)
        return str(found[-1]).strip() if found else None

    def right(self, answer: str) -> bool:
        """Whether it is the right one."""
        return answer == RIGHT


@dataclass(frozen=True)
class Traces(TextWorld):
    """Texts whose beginnings already say, in words that only a judge reads, which answer they will come to.

    Args:
        shares: how probable each answer is; the first is the right one.
        length: of a text in words, >= 6.
        tpr: chance that the judge says of two that come to the same answer that they do.
        fpr: the same of two that do not.
    """

    shares: Sequence[float] = (0.55, 0.3, 0.05, 0.05, 0.05)
    length: int = 100
    tpr: float = 0.85
    fpr: float = 0.15

    def rest(self, said: str, work: Expand, view: TreeView, rng: Rng) -> str:
        """Go on to the answer that the beginning has in mind."""
        if not said:
            mind = rng.choices(range(len(self.shares)), self.shares)[0]
            said = f"towards {mind}"
            return said + self.rest(said, work, view, rng)
        mind = int(said.split()[1])
        answer = RIGHT if mind == 0 else f"wrong {mind}"
        # Its last words are "answer is ..."; cut within them it goes on with what is missing.
        whole = f"towards {mind}" + " step" * (self.length - 5) + f" answer is {answer}"
        return whole[len(said) :]

    def alike(self, one: Sequence[Node], other: Sequence[Node], rng: Rng) -> Verdict:
        """Return the judge's verdict on two texts."""
        same = text_of(one).split()[1] == text_of(other).split()[1]
        return Verdict(float(rng.random() < (self.tpr if same else self.fpr)), "likelihood", "alike")


@dataclass(frozen=True)
class Musings(TextWorld):
    """Thoughts whose answer in mind is mended and spoilt word by word, and whose lengths differ; a summary has the majority's answer.

    Args:
        first: chance that the answer in mind is right at the beginning.
        mend: chance that a word makes a wrong answer right.
        spoil: chance that a word makes a right answer wrong.
        shortest: least length in words, >= 6; thoughts are up to twice as long.
        sums_up: whether a summary goes by the thoughts that it is shown, and not by the toss of a coin.
    """

    first: float = 0.3
    mend: float = 0.05
    spoil: float = 0.02
    shortest: int = 20
    sums_up: bool = True

    def rest(self, said: str, work: Expand, view: TreeView, rng: Rng) -> str:
        """Go on with a thought, or sum up those that are shown."""
        if work.framing is not None and work.framing.shown:
            minds = [text_of(view.path(node)).split()[-1].strip(".") for node in work.framing.shown]
            right = sum(mind == RIGHT for mind in minds) - len(minds) / 2
            chance = (right > 0) + 0.5 * (right == 0) if self.sums_up else 0.5
            return f"all in all the answer is {RIGHT if rng.random() < chance else 'wrong'}."
        if not said:
            return self._whole(self.shortest + rng.randrange(self.shortest + 1), rng.randrange(2**32))
        length, number = map(int, said.split()[:2])
        return self._whole(length, number)[len(said) :]

    def _whole(self, length: int, number: int) -> str:
        """Return a thought; its first words say how long it is and what chance it hangs on."""
        rng = Rng(number)
        right = rng.random() < self.first
        minds: list[str] = []
        for _ in range(length - 5):
            chance = rng.random()
            right = chance >= self.spoil if right else chance < self.mend
            minds.append(RIGHT if right else "wrong")
        return f"{length} {number} {' '.join(minds)} answer is {minds[-1]}"

    def chance(self, words: int) -> float:
        """Return the probability that the answer in mind is right after so many words of thinking."""
        rest = self.mend / (self.mend + self.spoil)
        return rest + (self.first - rest) * (1 - self.mend - self.spoil) ** words
