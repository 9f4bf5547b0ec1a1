"""Sampling methods through the whole machine: streams that are stopped, log-probabilities, criticism, the command line's names."""

from __future__ import annotations

import math
from typing import Any

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, ModelResponse, TokenLogprob, Usage
from branchwise.search import FirstFinish, PerplexityConsistency, SelfRefine, parse_selector, parse_strategy


def solver(model: ScriptedModel, **options: Any) -> bw.Agent:
    """Return an agent without tools."""
    return bw.Agent(name="solver", model=model, **options)


async def test_the_first_to_finish_stops_the_others() -> None:
    """Of four streams one is quick: it is the answer, the calls of the others are closed and charged for what they had."""
    begun: dict[int | None, int] = {}

    def latency(request: ModelRequest) -> float:
        """The third stream is done at once, the others would take a minute."""
        place = begun.setdefault(request.sampling.seed, len(begun))
        return 0.0 if place == 2 else 60.0

    def script(request: ModelRequest) -> str:
        """Say which stream it was."""
        return "The answer is 7. " * 20 if begun.get(request.sampling.seed, len(begun)) == 2 else "thinking " * 200

    model = ScriptedModel(script, latency_seconds=latency)
    result = await solver(model, slots=4).run("How much?", search=FirstFinish(n=4, same="number"), seed=1)
    assert str(result.answer).startswith("The answer is 7.")
    assert model.in_flight == 0
    assert len(model.requests) == 4
    assert result.usage.cancelled_tokens > 3 * 100
    assert result.stop_reason == "exhausted"
    assert result.seconds < 30


async def test_probabilities_outvote_counts() -> None:
    """With log-probabilities two improbable trajectories weigh less than a probable one; the confidence says how much."""
    said = iter([("a", -3.0), ("b", -0.5), ("a", -3.5)])

    def script(_request: ModelRequest) -> ModelResponse:
        """Answer with the next text and its log-probability."""
        text, logprob = next(said)
        return ModelResponse(text, Usage(), logprobs=(TokenLogprob(text, logprob),))

    agent = solver(ScriptedModel(script), sampling=bw.Sampling(logprobs=0), select=PerplexityConsistency(), slots=1)
    result = await agent.run("Which?", search=parse_strategy("best-of-n:n=3"), seed=1)
    assert result.answer == "b"
    masses = [math.exp(-3.0), math.exp(-0.5)]
    assert result.confidence is not None
    assert abs(result.confidence - masses[1] / sum(masses)) < 1e-9  # the two ways to "a" were the same words


async def test_a_criticism_is_shown_and_mended() -> None:
    """The model is shown its attempt, then its attempt with the criticism; the last answer is the result."""
    prompts: list[str] = []

    def script(request: ModelRequest) -> str:
        """Attempt, criticise, mend, be content."""
        prompts.append(request.messages[-1].content)
        return ["2 + 2 is 5", "It is not 5.", "2 + 2 is 4", "FINISHED"][len(prompts) - 1]

    result = await solver(ScriptedModel(script)).run("How much is 2 + 2?", search=SelfRefine(rounds=3), seed=1)
    assert result.answer == "2 + 2 is 4"
    assert "2 + 2 is 5" in prompts[1]
    assert "Criticise the last attempt" in prompts[1]
    assert "2 + 2 is 5" in prompts[2]
    assert "It is not 5." in prompts[2]
    assert len(prompts) == 4


async def test_a_selector_by_name() -> None:
    """What `--search` and `--select` say on the command line: trajectories by one, the choice by the other."""
    said = iter(["4", "5", "The answer is 4."])
    agent = solver(ScriptedModel(lambda _request: next(said)), slots=1, select=parse_selector("vote:same=number"))
    result = await agent.run("How much?", search=parse_strategy("best-of-n:n=3"), seed=1)
    assert result.answer in ("4", "The answer is 4.")
    assert result.confidence == 2 / 3
    assert result.confidence_source.startswith("share of 3 answers")
