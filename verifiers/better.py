"""A model's own guess whether it would do better if it started over, read from the probability of one token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import ClassVar, Literal

from ..core.errors import VerifierError
from ..core.protocols import Candidate, Meter, Model
from ..core.types import Message, ModelRequest, ModelResponse, Sampling, Semantics, Verdict

QUESTION = (
    "Stop here. If you threw this response away and started over, would the new response be better? Answer with one word, "
    "yes or no."
)

ALTERNATIVES = 20
"""How many of the most probable tokens are looked through for a yes and a no: what servers report at most."""


@dataclass(frozen=True)
class Better:
    """Ask the model, after a response or in the middle of it, whether a fresh one would be better: 1 - P(yes) is the value.

    Manvi et al. (2024), Adaptive Inference-Time Compute: LLMs can predict if they can do better, even mid-generation. The paper
    trains the token that is read; a model that was not trained so says yes or no with probabilities that order its responses at
    best. Calibrate them before comparing them with a threshold: `verifiers.Calibrated(Better(), calibration)`, fitted on
    `search.restart_outcomes` of some runs, or on `search.by_rank` where nothing is known of those.

    It costs one token and the reading of the question: the conversation is the solver's own, which the server has read.

    Args:
        question: asked after the response; begins with a yes or a no where the model is willing.
        model: `provider:model` or a `Model` for itself; None asks the agent's, as the method means it.
        name: shown beside its verdicts.
    """

    question: str = QUESTION
    model: str | Model | None = None
    name: str = "better"
    semantics: ClassVar[Semantics] = "value"
    scope: ClassVar[Literal["state"]] = "state"

    @property
    def own_models(self) -> Sequence[str | Model]:
        """The model that it has for itself."""
        return () if self.model is None else (self.model,)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Ask for one token. Where nothing was said yet nothing is asked: anything is better.

        Raises:
            VerifierError: neither a yes nor a no is among the probable tokens.
        """
        if candidate.node.step is None:
            return Verdict(0.0, self.semantics, self.name, calls=0)
        model = candidate.asks(self.model)
        # At temperature 1 every server reports the same probabilities, whether it scales them or not.
        sampling = Sampling(1, 1.0, seed=candidate.seed, logprobs=ALTERNATIVES)
        meter = Meter()
        response = await model.generate(ModelRequest(tuple(self.messages(candidate)), sampling), meter)
        return Verdict(1 - self.chance(response), self.semantics, self.name, usage=meter.usage())

    def messages(self, candidate: Candidate) -> list[Message]:
        """Return the conversation so far with the question."""
        if candidate.conversation is not None:
            messages = list(candidate.conversation(candidate.path))
        else:
            said = [Message("assistant", node.step.text) for node in candidate.path if node.step is not None]
            messages = [Message("user", candidate.task.prompt), *said]
        if messages[-1].role == "user":
            return [*messages[:-1], Message("user", f"{messages[-1].content}\n\n{self.question}")]
        return [*messages, Message("user", self.question)]

    def chance(self, response: ModelResponse) -> float:
        """Return P(yes) among yes and no at the first token; what was sampled where the server reports no probabilities.

        Raises:
            VerifierError: neither is there.
        """
        first = response.logprobs[0] if response.logprobs else None
        tokens = {first.token: first.logprob, **dict(first.top)} if first is not None else {response.text: 0.0}
        mass = {"yes": 0.0, "no": 0.0}
        for token, logprob in tokens.items():
            word = token.strip().strip(".,!*\"'").lower()
            if word in mass:
                mass[word] += exp(logprob)
        total = mass["yes"] + mass["no"]
        if not total:
            likely = ", ".join(repr(token) for token in list(tokens)[:5])
            raise VerifierError(
                f"verifier {self.name!r} found neither yes nor no among the first tokens that the model would say ({likely} ...); "
                "give it another question, or another model"
            )
        return mass["yes"] / total
