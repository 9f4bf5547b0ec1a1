"""Whole runs with a verifier that errs: second looks are paid for, the choice comes with its worth, runs go on after a kill."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.events import Abstained, Judged, Score, Selected, WorkStarted
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Budget, Task
from branchwise.graphs import LocalRunner, RunStore

WORTH = {"0": 0.35, "1": 0.5, "2": 0.8, "3": 0.4, "4": 0.6, "5": 0.45}


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def answering() -> ScriptedModel:
    """A model that gives the answers 0, 1, 2 ... one after the other."""
    numbers = itertools.count()

    def reply(_request: object) -> str:
        return json.dumps({"thought": "so", "tool": "answer", "args": {"text": str(next(numbers) % len(WORTH))}})

    return ScriptedModel(reply, slots=1, native_tools=False)


def guesser(
    strategy: bw.Strategy, *, noise: float = 0.12, decides: bool = False, luck: int = 4
) -> tuple[bw.Agent, list[str]]:
    """An agent whose verifier errs with every call, and the answers that it was asked about."""
    rng = random.Random(luck)
    asked: list[str] = []

    @bw.verifier
    def judge(candidate: bw.Candidate) -> bw.Verdict:
        assert candidate.answer is not None
        asked.append(candidate.answer)
        value = min(1.0, max(0.0, rng.gauss(WORTH[candidate.answer], noise)))
        return bw.Verdict(value, "outcome", "judge", passed=value > 0.7 if decides else None)

    agent = bw.Agent("guesser", answering(), verifiers=[judge], search=strategy, slots=1)
    return agent, asked


async def test_second_looks_are_charged_and_choose(runner: LocalRunner) -> None:
    """Contenders are judged again until it is clear who is best; every call is in the usage and within the budget."""
    agent, asked = guesser(bw.search.NoiseAware(bw.search.BestOfN(n=6, depth=1), right=0.75))
    result = await runner.run(agent, Task(prompt="Guess."), Budget(verifier_calls=30), seed=1)
    assert result.answer == "2"
    assert result.usage.verifier_calls == len(asked) <= 30
    assert len(asked) > 6
    assert max(map(asked.count, WORTH)) == asked.count("2") > 2
    assert result.confidence is not None
    assert 0.5 < result.confidence <= 1.0
    assert result.confidence_source == "the search's own model of its verifiers' noise, not calibrated"


async def test_abstains_where_it_is_not_sure(runner: LocalRunner) -> None:
    """With no answer likely enough the run ends without one, and the journal says why."""
    agent, _ = guesser(bw.search.NoiseAware(bw.search.BestOfN(n=6, depth=1), right=0.95, abstain=0.5))
    events = [event async for event in runner.stream(agent, Task(prompt="Guess."), Budget(verifier_calls=20), seed=1)]
    result = events[-1]
    assert isinstance(result, bw.Result)
    assert (result.answer, result.abstained, result.accepted) == (None, True, False)
    (abstained,) = (event for event in events if isinstance(event, Abstained))
    assert "less than 0.5" in abstained.reason


async def test_one_lucky_pass_does_not_end_the_search(runner: LocalRunner) -> None:
    """A noisy "passed" is looked at again; what is accepted is what is probably right."""
    right = {"plain": 0, "aware": 0}
    for luck in range(6):
        plain, _ = guesser(bw.search.BestOfN(n=6, depth=1), decides=True, noise=0.25, luck=luck)
        result = await runner.run(plain, Task(prompt="Guess."), Budget(verifier_calls=40), seed=1)
        right["plain"] += result.answer == "2"
        strategy = bw.search.NoiseAware(bw.search.BestOfN(n=6, depth=1), right=0.6, accept=0.9)
        aware, asked = guesser(strategy, decides=True, noise=0.25, luck=luck)
        result = await runner.run(aware, Task(prompt="Guess."), Budget(verifier_calls=60), seed=1)
        right["aware"] += result.answer == "2"
        if result.accepted:
            assert result.confidence is not None
            assert result.confidence >= 0.9
            assert asked.count(str(result.answer)) > 1, "one pass is never enough"
    assert right["aware"] >= right["plain"] + 2


async def test_goes_on_where_it_was(runner: LocalRunner) -> None:
    """A run that ran out of budget goes on with a larger one: judged nodes are known, the journal holds second looks."""
    agent, asked = guesser(bw.search.NoiseAware(bw.search.BestOfN(n=6, depth=1), right=0.75))
    first = await runner.run(agent, Task(prompt="Guess."), Budget(verifier_calls=9), seed=1)
    assert first.stop_reason == "budget"
    done = len(asked)
    result = await runner.resume(agent, first.run_id, budget=Budget(verifier_calls=30))
    assert result.usage.verifier_calls == len(asked) <= 30
    assert len(asked) > done
    assert result.answer == "2"


async def test_the_journal_says_who_was_asked_again(runner: LocalRunner) -> None:
    """A second look names its verifier; the first does not; the selection carries its confidence."""
    agent, _ = guesser(bw.search.NoiseAware(bw.search.BestOfN(n=6, depth=1), right=0.75))
    events = [event async for event in runner.stream(agent, Task(prompt="Guess."), Budget(verifier_calls=20), seed=1)]
    scores = [event.work for event in events if isinstance(event, WorkStarted) and isinstance(event.work, Score)]
    assert {work.verifiers for work in scores} == {(), ("judge",)}
    assert all(len(event.verdicts) <= 1 for event in events if isinstance(event, Judged))
    (selected,) = (event for event in events if isinstance(event, Selected))
    assert selected.confidence is not None
