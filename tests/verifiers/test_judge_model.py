"""`Judge` and its like with a real small model behind a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.types import ROOT
from branchwise.graphs import LocalRunner, RunStore
from branchwise.verifiers import Complete, Judge, Vote, known_candidate
from branchwise.verifiers.asking import chances

MODEL = "embedded:smollm2-135m-instruct"

pytestmark = pytest.mark.model


async def test_verdicts_are_read_from_the_probabilities_that_a_real_server_tells() -> None:
    """In the enforced form, of words and of scores; the same seed gives the same verdict."""
    model = await bw.models.connect(MODEL)
    try:
        candidate = known_candidate(bw.Task(prompt="What is 2 + 3?"), "2 + 3 = 5", model, seed=3)
        judge = Judge(think=False, max_tokens=48)
        verdict = await judge.judge(candidate)
        assert 0.0 < verdict.value < 1.0, "a share of probability, not a sampled word"
        assert verdict.usage.completion_tokens > 0
        assert (await judge.judge(candidate)).value == pytest.approx(verdict.value, abs=1e-3)
        score = await Judge(form="score", think=False, max_tokens=48).judge(candidate)
        assert score.value * 4 != round(score.value * 4), "a mean over scores, not one of them"
        assert 0.0 <= (await Complete().judge(candidate)).value <= 1.0
        reply = await bw.verifiers.asking.Asker("judge", max_tokens=48, logprobs=10).ask(
            candidate, judge.messages(candidate), judge.schema
        )
        shares = chances(reply.response, "verdict", ("yes", "no"))
        assert sum(shares.values()) == pytest.approx(1.0)
    finally:
        await model.aclose()


async def test_a_search_with_a_judge_of_a_real_model_is_charged_for_it(tmp_path: Path) -> None:
    """Two votes for each of two answers, all their tokens in the ledger."""
    agent = bw.Agent(
        name="quiz",
        model=MODEL,
        instructions="Answer in one word.",
        verifiers=[Vote(Judge(think=False, max_tokens=48), k=2)],
        search=bw.search.BestOfN(n=2, depth=1),
        sampling=bw.Sampling(max_tokens=400),
        form="text",
    )
    budget = bw.Budget(tokens=20_000)
    result = await LocalRunner(RunStore(tmp_path)).run(agent, bw.Task(prompt="The colour of snow?"), budget, seed=4)
    judged = [verdict for node in result.tree if node.id != ROOT for verdict in result.tree.verdicts(node.id)]
    assert [verdict.calls for verdict in judged] == [2, 2]
    assert result.usage.verifier_calls == 4
    assert result.usage.calls == 6
    assert result.usage.tokens == result.tree.usage.tokens
    assert sum(verdict.usage.tokens for verdict in judged) < result.usage.tokens
