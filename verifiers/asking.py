"""Asking a model for a judgement in a form that the server enforces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import cast

from ..core.errors import ModelOutputInvalid, VerifierError
from ..core.protocols import Candidate, Meter, Model
from ..core.types import JSON, Message, ModelRequest, ModelResponse, Sampling, Usage


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said when it was asked to judge."""

    data: Mapping[str, JSON]
    """The reply's object."""
    response: ModelResponse
    usage: Usage


@dataclass(frozen=True)
class Asker:
    """How a verifier asks its model.

    Args:
        name: of the verifier, for messages.
        model: `provider:model` or a `Model` of the verifier's own; None asks the agent's.
        temperature: of sampling.
        max_tokens: longest reply.
        logprobs: number of alternatives to ask for at each token; None for no log-probabilities.
    """

    name: str
    model: str | Model | None = None
    temperature: float = 0.7
    max_tokens: int = 512
    logprobs: int | None = None

    async def ask(self, candidate: Candidate, messages: Sequence[Message], schema: Mapping[str, JSON]) -> Reply:
        """Return a reply that fits `schema`, sampled with the candidate's seed.

        Raises:
            VerifierError: the reply is not of that form, for example cut off before its end: there is no verdict in it.
        """
        text, response, usage = await self._sample(candidate, messages, schema)
        data = _fitting(text, schema)
        if data is None:
            why = "it was cut off; raise max_tokens" if response.finish_reason == "length" else "it has another form"
            raise VerifierError(f"verifier {self.name!r} found no verdict in the reply {text[-80:]!r}: {why}")
        return Reply(data, response, usage)

    async def write(
        self, candidate: Candidate, messages: Sequence[Message], schema: Mapping[str, JSON] | None = None
    ) -> tuple[str, Usage]:
        """Return a reply in whatever form, also where it is not that of the `schema` that was asked for, and what it cost."""
        text, _, usage = await self._sample(candidate, messages, schema)
        return text, usage

    async def _sample(
        self, candidate: Candidate, messages: Sequence[Message], schema: Mapping[str, JSON] | None
    ) -> tuple[str, ModelResponse, Usage]:
        model = candidate.asks(self.model)
        sampling = Sampling(self.max_tokens, self.temperature, seed=candidate.seed, logprobs=self.logprobs)
        meter = Meter()
        try:
            response = await model.generate(ModelRequest(tuple(messages), sampling, response_schema=schema), meter)
        except ModelOutputInvalid as error:
            raise VerifierError(f"verifier {self.name!r} got no usable reply: {error}") from error
        usage = meter.usage()
        return response.text, response, replace(usage, usd=model.price(usage) or 0.0)


def _fitting(text: str, schema: Mapping[str, JSON]) -> Mapping[str, JSON] | None:
    """Return the object in a reply if it has all properties, and of those with a choice one of the choices.

    Not every server enforces the form that it is given.
    """
    try:
        data: JSON = json.loads(text)
    except (ValueError, RecursionError):
        return None
    properties: Mapping[str, JSON] = schema["properties"]
    if not isinstance(data, dict):
        return None
    found = cast("Mapping[str, JSON]", data)
    for name, kind in properties.items():
        if name not in found or ("enum" in kind and found[name] not in kind["enum"]):
            return None
    return found


def chances(response: ModelResponse, field: str, options: Sequence[str]) -> dict[str, float]:
    """Return how probable each option was at the place where the reply names one of them as the value of its last field.

    The alternatives of that token are read, as far as the server tells them: shares of what the options have together, since
    most servers report probabilities from before the form was enforced. Nothing where no option is among them, and nothing
    where two options begin alike so that one token does not tell them apart.
    """
    if not response.logprobs or len({option[:1] for option in options}) < len(options):
        return {}
    # In the tokens' own text: that of the reply may lack what stands around the object, such as a line's end. And from its end:
    # what comes before may hold letters that are split over several tokens.
    said = "".join(token.token for token in response.logprobs)
    place = _value_place(said, field)
    if place is None:
        return {}
    left = len(said) - place
    for token in reversed(response.logprobs):
        left -= len(token.token)
        if left <= 0:
            alternatives = {token.token: token.logprob, **dict(token.top)}
            lead = token.token[:-left] if left < 0 else ""
            found = {option: _mass(option, lead, alternatives.items()) for option in options}
            total = sum(found.values())
            return {option: mass / total for option, mass in found.items()} if total > 0 else {}
    return {}


def _value_place(text: str, field: str) -> int | None:
    """Return where the value of the object's last field begins, behind its quotation mark if it has one."""
    place = text.rfind(f'"{field}"')
    colon = text.find(":", place + len(field) + 2) if place >= 0 else -1
    if colon < 0:
        return None
    rest = text[colon + 1 :]
    value = rest.lstrip()
    return len(text) - len(value) + value.startswith('"')


def _mass(option: str, lead: str, alternatives: Iterable[tuple[str, float]]) -> float:
    mass = 0.0
    for token, logprob in alternatives:
        said = token[len(lead) :].lower() if token.startswith(lead) else ""
        if said and (option.startswith(said) or said.startswith(option)):
            mass += exp(logprob)
    return mass
