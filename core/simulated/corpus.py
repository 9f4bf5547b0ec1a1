"""A simulated corpus: documents whose relevance, age and credibility are known, and questions that need several of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..testing import ScriptedModel
from ..types import ModelRequest
from .steps import uniform

Rng = random.Random


@dataclass(frozen=True, slots=True)
class Document:
    """A document, with what is true of it."""

    id: int
    text: str
    hop: int | None
    """The step of the chain of facts that it states; None for one that is beside the matter."""
    age_days: int
    credibility: float
    """Chance that what it states is right, in [0, 1]."""
    honest: bool
    """Whether it is right. An outdated or dishonest one names another thing."""


@dataclass(frozen=True)
class Corpus:
    """A question that a chain of facts answers, and the documents that state them, distort them, or are beside the matter.

    "Where does the chain lead that begins at a?" needs a fact for every hop: "a leads to b", "b leads to c". The chance of a right
    answer, given the documents that are shown, is exact.

    Args:
        seed: which corpus it is.
        hops: facts that the question needs, >= 1.
        copies: documents that state each fact.
        beside: documents that are beside the matter.
        guess: chance of the right answer where a fact is missing.
        distraction: what each document beside the matter takes from the chance.
    """

    seed: int
    hops: int = 2
    copies: int = 3
    beside: int = 30
    guess: float = 0.05
    distraction: float = 0.01

    @property
    def question(self) -> str:
        """The question."""
        return f"corpus {self.seed}: where does the chain lead that begins at {self._thing(0)}?"

    @property
    def answer(self) -> str:
        """The right answer."""
        return self._thing(self.hops)

    def _thing(self, hop: int) -> str:
        return f"thing{int(uniform(self.seed, 'thing', hop) * 1e6)}"

    @cached_property
    def documents(self) -> tuple[Document, ...]:
        """All documents, shuffled."""
        rng = Rng(f"{self.seed} corpus")
        made: list[Document] = []
        for hop in range(self.hops):
            for copy in range(self.copies):
                credibility = rng.uniform(0.5, 1.0)
                honest = copy == 0 or rng.random() < credibility
                target = self._thing(hop + 1) if honest else f"thing{rng.randrange(10**6)}"
                made.append(self._document(rng, f"{self._thing(hop)} leads to {target}", hop, credibility, honest))
        for _ in range(self.beside):
            words = f"thing{rng.randrange(10**6)} leads to thing{rng.randrange(10**6)}"
            made.append(self._document(rng, words, None, rng.uniform(0.0, 1.0), honest=True))
        rng.shuffle(made)
        return tuple(
            Document(number, f"[document {number}] {one.text}", one.hop, one.age_days, one.credibility, one.honest)
            for number, one in enumerate(made)
        )

    @staticmethod
    def _document(rng: Rng, text: str, hop: int | None, credibility: float, honest: bool) -> Document:
        return Document(0, text, hop, rng.randrange(3650), credibility, honest)

    def relevant(self) -> frozenset[int]:
        """Return the documents that state a fact of the chain, rightly or not."""
        return frozenset(document.id for document in self.documents if document.hop is not None)

    def chance(self, shown: Iterable[int]) -> float:
        """Return the probability of the right answer where the documents `shown` are read.

        Each fact is known as well as the share of right statements among those shown of it says; a fact with none is guessed.
        """
        chosen = [self.documents[number] for number in set(shown)]
        chance = 1.0
        for hop in range(self.hops):
            stated = [document.honest for document in chosen if document.hop == hop]
            chance *= sum(stated) / len(stated) if stated else self.guess
        return max(0.0, chance - self.distraction * sum(document.hop is None for document in chosen))

    def best(self) -> Sequence[int]:
        """Return a smallest set of documents with the highest chance: a right statement of every fact."""
        return [next(d.id for d in self.documents if d.hop == hop and d.honest) for hop in range(self.hops)]

    def model(self) -> ScriptedModel:
        """Return a model that answers rightly with the chance that the documents in its prompt give it."""

        def script(request: ModelRequest) -> str:
            text = "\n".join(message.content for message in request.messages)
            shown = [document.id for document in self.documents if document.text in text]
            lucky = uniform(self.seed, "read", request.sampling.seed)
            return self.answer if lucky < self.chance(shown) else "I do not know"

        return ScriptedModel(script, name="simulated:reader")
