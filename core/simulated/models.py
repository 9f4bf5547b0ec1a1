"""Simulated models whose worth is known step by step: a small and a large one that share a task, and one that knows concepts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Literal

from ..errors import UsageError
from ..testing import ScriptedModel
from ..types import ModelRequest, ModelResponse, TokenLogprob, Usage
from .steps import uniform

Rng = random.Random

Size = Literal["small", "large"]

ALTERNATIVES = 20
"""Tokens among which the first token of a step is uncertain, as many as servers report."""


@dataclass(frozen=True)
class TwoModelSteps:
    """A task of several steps, some hard, for a small and a large model. The models are `ScriptedModel`s.

    A reply is one step, "step 3: right" or "step 3: wrong"; which step it is shows from the assistant's messages before it.
    The first token's log-probabilities have an entropy that tells hard steps from easy ones as well as `auroc` says.

    Args:
        seed: which task it is.
        steps: steps of the task, >= 1.
        hard: share of hard steps, in [0, 1].
        small: the small model's chance to get an easy and a hard step right.
        large: the same of the large one.
        seconds: how long a step takes the small and the large model.
        auroc: chance that the entropy at a hard step is higher than at an easy one, in (0, 1); .5 tells nothing.

    Raises:
        UsageError: `auroc` is out of range.
    """

    seed: int
    steps: int = 10
    hard: float = 0.3
    small: tuple[float, float] = (0.97, 0.4)
    large: tuple[float, float] = (0.99, 0.95)
    seconds: tuple[float, float] = (0.2, 1.0)
    auroc: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 < self.auroc < 1.0:
            raise UsageError(f"auroc={self.auroc!r} must lie between 0 and 1; 0.5 is an entropy that tells nothing")

    def is_hard(self, step: int) -> bool:
        """Whether a step, from 0, is hard."""
        return uniform(self.seed, "hard", step) < self.hard

    def accuracy(self, size: Size, step: int) -> float:
        """Return a model's chance to get a step right."""
        return (self.small if size == "small" else self.large)[self.is_hard(step)]

    def entropy(self, step: int) -> float:
        """Return the entropy of the first token at a step, in nats: normal around 1, its mean moved at hard steps."""
        apart = sqrt(2) * NormalDist().inv_cdf(self.auroc)
        score = NormalDist().inv_cdf(min(1 - 1e-9, max(1e-9, uniform(self.seed, "entropy", step))))
        raised = score + (apart if self.is_hard(step) else 0.0)
        return min(log(ALTERNATIVES) - 0.01, max(0.01, 1.0 + 0.25 * raised))

    def model(self, size: Size) -> ScriptedModel:
        """Return one of the two models."""

        def script(request: ModelRequest) -> ModelResponse:
            step = sum(message.role == "assistant" for message in request.messages)
            right = uniform(self.seed, size, step, request.sampling.seed) < self.accuracy(size, step)
            first = _first_token("step", self.entropy(step)) if request.sampling.logprobs else ()
            return ModelResponse(f"step {step}: {'right' if right else 'wrong'}", Usage(), logprobs=first)

        seconds = self.seconds[size == "large"]
        return ScriptedModel(script, name=f"simulated:{size}", latency_seconds=lambda _request: seconds)

    def solved(self, replies: Sequence[str]) -> bool:
        """Whether all steps were taken, and are right."""
        return len(replies) == self.steps and all(reply.endswith(": right") for reply in replies)


def _first_token(token: str, entropy: float) -> tuple[TokenLogprob]:
    """Return a token's log-probabilities with a given entropy: one likely token, the others alike."""
    least, most = 1 / ALTERNATIVES, 1 - 1e-12
    for _ in range(60):
        peak = (least + most) / 2
        least, most = (peak, most) if entropy_of(_spread(peak)) > entropy else (least, peak)
    top = tuple((f"{token}{number or ''}", logprob) for number, logprob in enumerate(_spread((least + most) / 2)))
    return (TokenLogprob(token, top[0][1], top),)


def _spread(peak: float) -> list[float]:
    return [log(peak), *[log((1 - peak) / (ALTERNATIVES - 1))] * (ALTERNATIVES - 1)]


def entropy_of(logprobs: Iterable[float]) -> float:
    """Return the entropy of some alternatives in nats, their probabilities made to add up to 1."""
    chances = [exp(logprob) for logprob in logprobs]
    total = sum(chances)
    return -sum(chance / total * log(chance / total) for chance in chances if chance > 0)


@dataclass(frozen=True)
class ConceptTasks:
    """Tasks that need concepts which notes explain: a note on the right one in the prompt helps, notes on others distract.

    Args:
        concepts: how many there are.
        needed: concepts that a task needs, >= 1.
        alone: chance to solve a task with no notes, in [0, 1].
        gain: what each note on a needed concept adds; with all of them the chance is `alone + needed * gain`.
        distraction: what every other note takes away.
        seed: decides which task needs what.
    """

    concepts: int = 20
    needed: int = 2
    alone: float = 0.1
    gain: float = 0.4
    distraction: float = 0.05
    seed: int = 0

    def needs(self, task: int) -> frozenset[int]:
        """Return the concepts that a task needs."""
        return frozenset(Rng(f"{self.seed} task {task}").sample(range(self.concepts), self.needed))

    def prompt(self, task: int) -> str:
        """Return a task's words. It names what it is about, so that notes can be found by their words."""
        about = " and ".join(f"matter{concept} in form{concept}" for concept in sorted(self.needs(task)))
        return f"task {task}: deal with {about}"

    def note(self, concept: int) -> str:
        """Return the note that explains a concept."""
        return f"[note {concept}] how to deal with matter{concept} in form{concept}"

    def chance(self, task: int, shown: Iterable[int]) -> float:
        """Return the chance to solve a task with notes on the concepts `shown`."""
        notes, needs = set(shown), self.needs(task)
        return min(1.0, max(0.0, self.alone + self.gain * len(notes & needs) - self.distraction * len(notes - needs)))

    def model(self) -> ScriptedModel:
        """Return a model that answers "right" with the chance that the notes in its prompt give it, else "wrong"."""

        def script(request: ModelRequest) -> str:
            text = "\n".join(message.content for message in request.messages)
            numbers = [int(part.split(":")[0]) for part in text.split("task ")[1:] if part.split(":")[0].isdigit()]
            shown = [concept for concept in range(self.concepts) if f"[note {concept}]" in text]
            lucky = uniform(self.seed, "solve", numbers[-1], request.sampling.seed)
            return "right" if lucky < self.chance(numbers[-1], shown) else "wrong"

        return ScriptedModel(script, name="simulated:concepts")
