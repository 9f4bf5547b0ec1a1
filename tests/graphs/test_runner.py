"""Whole runs: an agent, a scripted model, real sandboxes, the machine, the journal."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sqlite3
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import branchwise as bw
from branchwise.core.errors import JournalVersionMismatch, ModelRefused, UsageError
from branchwise.core.events import Expanded, Failed, Judged, Stopped, WorkStarted
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelResponse, Result, Task, TokenLogprob, Usage
from branchwise.graphs import LocalRunner, RunStore

RIGHT = {"path": "maths.py", "old": "return a - b", "new": "return a + b"}
WRONG = {"path": "maths.py", "old": "return 1", "new": "return 2"}


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def scripted(reply: Callable[[int], str | Exception], *, seconds: float = 0.0, slots: int = 4) -> ScriptedModel:
    """A model whose reply is a function of the call's number, from 0."""
    numbers = itertools.count()
    return ScriptedModel(
        lambda _request: reply(next(numbers)),
        slots=slots,
        native_tools=False,
        latency_seconds=(lambda _request: seconds) if seconds else None,
    )


def mostly_wrong(right: int, **options: float) -> ScriptedModel:
    """A model whose call number `right` repairs the bug; the others break something else."""
    return scripted(
        lambda n: turn("replace", **(RIGHT if n == right else {**WRONG, "new": f"return {n + 2}"})), **options
    )


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def coder(model: bw.Model, **changes: object) -> bw.Agent:
    """An agent that repairs the repository."""
    options: dict[str, object] = {
        "name": "coder",
        "model": model,
        "tools": [bw.tools.files],
        "verifiers": [bw.verifiers.Tests()],
        "search": bw.search.BestFirst(width=2, depth=3),
        "sandbox": bw.sandboxes.Docker(),
        **changes,
    }
    return bw.Agent(**options)


@pytest.mark.docker
async def test_search_finds_what_one_trajectory_misses(runner: LocalRunner, repository: Path) -> None:
    """The same model and budget: one trajectory goes wrong, the search ends with the repaired file."""
    task, budget = Task(prompt="repair it", files=str(repository)), bw.Budget(calls=6)
    alone = await runner.run(coder(mostly_wrong(4), search=bw.search.BestOfN(n=1, depth=3)), task, budget, seed=1)
    assert not alone.accepted
    assert alone.stop_reason == "exhausted"
    result = await runner.run(coder(mostly_wrong(4)), task, budget, seed=1)
    assert result.accepted
    assert result.stop_reason == "accepted"
    assert b"return a + b" in result.files["maths.py"]
    assert result.verdicts[-1].integrity == "in-process"
    assert "return a - b" in (repository / "maths.py").read_text(), "the user's own files are never touched"
    assert result.usage.calls <= 6


@pytest.mark.docker
async def test_the_first_prompt_shows_files_and_failures(runner: LocalRunner, repository: Path) -> None:
    """The root is judged before the first turn, so the model sees what fails; siblings get the same bytes."""
    model = mostly_wrong(0)
    await runner.run(
        coder(model, context="files"), Task(prompt="repair it", files=str(repository)), bw.Budget(), seed=1
    )
    first = model.requests[0].messages[1].content
    assert "maths.py:\n```\ndef add(a, b):" in first
    assert "[tests] 1 of 3 tests pass" in first
    assert "assert -1 == 5" in first
    beginnings = [request.messages for request in model.requests if len(request.messages) == 2]
    assert len(beginnings) > 1
    assert len(set(beginnings)) == 1


