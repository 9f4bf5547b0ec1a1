"""Whole runs whose later attempts are shown earlier ones: what the prompts say, and how much the model may say."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def guesser(search: bw.Strategy) -> tuple[bw.Agent, ScriptedModel]:
    """An agent that says one number after the other, and a verifier that likes large ones and says so."""
    numbers = itertools.count(1)

    @bw.verifier
    def large(candidate: bw.Candidate) -> bw.Verdict:
        number = int(candidate.answer or 0)
        return bw.Verdict(number / 10, "outcome", "large", feedback=f"{number} is {10 - number} too small")

    model = ScriptedModel(lambda _request: str(next(numbers)), slots=1)
    return bw.Agent("guesser", model, verifiers=[large], search=search, form="text", slots=1), model


def asked(request: ModelRequest) -> str:
    """All that the user says in a request."""
    return "\n".join(message.content for message in request.messages if message.role == "user")


async def test_the_best_and_the_worst_attempt_are_shown(runner: LocalRunner) -> None:
    """With their scores and what was said of them; the second looks that were asked for are charged."""
    agent, model = guesser(bw.search.IterativeDecoding(4, first=2, looks=1))
    result = await runner.run(agent, Task(prompt="Say a large number."), bw.Budget(), seed=1)
    assert result.answer == "4"
    assert result.usage.verifier_calls == 4 + 2
    third, fourth = model.requests[2:]
    assert "score 0.20" in asked(third)
    assert "2 is 8 too small" in asked(third)
    assert asked(third).index("2 is 8 too small") < asked(third).index("1 is 9 too small")
    assert "3 is 7 too small" in asked(fourth)
    assert "Attempt" not in asked(model.requests[1])


async def test_every_call_has_the_context_that_was_allocated(runner: LocalRunner) -> None:
    """Turns times batch calls, none longer than `context` tokens; later turns are shown the best."""
    agent, model = guesser(bw.search.Turns(turns=2, batch=2, context=7))
    result = await runner.run(agent, Task(prompt="Say a large number."), bw.Budget(), seed=1)
    assert result.answer == "4"
    assert [request.sampling.max_tokens for request in model.requests] == [7] * 4
    assert ["2 is 8 too small" in asked(request) for request in model.requests] == [False, False, True, True]
