"""Sampling methods with a real small model: log-probabilities that vote, streams that are stopped for real."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest

import branchwise as bw
from branchwise.models import EmbeddedModel, EngineSettings
from branchwise.search import BestOfN, FirstFinish, PerplexityConsistency

pytestmark = pytest.mark.model


@pytest.fixture
async def model(engine: EngineSettings) -> AsyncIterator[EmbeddedModel]:
    """A user of the shared engine."""
    model = EmbeddedModel("embedded:small", engine)
    yield model
    await model.aclose()


async def test_a_real_model_s_probabilities_vote(model: EmbeddedModel) -> None:
    """Every trajectory carries the sum of its tokens' log-probabilities, and the winner's share is of them."""
    agent = bw.Agent(
        name="vote",
        model=model,
        form="text",
        sampling=bw.Sampling(max_tokens=40, temperature=0.7, logprobs=0),
        select=PerplexityConsistency("exact", prune=False),
    )
    result = await agent.run("Name one colour. Say only its name.", search=BestOfN(n=4, depth=1), seed=1)
    answered = [node for node in result.tree if node.answer is not None and node.step is not None]
    assert answered, "the model rambled to its limit four times"
    assert all(
        node.step.logprob is not None and -200 < node.step.logprob < 0 for node in answered if node.step is not None
    )
    by_answer: dict[str, float] = {}
    for text, logprob in {(n.answer or "", n.step.logprob or 0.0) for n in answered if n.step is not None}:
        by_answer[text] = max(by_answer.get(text, 0.0), math.exp(logprob))
    assert result.answer == max(by_answer, key=by_answer.__getitem__)
    assert result.confidence == pytest.approx(max(by_answer.values()) / sum(by_answer.values()), abs=0.02)


async def test_a_real_stream_is_stopped(model: EmbeddedModel) -> None:
    """Of three streams one is short; the others stop when it ends, far from their limit, and are charged until then."""
    agent = bw.Agent(name="race", model=model, form="text", sampling=bw.Sampling(max_tokens=400, temperature=1.0))
    result = await agent.run("Say hello in one word.", search=FirstFinish(n=3, depth=1), seed=2)
    assert result.answer
    finished = [node for node in result.tree if node.answer]
    assert result.node == finished[0].id
    assert result.usage.completion_tokens + result.usage.cancelled_tokens < 3 * 400
    assert len(result.tree) <= 4
