"""Simulated models in every part that an Archon has: solvers whose chances are known, judges that err, fusers that go by what they see."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from statistics import NormalDist

from ..testing import ScriptedModel
from ..types import JSON, ModelRequest, ModelResponse, Task, Usage
from .critics import SimulatedCritic, fences
from .steps import uniform

Rng = random.Random

_NUMBER = re.compile(r"problem (\d+)")
_TIMES = re.compile(r"given (\d+) times")


@dataclass(frozen=True)
class Panel:
    """Problems that models of different strengths solve, criticise, rank, check and fuse.

    A problem has a difficulty for all and another one for each model, both normal, so that different models solve different
    problems. A fuser is right the likelier the more of what it sees is right, and more so where a critic said something of it.

    Args:
        skill: what adds to a model's log-odds of a right answer, by its name.
        spread: standard deviation of the difficulty that all models share.
        taste: standard deviation of the difficulty for each model by itself.
        popular: share of the wrong answers that are the same one.
        fusing: log-odds of a fuser that sees right and wrong answers in equal parts.
        pull: what a share of right answers adds to these odds.
        advised: what critiques add.
        noise: standard deviation of a ranker's error about a candidate.
        tpr: chance that a check or a unit test passes a right candidate.
        fpr: chance that it passes a wrong one.
        seed: decides the problems.
    """

    skill: Mapping[str, float] = field(default_factory=lambda: {"simulated:small": 0.0})
    spread: float = 1.5
    taste: float = 1.0
    popular: float = 0.4
    fusing: float = 0.8
    pull: float = 4.0
    advised: float = 0.6
    noise: float = 0.6
    tpr: float = 0.7
    fpr: float = 0.4
    seed: int = 0

    # --- what is known ---

    def task(self, number: int) -> Task:
        """Return problem `number`."""
        return Task(prompt=f"Solve problem {number}.")

    def right(self, number: int) -> str:
        """Return its right answer."""
        return f"right answer to problem {number}"

    def chance(self, number: int, model: str) -> float:
        """Return the probability that a model solves a problem in one attempt."""
        return _sigmoid(self.skill[model] - self._hardness(number, model))

    def _hardness(self, number: int, model: str) -> float:
        shared, own = (NormalDist().inv_cdf(_inner(uniform(self.seed, *what))) for what in ((number,), (number, model)))
        return self.spread * shared + self.taste * own

    # --- the models ---

    def model(self, name: str = "simulated:small", *, slots: int = 8) -> ScriptedModel:
        """Return a model of this panel, in whatever part it is asked."""
        return ScriptedModel(lambda request: self._reply(name, request), name=name, slots=slots)

    def _reply(self, name: str, request: ModelRequest) -> str | ModelResponse:
        said = "\n".join(message.content for message in request.messages)
        number = int(_NUMBER.findall(said)[0])
        rng = Rng(f"{self.seed} {name} {request.sampling.seed} {len(said)}")
        properties: Mapping[str, JSON] = (request.response_schema or {}).get("properties", {})
        if "tests" in properties:
            return json.dumps({"tests": [f"it is right, point {point}" for point in range(1, 6)]})
        if "s1" in properties:
            return json.dumps({test: self._passes(fences(request)["solution"], rng) for test in properties})
        if "solution1" in properties:
            return json.dumps(
                {key: {"strengths": "it is short", "weaknesses": "it proves nothing"} for key in properties}
            )
        if {"order", "verdict", "best", "score", "scores"} & set(properties):
            return SimulatedCritic(self._worth, tpr=self.tpr, fpr=self.fpr, noise=self.noise)(request)
        solutions = {title: text for title, text in fences(request).items() if title.startswith("solution")}
        if "make the case" in said:
            return "I see no mistake in it."
        chance = self._fused(number, name, solutions, "said of solution" in said) if solutions else None
        chance = self.chance(number, name) if chance is None else chance
        return _turn(self.right(number) if rng.random() < chance else self._wrong(rng, solutions), properties)

    def _fused(self, number: int, name: str, solutions: Mapping[str, str], advised: bool) -> float:
        """Return the probability that a fuser's answer is right."""
        times = {title: int(found[1]) if (found := _TIMES.search(title)) else 1 for title in solutions}
        right = sum(times[title] for title, text in solutions.items() if self._worth(text) > 0.5)
        if not right:
            return self.chance(number, name) / 2
        share = right / sum(times.values())
        return _sigmoid(self.fusing + self.pull * (share - 0.5) + self.advised * advised)

    def _wrong(self, rng: Rng, solutions: Mapping[str, str]) -> str:
        """Return a mistake: a popular one, a rare one, or that of somebody else."""
        mistakes = [text for text in solutions.values() if self._worth(text) < 0.5]
        if mistakes and rng.random() < 0.7:
            return rng.choice(mistakes)
        return "the popular mistake" if rng.random() < self.popular else f"mistake {rng.randrange(1000)}"

    def _worth(self, text: str) -> float:
        return float("right answer" in text)

    def _passes(self, text: str, rng: Rng) -> str:
        return "pass" if rng.random() < (self.tpr if self._worth(text) > 0.5 else self.fpr) else "fail"


def _turn(answer: str, properties: Mapping[str, JSON]) -> str | ModelResponse:
    """Return an answer in the form that is asked for."""
    if "tool" in properties:
        return json.dumps({"thought": "so", "tool": "answer", "args": {"text": answer}})
    return ModelResponse(answer, Usage())


def _sigmoid(odds: float) -> float:
    return 1 / (1 + exp(-odds))


def _inner(share: float) -> float:
    """Return a share that is neither 0 nor 1."""
    return min(1 - 1e-9, max(1e-9, share))
