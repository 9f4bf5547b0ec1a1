"""A simulated model that judges: what the verifiers that ask models say is known, and how far they can be trusted."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log

from ..types import JSON, ModelRequest, ModelResponse, TokenLogprob, Usage
from .steps import uniform

Rng = random.Random

_FENCE = re.compile(
    r"^<<< (?P<title>.+?) (?P<mark>[0-9a-f]+)\n(?P<text>.*?)\n>>> (?P=title) (?P=mark)$", re.DOTALL | re.MULTILINE
)


def fences(request: ModelRequest) -> dict[str, str]:
    """Return what a judge's prompt shows between its fences, by title."""
    shown = "\n\n".join(message.content for message in request.messages if message.role == "user")
    return {match["title"]: match["text"] for match in _FENCE.finditer(shown)}


@dataclass(frozen=True)
class SimulatedCritic:
    """The script of a `ScriptedModel` that judges candidates whose worth is known, in any form that it is asked for.

    A yes or no comes as by Bernoulli's law; scores and comparisons go by the worth with errors added. What is drawn depends on
    the request's seed and, for what persists, on the candidate's text.

    Args:
        worth: true value of a candidate by its text, in [0, 1]; from 1/2 on it is right.
        tpr: chance of a yes for a right one in one call.
        fpr: chance of a yes for a wrong one.
        noise: standard deviation of a score's error that is drawn anew with every call.
        persistent: standard deviation of the error that a candidate gets in every call.
        place: what is added to the first one shown, in a comparison; less for those after it.
        mute: share of the replies that end before there is a verdict.
        certain: how probable the token of what it says is, where log-probabilities are asked for; None gives none.
    """

    worth: Callable[[str], float]
    tpr: float = 1.0
    fpr: float = 0.0
    noise: float = 0.0
    persistent: float = 0.0
    place: float = 0.0
    mute: float = 0.0
    certain: float | None = None

    def __call__(self, request: ModelRequest) -> ModelResponse:
        """Judge."""
        rng = Rng(f"{request.sampling.seed} {len(request.messages)}")
        if rng.random() < self.mute:
            return ModelResponse('{"critique": "I went through it and', Usage(), "length")
        properties: Mapping[str, JSON] = (request.response_schema or {}).get("properties", {})
        shown = fences(request)
        solutions = [
            text
            for title, text in shown.items()
            if title not in {"task", "case for it"} and not title.startswith("said of")
        ]
        if "verdict" in properties:
            return self._verdict(solutions[-1], rng)
        if "score" in properties:
            most = max(properties["score"]["enum"])
            return _reply({"critique": "read", "score": round(1 + self._seen(solutions[-1], rng) * (most - 1))})
        if "best" in properties:
            letters: list[str] = properties["best"]["enum"]
            seen = [self._seen(text, rng) + self.place / (1 + seat) for seat, text in enumerate(solutions)]
            return _reply({"critique": "read all", "best": letters[seen.index(max(seen))]})
        if "order" in properties:
            seen = [self._seen(text, rng) for text in solutions]
            places = sorted(range(len(seen)), key=lambda place: (-seen[place], place))
            return _reply({"critique": "read all", "order": " > ".join(f"[{place + 1}]" for place in places)})
        scores = {
            letter: round(1 + 9 * self._seen(text, rng)) for letter, text in zip("ABCDEFGHIJ", solutions, strict=False)
        }
        return _reply({"principles": "be right", "critique": "read all", "scores": scores})

    def _verdict(self, solution: str, rng: Rng) -> ModelResponse:
        yes = rng.random() < (self.tpr if self.worth(solution) >= 0.5 else self.fpr)
        said, other = ("yes", "no") if yes else ("no", "yes")
        reply = _reply({"critique": "read", "verdict": said})
        if self.certain is None:
            return reply
        head, tail = reply.text[: reply.text.rindex(said)], reply.text[reply.text.rindex(said) + len(said) :]
        top = ((said, log(self.certain)), (other, log(1 - self.certain)))
        tokens = (TokenLogprob(head, -1.0), TokenLogprob(said, top[0][1], top), TokenLogprob(tail, -0.1))
        return ModelResponse(reply.text, Usage(), logprobs=tokens)

    def _seen(self, solution: str, rng: Rng) -> float:
        """Return a candidate's worth as one call sees it, in [0, 1]."""
        stays = Rng(f"persistent {uniform(solution)}").gauss(0.0, self.persistent) if self.persistent else 0.0
        return min(1.0, max(0.0, self.worth(solution) + stays + rng.gauss(0.0, self.noise)))


def _reply(data: Mapping[str, JSON]) -> ModelResponse:
    return ModelResponse(json.dumps(data), Usage())