@pytest.mark.docker
async def test_events_are_streamed_and_leaving_stops_the_run(runner: LocalRunner, repository: Path) -> None:
    """Every start has its end, the result comes last; a reader who leaves early ends the run, resumable."""
    task = Task(prompt="repair it", files=str(repository))
    agent = coder(mostly_wrong(3))
    items = [item async for item in runner.stream(agent, task, bw.Budget(), seed=1)]
    assert isinstance(items[-1], Result)
    started = {e.work.id for e in items if isinstance(e, WorkStarted) and hasattr(e.work, "id")}
    ended = {e.work for e in items if hasattr(e, "work") and not isinstance(e, WorkStarted)}
    assert ended <= started
    assert sum(isinstance(e, Stopped) for e in items) == 1

    slow = coder(mostly_wrong(99, seconds=0.2))
    async with aclosing(runner.stream(slow, task, bw.Budget(), seed=1)) as stream:
        async for item in stream:
            if isinstance(item, Expanded):
                break
    record = runner.store.runs()[-1].load()
    assert record.status == "interrupted"
    again = coder(mostly_wrong(0))
    assert (await runner.resume(again, record.run_id)).accepted


@pytest.mark.docker
async def test_a_resumed_run_pays_no_finished_call_twice(runner: LocalRunner, repository: Path) -> None:
    """Out of budget, then more of it: the journal is replayed, and the model is asked only what it was not asked before."""
    task = Task(prompt="repair it", files=str(repository))
    model = mostly_wrong(99)
    first = await runner.run(coder(model), task, bw.Budget(calls=3), seed=1)
    assert (first.stop_reason, first.usage.calls) == ("budget", 3)
    more = mostly_wrong(2)
    second = await runner.resume(coder(more), first.run_id, budget=bw.Budget(calls=9))
    assert second.accepted
    assert second.usage.calls == 3 + len(more.requests)
    assert not {r.sampling.seed for r in model.requests} & {r.sampling.seed for r in more.requests}
    third = await runner.resume(coder(more), first.run_id)
    assert (third.accepted, third.usage, third.node) == (True, second.usage, second.node)


@pytest.mark.docker
async def test_tool_errors_are_seen_by_the_model(runner: LocalRunner, repository: Path) -> None:
    """Unknown tools, wrong arguments and failing tools become observations; the branch lives on."""

    @bw.tool(effects="pure")
    def explode(n: int) -> str:
        """Explode."""
        raise RuntimeError(f"boom {n}")

    script = [turn("explode", n=1), turn("explode", n="x"), turn("nothing"), turn("read", path="math.py"), "{"]
    model = scripted(lambda n: script[n])
    agent = coder(model, tools=[bw.tools.files, explode], search=bw.search.BestOfN(n=1, depth=5), slots=1)
    result = await runner.run(agent, Task(prompt="x", files=str(repository)), bw.Budget(), seed=1)
    seen = [o.text for node in result.tree for o in (node.step.observations if node.step else ())]
    assert seen[0] == "explode failed: RuntimeError: boom 1"
    assert seen[1].startswith("wrong arguments for explode: n:")
    assert seen[2].startswith("there is no tool 'nothing'; there are: list, read, write, replace, explode")
    assert seen[3] == "there is no file math.py; did you mean maths.py?"
    assert seen[4] == "the turn is no JSON"
    assert "ERROR: explode failed: RuntimeError: boom 1" in model.requests[1].messages[-1].content


async def test_without_sandbox_answers_are_judged(runner: LocalRunner) -> None:
    """An agent without tools and sandbox: answers are candidates, the verifier picks."""

    @bw.verifier
    def is_42(candidate: bw.Candidate) -> bool:
        return candidate.answer == "42"

    replies = ["41", "40", "42"]
    model = scripted(lambda n: turn("answer", text=replies[min(n, 2)]), slots=1)
    agent = bw.Agent(name="guesser", model=model, verifiers=[is_42], search=bw.search.BestOfN(n=5, depth=1))
    result = await runner.run(agent, Task(prompt="6 x 7?"), bw.Budget(), seed=1)
    assert (result.answer, result.accepted, result.confidence) == ("42", True, 1.0)
    assert "not calibrated" in result.confidence_source


async def test_a_refused_model_ends_the_run_with_its_reason(runner: LocalRunner) -> None:
    """When every call fails the run stops soon, says why, and abstains."""
    model = scripted(lambda _n: ModelRefused("no such model", status=404))
    agent = bw.Agent(name="lost", model=model, search=bw.search.BestFirst())
    result = await runner.run(agent, Task(prompt="x"), bw.Budget(), seed=1)
    assert (result.stop_reason, result.abstained) == ("failed", True)
    assert "no such model" in result.stop_detail


