"""Explorer and prover: what becomes a fact, when they are steered and by whom, and a memory that survives everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.teams.explorer_prover import META_PROMPTS, ExplorerProver
from branchwise.graphs.teams.run_memory import RunMemory

from .artifacts import turn

KEY = META_PROMPTS["separate"]
"""The third prompt of the library: the scripted solver gets nowhere without it."""


def kind(request: ModelRequest) -> str:
    """What is asked for."""
    text = "\n".join(message.content for message in request.messages)
    said = {
        "You judge": "judge",
        "Take notes": "notes",
        "You explore": "explore",
        "You prove": "prove",
        "Give the final answer": "conclude",
    }
    return next(name for words, name in said.items() if words in text)


def notes(**more: Any) -> str:
    """A note taker's reply."""
    return json.dumps({"facts": [], "failed": [], "open": [], "refuted": [], "answer": ""} | more)


def solver(*, takes: Callable[[str], dict[str, Any]] | None = None, judged: str = "yes") -> ScriptedModel:
    """A model that finds the answer once it is told to separate conjecture from proof, and else the same claim again and again.

    Args:
        takes: the notes by the report.
        judged: the judge's verdict on proofs.
    """

    def reply(request: ModelRequest) -> str:
        text = request.messages[-1].content
        match kind(request):
            case "explore":
                return turn("I believe it is even")
            case "prove":
                return turn("shown: 2112" if KEY in text else "nothing")
            case "notes":
                report = text.rpartition("<<< report")[2]
                if takes is not None:
                    return notes(**takes(report))
                return notes(answer="2112") if "shown: 2112" in report else notes(open=["it is even"])
            case "judge":
                return json.dumps({"critique": "read", "verdict": judged})
            case _:
                return turn("2112")

    return ScriptedModel(reply, slots=1, native_tools=False)


class Stopping(ScriptedModel):
    """The solver, which stops the run in one of its calls."""

    def __init__(self, at: int) -> None:
        """`at`: which call."""
        inner = solver()._script
        self.running: list[Any] = []

        def reply(request: ModelRequest) -> Any:
            if len(self.requests) == at:
                self.running[0].interrupt()
            return inner(request)

        super().__init__(reply, slots=1, native_tools=False)


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def agent(model: ScriptedModel, team: ExplorerProver, **more: Any) -> bw.Agent:
    """An agent that is such a team."""
    return bw.Agent(name="a", model=model, team=team, **more)


TASK = Task(prompt="the smallest number of tiles?")


async def test_only_the_right_prompt_leads_on(runner: LocalRunner) -> None:
    """Two rounds without progress and the next prompt is taken: the third one solves it, in the seventh round."""
    result = await runner.run(agent(solver(), ExplorerProver(rounds=9)), TASK, bw.Budget(), seed=1)
    assert result.answer == "2112"
    steered = result.report["steered"]
    assert [(row["prompt"], row["round"], row["by"]) for row in steered] == [
        ("small-cases", 2, "detector"), ("counter-evidence", 4, "detector"), ("separate", 6, "detector"),
    ]  # fmt: skip
    assert len(result.report["rounds"]) == 7
    assert result.report["memory"]["open"] == ["it is even"]


async def test_without_the_prompt_it_is_not_solved(runner: LocalRunner) -> None:
    """The ablation: a library that lacks it. The last proof is what there is, unaccepted."""
    library = {name: text for name, text in META_PROMPTS.items() if text != KEY}
    result = await runner.run(agent(solver(), ExplorerProver(rounds=7, prompts=library)), TASK, bw.Budget(), seed=1)
    assert (result.answer, result.accepted, result.stop_reason) == ("nothing", False, "exhausted")


async def test_a_person_chooses(runner: LocalRunner) -> None:
    """The run waits at the first stagnation; with the answer it goes on there, and solves it four rounds earlier."""
    team = ExplorerProver(rounds=9, people="stagnation")
    made = agent(solver(), team)
    first = await runner.run(made, TASK, bw.Budget(), seed=1)
    assert (first.stop_reason, first.answer) == ("waiting", None)
    [question] = first.questions
    assert "- separate: " in question.text
    assert "it is even" in question.text
    still = await runner.resume(made, first.run_id)
    assert (still.stop_reason, still.questions) == ("waiting", first.questions)
    assert still.usage.calls == first.usage.calls
    last = await runner.resume(made, first.run_id, answers={question.id: "separate"})
    assert (last.answer, len(last.report["rounds"])) == ("2112", 3)
    assert last.report["steered"] == [{"round": 2, "prompt": "separate", "by": "person"}]


async def test_a_person_has_words_of_their_own(runner: LocalRunner) -> None:
    """They are what explorer and prover are told, and what the judge sees of the prover's task."""
    model = solver()
    made = agent(model, ExplorerProver(rounds=3, people="stagnation"))
    first = await runner.run(made, TASK, bw.Budget(), seed=1)
    await runner.resume(made, first.run_id, answers={first.questions[0].id: "Colour the tiles."})
    told = [kind(request) for request in model.requests if "Colour the tiles." in request.messages[-1].content]
    assert told == ["explore", "prove", "judge"]


