"""What a run lends to verifiers that ask models, are made of others, or compare."""

from __future__ import annotations

from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.protocols import Candidate
from branchwise.core.simulated.critics import SimulatedCritic
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ROOT, ModelRequest, ModelResponse, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.verifiers import All, GroupScores, Judge, Listwise, Vote


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """Runs in the test's own folder."""
    return LocalRunner(RunStore(tmp_path))


def worth(text: str) -> float:
    """Answers say what they are worth."""
    digits = [char for char in text if char.isdigit()]
    return int(digits[-1]) / 10 if digits else 0.0


def solving(critic: SimulatedCritic) -> ScriptedModel:
    """A model that answers with a digit by its seed, and judges by the critic when it is asked to judge."""

    def script(request: ModelRequest) -> ModelResponse | str:
        if request.response_schema is not None:
            return critic(request)
        return f"the answer is {(request.sampling.seed or 0) % 10}"

    return ScriptedModel(script)


def quiz(model: ScriptedModel, *verifiers: bw.Verifier, n: int = 4) -> bw.Agent:
    """An agent with a native form."""
    return bw.Agent(name="quiz", model=model, verifiers=verifiers, search=bw.search.BestOfN(n=n))


async def test_a_judge_asks_the_agent_s_model_and_all_of_it_is_charged(runner: LocalRunner) -> None:
    """Votes as verifier calls, their tokens in the ledger, the call log and the events alike."""
    model = solving(SimulatedCritic(worth, certain=0.9))
    result = await runner.run(quiz(model, Vote(Judge(), k=3)), Task(prompt="?"), bw.Budget(), seed=1)
    assert result.usage.verifier_calls == 12
    assert result.usage.calls == 16
    assert result.usage.tokens == result.tree.usage.tokens
    assert {verdict.calls for node in result.tree for verdict in result.tree.verdicts(node.id)} == {3}
    assert len({request.sampling.seed for request in model.requests}) == 16


async def test_a_judge_with_a_model_of_its_own_is_paid_from_the_same_budget(runner: LocalRunner) -> None:
    """Opened once, whichever part asks for it; the agent's model never judges."""
    solver = solving(SimulatedCritic(worth))
    critic = ScriptedModel(SimulatedCritic(worth), name="scripted:critic")
    strict = Judge(model=critic, accept=0.5, name="strict")
    agent = quiz(solver, All(strict, Judge(model=critic, name="second")))
    result = await runner.run(agent, Task(prompt="?"), bw.Budget(calls=7), seed=1)
    assert all(request.response_schema is None for request in solver.requests)
    assert len(critic.requests) + len(solver.requests) == result.usage.calls <= 7


async def test_two_models_of_one_name_are_refused(runner: LocalRunner) -> None:
    """Their calls could not be told apart in the log."""
    agent = quiz(solving(SimulatedCritic(worth)), Judge(model=ScriptedModel(lambda _r: "")))
    with pytest.raises(bw.UsageError, match="has a model called 'scripted:model', and so has another one"):
        await runner.run(agent, Task(prompt="?"), bw.Budget(), seed=1)


async def test_what_is_charged_when_a_judgement_fails(runner: LocalRunner) -> None:
    """A reply without a verdict costs its tokens; the node stays unjudged, the search goes on."""
    model = solving(SimulatedCritic(worth, mute=1.0))
    result = await runner.run(quiz(model, Judge(), n=2), Task(prompt="?"), bw.Budget(), seed=1)
    assert result.answer is not None
    assert result.verdicts == ()
    assert result.usage.calls == 2 + 2 * 3
    assert result.tree.usage.tokens == result.usage.tokens


@pytest.mark.parametrize("judge", [Listwise(k=2), GroupScores(k=2)])
async def test_a_verifier_that_compares_chooses_at_the_end(runner: LocalRunner, judge: bw.Verifier) -> None:
    """Asked once for all candidates; its verdict is on the root and in no prompt."""
    model = solving(SimulatedCritic(worth))
    result = await runner.run(quiz(model, judge, n=6), Task(prompt="?"), bw.Budget(), seed=2)
    answers = [node.answer for node in result.tree if node.answer is not None]
    assert result.answer == max(answers, key=worth)
    (verdict,) = result.tree.verdicts(ROOT)
    assert verdict.ranking is not None
    assert result.usage.calls == 6 + 2
    assert result.usage.verifier_calls == 2


async def test_a_resumed_run_knows_what_was_compared(runner: LocalRunner) -> None:
    """With the comparison made it is not made again."""
    agent = quiz(solving(SimulatedCritic(worth)), Listwise(k=2), n=4)
    result = await runner.run(agent, Task(prompt="?"), bw.Budget(), seed=2)
    model = ScriptedModel(lambda _r: bw.ModelUnavailable("no call is to be made"))
    again = await runner.resume(quiz(model, Listwise(k=2), n=4), result.run_id)
    assert again.answer == result.answer
    assert model.requests == []


async def test_a_comparison_and_a_selector_cannot_both_choose(runner: LocalRunner) -> None:
    """Refused before anything starts."""
    agent = bw.Agent(
        name="quiz", model=solving(SimulatedCritic(worth)), verifiers=[Listwise()], select=bw.search.Best()
    )
    with pytest.raises(
        bw.UsageError, match="'listwise' compares the answers and chooses among them, and so does select="
    ):
        await runner.run(agent, Task(prompt="?"), bw.Budget(), seed=2)


async def test_a_comparison_fits_into_the_budget(runner: LocalRunner) -> None:
    """The last part of the budget is kept for it: it is made though there were 50 trajectories to go."""
    model = solving(SimulatedCritic(worth))
    agent = bw.Agent(name="quiz", model=model, verifiers=[Listwise(k=2)], search=bw.search.BestOfN(n=50), slots=1)
    result = await runner.run(agent, Task(prompt="?"), bw.Budget(calls=40), seed=2)
    assert result.usage.calls <= 40
    assert [verdict.verifier for verdict in result.tree.verdicts(ROOT)] == ["listwise"]


async def test_a_verifier_of_one_s_own_may_be_made_of_others(runner: LocalRunner) -> None:
    """`parts` says of what, `Candidate.ask` has them judge, and only they are charged."""

    @bw.verifier(name="short")
    def short(candidate: Candidate) -> float:
        return 1.0 if len(candidate.answer or "") < 20 else 0.0

    class Twice:
        name = "twice"
        semantics = "outcome"
        scope = "answer"
        parts = (short,)

        async def judge(self, candidate: Candidate) -> bw.Verdict:
            await candidate.ask(short)
            return await candidate.again(1).ask(short)

    agent = quiz(solving(SimulatedCritic(worth)), Twice(), n=1)  # type: ignore[arg-type]
    result = await runner.run(agent, Task(prompt="?"), bw.Budget(), seed=1)
    assert result.usage.verifier_calls == 2
    assert result.verdicts[0].value == 1.0


def test_an_agent_does_not_take_the_mean_of_preferences_and_outcomes() -> None:
    """Refused when it is defined; by a named adapter, or where they only compare, it is fine."""
    likes = bw.verifier(name="likes", semantics="preference")(lambda _c: 0.5)
    model = solving(SimulatedCritic(worth))
    with pytest.raises(
        bw.UsageError, match="agent 'quiz' would mix values of different meaning: 'likes' means 'preference'"
    ):
        quiz(model, likes, Judge())
    quiz(model, bw.verifiers.Adapted(likes, "outcome", by="identity"), Judge())
    quiz(model, likes, Listwise())
