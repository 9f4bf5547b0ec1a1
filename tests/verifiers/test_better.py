"""The probe reads one token, of the solver's own conversation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.errors import VerifierError
from branchwise.core.testing import ScriptedModel
from branchwise.core.turns import text_of
from branchwise.core.types import ModelRequest, ModelResponse, Task, TokenLogprob, Usage
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models.catalog import entry
from branchwise.models.pull import pull
from branchwise.verifiers import Better

SMALL = "smollm2-135m-instruct"
STORY = "Once upon a time there was a fox. " * 4


def said(*top: tuple[str, float]) -> ModelResponse:
    """One token with its alternatives, by their probabilities."""
    rows = tuple((token, math.log(chance)) for token, chance in top)
    return ModelResponse(rows[0][0], Usage(), logprobs=(TokenLogprob(*rows[0], rows),))


def test_the_probability_is_read() -> None:
    """Over all spellings of yes and no; from what was sampled where the server says nothing more."""
    better = Better()
    found = better.chance(said(("Yes", 0.3), (" no", 0.2), ("YES", 0.1), ("Maybe", 0.4)))
    assert found == pytest.approx(0.4 / 0.6)
    assert better.chance(ModelResponse("No.", Usage())) == 0.0
    with pytest.raises(VerifierError, match="neither yes nor no"):
        better.chance(said(("Maybe", 0.9), ("Well", 0.1)))


@pytest.mark.parametrize("sandbox", [None, bw.sandboxes.Local()], ids=["no sandbox", "a sandbox"])
async def test_it_asks_within_the_solver_s_conversation(tmp_path: Path, sandbox: bw.sandboxes.Local | None) -> None:
    """A run prunes by it: every beginning is asked about once, after what was said so far, and one token is paid for."""
    asked: list[ModelRequest] = []

    def reply(request: ModelRequest) -> str | ModelResponse:
        if "started over" not in request.messages[-1].content:
            return STORY + str(request.sampling.seed)
        asked.append(request)
        # The second beginning thinks well of itself.
        return said(("yes", 0.9), ("no", 0.1)) if len(asked) != 2 else said(("yes", 0.2), ("no", 0.8))

    agent = bw.Agent(
        name="writer",
        model=ScriptedModel(reply, slots=1),
        form="text",
        instructions="Write.",
        verifiers=[Better()],
        search=bw.search.EarlyPruning(n=3, keep=0.3, checkpoint_tokens=8),
        sandbox=sandbox,
    )
    runner = LocalRunner(RunStore(tmp_path / "runs"))
    result = await runner.run(agent, Task(prompt="a story"), bw.Budget(), seed=1)
    assert len(asked) == 4, "three beginnings and one end"
    assert [m.role for m in asked[0].messages] == ["system", "user", "assistant", "user"]
    assert asked[0].messages[2].content == STORY[:32]
    assert asked[3].messages[2].content == result.answer
    assert all(request.sampling.max_tokens == 1 for request in asked)
    assert result.usage.verifier_calls == 5
    assert sum(node.answer is not None for node in result.tree) == 1
    chosen = result.tree.path(result.node)
    assert result.tree.value(chosen[1].id) == pytest.approx(0.8)


async def test_calibrated_it_decides_how_many_answers(tmp_path: Path) -> None:
    """What the model says of itself, made a probability, is what the sampling goes by: the third answer is good enough."""
    opinions = iter([0.6, 0.7, 0.95])

    def reply(request: ModelRequest) -> str | ModelResponse:
        if "started over" not in request.messages[-1].content:
            return f"answer at {request.sampling.temperature:.2f}"
        value = next(opinions)
        return said(("yes", 1 - value), ("no", value))

    probe = bw.verifiers.Calibrated(Better(), bw.search.by_rank([0.5, 0.8, 0.9, 0.9]))
    search = bw.search.AdaptiveSampling(most=11, gamma=0.3)
    agent = bw.Agent(name="writer", model=ScriptedModel(reply), form="text", verifiers=[probe], search=search)
    result = await LocalRunner(RunStore(tmp_path / "runs")).run(agent, Task(prompt="a story"), bw.Budget(), seed=1)
    assert result.answer == "answer at 0.20", "greedy, then bolder by a tenth each"
    assert len(result.tree) == 4
    assert result.tree.value(result.node) == pytest.approx(0.75)


async def test_nothing_said_is_nothing_asked() -> None:
    """The root has no response that one could do better than."""
    from branchwise.core.protocols import Candidate
    from branchwise.core.types import ROOT, Node

    root = Candidate(Task(prompt="a"), [Node(ROOT, None, None)], None, None, None)  # type: ignore[arg-type]
    verdict = await Better().judge(root)
    assert (verdict.value, verdict.calls) == (0.0, 0)
    alone = replace(
        root, path=[Node(ROOT, None, None), Node(bw.core.types.NodeId(1), ROOT, bw.core.types.Step("answer", "x"))]
    )
    assert [m.content for m in Better().messages(alone)][:2] == ["a", "x"]


@pytest.mark.model
async def test_a_real_model_prunes_itself(tmp_path: Path) -> None:
    """The small model is asked in the middle of two answers, says yes or no with some probability, and finishes one."""
    pull(entry(SMALL))
    agent = bw.Agent(
        name="writer",
        model=f"embedded:{SMALL}",
        form="text",
        verifiers=[Better()],
        search=bw.search.EarlyPruning(n=2, keep=0.5, checkpoint_tokens=6),
        sampling=bw.Sampling(max_tokens=40, temperature=0.9),
    )
    runner = LocalRunner(RunStore(tmp_path / "runs"))
    task = Task(prompt="Write three sentences about a fox.")
    result = await runner.run(agent, task, bw.Budget(seconds=120), seed=3)
    begun = [node for node in result.tree if node.depth == 1]
    assert len(begun) == 2
    values = [value for node in begun if (value := result.tree.value(node.id)) is not None]
    assert values
    assert all(0 < value < 1 for value in values)
    finished = [node for node in result.tree if node.depth == 2]
    assert len(finished) == min(1, sum(node.step is not None and node.step.kind == "partial" for node in begun))
    for node in finished:
        said = text_of(result.tree.path(node.id))
        assert node.answer is None or node.answer == said.strip()