async def test_verifier_errors_leave_nodes_unjudged(runner: LocalRunner) -> None:
    """A verifier that fails costs its verdicts, not the run: the answer is there, unjudged."""

    @bw.verifier
    def broken(_candidate: bw.Candidate) -> bool:
        raise RuntimeError("no idea")

    model = scripted(lambda _n: turn("answer", text="7"))
    agent = bw.Agent(name="a", model=model, verifiers=[broken], search=bw.search.BestOfN(n=1))
    events = [e async for e in runner.stream(agent, Task(prompt="x"), bw.Budget(), seed=1)]
    assert sum(isinstance(e, Failed) for e in events) == 3
    result = events[-1]
    assert isinstance(result, Result)
    assert (result.answer, result.accepted, result.verdicts) == ("7", False, ())


async def test_verifier_calls_are_paid(runner: LocalRunner) -> None:
    """A budget of verifier calls ends the search: nothing is expanded that could not be judged."""

    @bw.verifier
    def never(_candidate: bw.Candidate) -> bool:
        return False

    model = scripted(lambda n: turn("answer", text=str(n)))
    agent = bw.Agent(name="a", model=model, verifiers=[never], search=bw.search.BestOfN(n=50, depth=1), slots=2)
    events = [e async for e in runner.stream(agent, Task(prompt="x"), bw.Budget(verifier_calls=4), seed=1)]
    result = events[-1]
    assert isinstance(result, Result)
    assert (result.stop_reason, result.usage.verifier_calls) == ("budget", 4)
    assert len([e for e in events if isinstance(e, Judged) and e.verdicts]) == 4
    assert len(model.requests) < 12


async def test_external_tools_run_once_and_never_on_branches(runner: LocalRunner, tmp_path: Path) -> None:
    """A search refuses tools with external effects; one trajectory runs them, and a resume does not repeat them."""
    journal = tmp_path / "effects.txt"

    @bw.tool(effects="external")
    def post(text: str) -> str:
        """Post a text."""
        with journal.open("a") as file:
            file.write(text + "\n")
        return "posted"

    model = scripted(lambda n: turn("post", text="hello") if n == 0 else turn("answer", text="done"))
    speculative = bw.Agent(name="a", model=model, tools=[post], search=bw.search.BestOfN(n=2))
    with pytest.raises(UsageError, match="'post' has external effects"):
        await runner.run(speculative, Task(prompt="x"), bw.Budget())
    agent = bw.Agent(name="a", model=model, tools=[post], approve="never")
    result = await runner.run(agent, Task(prompt="x"), bw.Budget(), seed=1)
    assert result.answer == "done"
    run = runner.store.open(result.run_id)
    with sqlite3.connect(run.calls_path) as db:
        assert db.execute("SELECT result FROM effects").fetchall() == [("posted",)]
    assert journal.read_text() == "hello\n"


async def test_wrong_use_is_refused_before_anything_starts(runner: LocalRunner, tmp_path: Path) -> None:
    """Missing sandboxes, missing folders, unknown runs and other agents' runs are one clear line each."""
    model = scripted(lambda _n: turn("answer", text="1"))
    with pytest.raises(UsageError, match="'write' works in a sandbox and agent 'a' has none"):
        await runner.run(bw.Agent(name="a", model=model, tools=[bw.tools.files]), Task(prompt="x"), bw.Budget())
    with pytest.raises(UsageError, match="is no folder"):
        await runner.run(coder(model), Task(prompt="x", files=str(tmp_path / "none")), bw.Budget())
    with pytest.raises(UsageError, match="has no sandbox to put them into"):
        await runner.run(bw.Agent(name="a", model=model), Task(prompt="x", files=str(tmp_path)), bw.Budget())
    with pytest.raises(UsageError, match="no run in .* is called 'nope'"):
        await runner.resume(coder(model), "nope")
    with pytest.raises(UsageError, match="names no provider"):
        bw.Agent(name="a", model="qwen")
    with pytest.raises(UsageError, match="the task is empty"):
        await bw.Agent(name="a", model=model).run("  ")
    result = await runner.run(bw.Agent(name="a", model=model), Task(prompt="x"), bw.Budget(), seed=1)
    with pytest.raises(JournalVersionMismatch, match="was begun with agent a, not b"):
        await runner.resume(bw.Agent(name="b", model=model), result.run_id)