async def test_stopped_anywhere_it_comes_to_the_same(runner: LocalRunner) -> None:
    """Interrupted after every one of its calls in turn and resumed: the memory is the same to the last bit, no call is made twice."""
    team = ExplorerProver(rounds=9, patience=1)
    whole = await runner.run(agent(solver(), team), TASK, bw.Budget(), seed=1)
    for calls in (1, 2, 3, 4, whole.usage.calls - 1):
        made = agent(stopping := Stopping(calls), team)
        first = await runner.begin(made, TASK, bw.Budget(), seed=1, started=stopping.running.append)
        last = await runner.resume(made, first.run_id)
        assert last.report["memory_digest"] == whole.report["memory_digest"]
        assert (last.answer, last.report) == (whole.answer, whole.report)
        assert last.usage.calls == len(stopping.requests) == whole.usage.calls


async def test_a_proof_that_the_judge_refuses_shows_nothing(runner: LocalRunner) -> None:
    """No fact and no answer; that it failed is remembered, with the judge's words."""
    takes = lambda _report: {"facts": [{"text": "it is green", "program": ""}], "answer": "2112"}  # noqa: E731 - a stub
    result = await runner.run(
        agent(solver(takes=takes, judged="no"), ExplorerProver(rounds=1)), TASK, bw.Budget(), seed=1
    )
    memory = result.report["memory"]
    assert (memory["facts"], result.answer, result.accepted) == ([], "nothing", False)
    assert memory["open"] == ["it is green"]
    assert memory["failed"] == ["a proof was not accepted: read"]


async def test_what_was_refuted_is_no_open_claim_any_more(runner: LocalRunner) -> None:
    """It moves to what failed, and that is progress: nobody is steered."""

    def takes(report: str) -> dict[str, Any]:
        return {"open": ["it is even"]} if "I believe" in report else {"refuted": [1, 7]}

    result = await runner.run(agent(solver(takes=takes), ExplorerProver(rounds=1)), TASK, bw.Budget(), seed=1)
    assert result.report["memory"] == {"facts": [], "failed": ["refuted: it is even"], "open": []}
    assert result.report["rounds"][0]["idle"] == 0


async def test_numbers_are_facts_only_where_code_shows_them(runner: LocalRunner) -> None:
    """In a real sandbox: right sums become facts, wrong ones and those without a program stay claims, also after a good proof."""
    facts = [
        {"text": "the sum to 4 is 10", "program": "assert sum(range(5)) == 10"},
        {"text": "the sum to 4 is 11", "program": "assert sum(range(5)) == 11"},
        {"text": "it is 2112", "program": ""},
        {"text": "it is symmetric", "program": ""},
    ]
    model = solver(takes=lambda _report: {"facts": facts})
    made = agent(model, ExplorerProver(rounds=1), sandbox=bw.sandboxes.Local())
    memory = (await runner.run(made, TASK, bw.Budget(), seed=1)).report["memory"]
    assert memory["facts"] == ["the sum to 4 is 10", "it is symmetric"]
    assert memory["open"] == ["the sum to 4 is 11", "it is 2112"]


async def test_an_answer_that_is_rejected_is_remembered(runner: LocalRunner) -> None:
    """The agent's verifiers judge what was put down; what they say is known in the next round."""

    @bw.verifier
    def never(candidate: bw.Candidate) -> bw.Verdict:
        """Reject it."""
        return bw.Verdict(0.0, "outcome", "never", passed=False, feedback="too small")

    model = solver(takes=lambda _report: {"answer": "2112"})
    result = await runner.run(agent(model, ExplorerProver(rounds=2), verifiers=[never]), TASK, bw.Budget(), seed=1)
    assert (result.answer, result.accepted) == ("2112", False)
    assert result.report["memory"]["failed"] == ["the answer '2112' was rejected: too small"]
    later = [request for request in model.requests if kind(request) == "explore"][1]
    assert "too small" in later.messages[-1].content


async def test_roles_have_models_of_their_own(runner: LocalRunner) -> None:
    """The explorer's explores and nothing else; the prover's proves, takes notes and judges; the agent's puts the answer down."""
    own, explorer, prover = solver(), solver(), solver(takes=lambda _report: {"answer": "2112"})
    explorer.name, prover.name = "scripted:explorer", "scripted:prover"
    team = ExplorerProver(explorer, prover, rounds=1)
    result = await runner.run(agent(own, team), TASK, bw.Budget(), seed=1)
    assert result.answer == "2112"
    assert {kind(request) for request in explorer.requests} == {"explore"}
    assert {kind(request) for request in prover.requests} == {"notes", "prove", "judge"}
    assert {kind(request) for request in own.requests} == {"conclude"}


def test_the_memory_keeps_nothing_twice() -> None:
    """Whatever its capitals and blanks; what became a fact is no claim; plain data and back is the same."""
    memory = RunMemory().with_open(["It is even.", "it  is even", "odd?"]).with_facts(["it is EVEN"]).with_failed([" "])
    assert memory == RunMemory(facts=("it is EVEN",), open=("odd?",))
    assert memory.with_open(["it is even"]) == memory
    assert RunMemory.from_json(json.loads(json.dumps(memory.to_json()))).digest == memory.digest
    assert memory.with_failed(["x"]).digest != memory.digest


@pytest.mark.parametrize("options", [{"rounds": 0}, {"patience": 0}, {"prompts": {}}, {"people": "always"}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    """Refused when it is made."""
    with pytest.raises(bw.UsageError, match="must"):
        ExplorerProver(**options)
