"""A simulated verifier of answers that errs: by chance, by persistent error, and where it has been hacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from ..types import Node, Verdict
from .answers import AnswerWorld, Rng
from .steps import uniform

AnswerJudge = Callable[[Node, Rng], tuple[Verdict, ...]]
"""Judges a node; `rng` decides what is drawn anew with every call."""


@dataclass(frozen=True)
class NoisyJudge:
    """Scores answers, with errors of every kind that is told apart.

    Args:
        right: what a right answer gets before any error.
        wrong: what a wrong one gets.
        persistent: standard deviation of an error that an answer gets in every call.
        noise: standard deviation of an error that is drawn anew with every call.
        hacked: share of the rare answers that persistently get `prize` more, in [0, 1].
        rare: beginning of the answers that count as rare.
        prize: what a hacked answer gets on top.
        tpr: with `fpr`, the verdict is a yes or no: chance of a yes for a right answer in one call, after Bernoulli's law.
        fpr: chance of a yes for a wrong one.
        scale: lowest and highest score, mapped to 0 and 1; beyond them it is cut off.
        seed: decides persistent errors and which answers are hacked.
        name: of its verdicts.
    """

    right: float = 1.0
    wrong: float = 0.0
    persistent: float = 0.0
    noise: float = 0.0
    hacked: float = 0.0
    rare: str = "rare"
    prize: float = 1.5
    tpr: float | None = None
    fpr: float | None = None
    scale: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    name: str = "noisy judge"

    def is_hacked(self, answer: str) -> bool:
        """Whether an answer has found out how to please the judge."""
        return answer.startswith(self.rare) and uniform(self.seed, "hacked", answer) < self.hacked

    def score(self, answer: str, *, right: bool, rng: Rng) -> float:
        """Return what one call says of an answer, in [0, 1]."""
        if self.tpr is not None and self.fpr is not None:
            return float(rng.random() < (self.tpr if right else self.fpr))
        score = self.right if right else self.wrong
        if self.persistent:
            chance = min(1 - 1e-12, max(1e-12, uniform(self.seed, "persistent", answer)))
            score += NormalDist(0.0, self.persistent).inv_cdf(chance)
        if self.noise:
            score += rng.gauss(0.0, self.noise)
        if self.is_hacked(answer):
            score += self.prize
        least, most = self.scale
        return min(1.0, max(0.0, (score - least) / (most - least)))

    def of(self, world: AnswerWorld) -> AnswerJudge:
        """Return the judge of this world's nodes. It accepts nothing: it only scores."""

        def judge(node: Node, rng: Rng) -> tuple[Verdict, ...]:
            if node.answer is None:
                return ()
            value = self.score(node.answer, right=world.right(node.answer), rng=rng)
            return (Verdict(value, "outcome", self.name),)

        return judge