def test_explain_shows_every_prompt(repository: Path) -> None:
    """System prompt, first message with the files, and the form of the reply, without model or sandbox."""
    agent = bw.Agent(
        name="coder",
        model="embedded:x",
        instructions="Be careful.",
        tools=[bw.tools.files],
        context="files",
        form="json",
    )
    text = agent.explain("repair it", files=repository)
    for part in (
        "--- system ---\nBe careful.",
        "- replace(path, old, new)",
        "repair it",
        "def add(a, b):",
        '"maxLength": 300',
    ):
        assert part in text


@dataclass(frozen=True)
class Rarest:
    """Chooses the answer that was given least often."""

    name: ClassVar[str] = "rarest"

    def choose(self, view: bw.TreeView) -> bw.Appraisal:
        """Return the first node with the rarest answer, and its share."""
        answers = [node.answer for node in view if node.answer is not None]
        if not answers:
            return bw.Appraisal(None, source="nobody answered")
        rarest = min(answers, key=answers.count)
        node = next(node.id for node in view if node.answer == rarest)
        return bw.Appraisal(node, answers.count(rarest) / len(answers), "share of the answers")


async def test_a_selector_chooses_where_nothing_was_accepted(runner: LocalRunner) -> None:
    """Its choice, its confidence and its name are in the result; a resume needs the same selector."""
    answers = ["a", "a", "b", "a"]
    agent = bw.Agent(
        name="quiz",
        model=scripted(lambda n: turn("answer", text=answers[n])),
        search=bw.search.BestOfN(n=4),
        select=Rarest(),
    )
    result = await runner.run(agent, Task(prompt="letter?"), bw.Budget(), seed=1)
    assert (result.answer, result.confidence, result.confidence_source) == ("b", 0.25, "share of the answers")
    with pytest.raises(JournalVersionMismatch, match=r"selector Rarest\(\)"):
        await runner.resume(dataclasses.replace(agent, select=None), result.run_id)
    assert (await runner.resume(agent, result.run_id)).answer == "b"


async def test_what_verifiers_accepted_is_not_chosen_again(runner: LocalRunner) -> None:
    """A selector is for searches that end without an accepted answer."""

    @bw.verifier
    def right(candidate: bw.Candidate) -> bool:
        """Accept one letter."""
        return candidate.answer == "b"

    model = scripted(lambda n: turn("answer", text="aab"[n]))
    agent = bw.Agent(
        name="quiz", model=model, verifiers=[right], search=bw.search.BestOfN(n=3), select=Rarest(), slots=1
    )
    result = await runner.run(agent, Task(prompt="letter?"), bw.Budget(), seed=1)
    assert (result.answer, result.accepted) == ("b", True)


async def test_log_probabilities_are_kept_where_they_are_asked_for(runner: LocalRunner) -> None:
    """The sum over the turn's tokens; nothing where the server was not asked."""
    tokens = (TokenLogprob("4", -0.5), TokenLogprob("2", -0.25))
    model = ScriptedModel(
        lambda request: ModelResponse("42", Usage(), logprobs=tokens if request.sampling.logprobs is not None else ())
    )
    agent = bw.Agent(name="quiz", model=model, sampling=bw.Sampling(logprobs=0))
    for chosen, logprob in ((agent, -0.75), (dataclasses.replace(agent, sampling=bw.Sampling()), None)):
        result = await runner.run(chosen, Task(prompt="?"), bw.Budget(), seed=1)
        assert result.node is not None
        step = result.tree[result.node].step
        assert step is not None
        assert step.logprob == logprob
