"""Whole runs that decide for themselves how much is enough."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.errors import UsageError
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.search import BestOfN, ComputeOptimal, PolicyTable, Resampling, Saturation

TASK = Task(prompt="Guess the number.")


@bw.verifier(semantics="outcome", scope="answer")
def close(candidate: bw.Candidate) -> float:
    """How close the guess is to 7: only a score."""
    return max(0.0, 1 - abs(7 - int(candidate.answer or 0)) / 10)


@bw.verifier(semantics="outcome", scope="answer")
def never(candidate: bw.Candidate) -> bool:
    """Accept nothing."""
    return False


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def guesser(verifier: bw.Verifier, search: bw.Strategy) -> bw.Agent:
    """An agent that guesses 0, 1, 2 ... 9 and again."""
    numbers = itertools.cycle(range(10))
    model = ScriptedModel(lambda _request: str(next(numbers)), slots=2)
    return bw.Agent(name="guesser", model=model, form="text", verifiers=[verifier], search=search)


async def test_a_saturated_run_says_why_it_ended(runner: LocalRunner) -> None:
    """Long before its hundred trajectories, with the estimate in the result."""
    agent = guesser(close, Saturation(BestOfN(n=100), epsilon=0.02))
    result = await runner.run(agent, TASK, bw.Budget(), seed=1)
    assert result.answer == "7"
    assert result.stop_reason == "exhausted"
    assert result.stop_detail.startswith("saturated after ")
    assert result.usage.calls < 40


async def test_a_run_abstains_when_resampling_is_not_worth_it(runner: LocalRunner) -> None:
    """After the attempts that the rates allow, with the reason; no attempt at all where mistakes are too dear."""
    search = Resampling(BestOfN(n=50), tpr=0.9, fpr=0.2, wrong=-2.0)
    result = await runner.run(guesser(never, search), TASK, bw.Budget(), seed=1)
    assert result.abstained
    assert "answers was accepted" in result.stop_detail
    assert result.usage.calls == search.limit.attempts == 2
    dear = Resampling(BestOfN(n=50), tpr=0.9, fpr=0.5, wrong=-9.0, kinds=((1.0, 0.3),))
    nothing = await runner.run(guesser(never, dear), TASK, bw.Budget(), seed=1)
    assert (nothing.abstained, nothing.usage.calls) == (True, 0)
    assert nothing.stop_detail.startswith("no attempt is worth it")


async def test_a_saved_table_chooses_the_search(runner: LocalRunner, tmp_path: Path) -> None:
    """By its name, as on the command line; the run is resumed by what it recorded."""
    PolicyTable((0.5,), ("best-of-n:n=12", "best-of-n:n=4"), 0.0, 0.0, 10).save(tmp_path / "table.json")
    search = bw.search.parse_strategy(f"compute-optimal:{tmp_path / 'table.json'},probes=4")
    assert isinstance(search, ComputeOptimal)
    result = await runner.run(guesser(close, search), TASK, bw.Budget(), seed=1)
    assert result.answer == "7"
    assert result.usage.calls == 12, "the first four guesses are 0 to 3, which are far off"
    assert result.stop_detail.startswith("went on by best-of-n")


@pytest.mark.parametrize("around", ["", "saturation:"])
async def test_what_cannot_be_cut_is_refused_before_anything_is_started(runner: LocalRunner, around: str) -> None:
    """A form under a grammar with a strategy that cuts turns, alone or within a controller; plain text is no trouble."""
    agent = bw.Agent(name="guesser", model=ScriptedModel(lambda _request: "1"), verifiers=[close])
    with pytest.raises(UsageError, match="form='auto'; give it form='text'"):
        await runner.run(agent, TASK, bw.Budget(), search=bw.search.parse_strategy(f"{around}early-pruning"))
    assert not runner.store.runs()
    text = guesser(close, BestOfN())
    result = await runner.run(
        text, TASK, bw.Budget(), seed=1, search=bw.search.parse_strategy(f"{around}early-pruning:n=3")
    )
    assert result.answer is not None
