"""Logic blocks: what each kind of block does with the work, who chooses them, and runs that navigators learn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.simulated.critics import fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Message, ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.teams.logic_blocks import LogicBlocks
from branchwise.search import BlockSituation, BlockTable, WanderingBlocks, block_episode
from branchwise.search.navigation import ASPECTS, Block

from .artifacts import turn


class Script:
    """A navigator that follows a script, and then terminates."""

    def __init__(self, *blocks: Block) -> None:
        self.blocks = iter(blocks)

    def choose(self, situation: BlockSituation, seed: int) -> Block:
        """The next one."""
        return next(self.blocks, "terminate")

    def __repr__(self) -> str:
        return "Script()"


def kind(request: ModelRequest) -> str:
    """What is asked for."""
    prompt = request.messages[-1].content
    said = {
        "Judge the work": "assess",
        "Divide what is left": "parts",
        "This is a part of": "part",
        "Put together": "merge",
        "Compare them": "pick",
        "may be wrong": "refine",
        "Give the final answer": "answer",
    }
    return next((name for words, name in said.items() if words in prompt), "reason")


def model(replies: dict[str, Callable[[str, int], str]], marks: Sequence[int] = (3, 3, 3, 1, 1, 2, 2)) -> ScriptedModel:
    """A model of all blocks.

    Args:
        replies: by what is asked for, a function of the prompt and of how often that was asked for before.
        marks: its self-evaluation.
    """
    asked: dict[str, int] = {}

    def reply(request: ModelRequest) -> str:
        name, prompt = kind(request), request.messages[-1].content
        asked[name] = asked.get(name, 0) + 1
        if name == "assess":
            return json.dumps(dict(zip(ASPECTS, marks, strict=True)))
        said = replies[name](prompt, asked[name])
        return said if name in {"parts", "pick"} else turn(said)

    return ScriptedModel(reply, slots=1, native_tools=False)


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def last(prompt: str) -> str:
    """The last step that a prompt shows."""
    request = ModelRequest((Message("user", prompt),))
    steps = {title: text for title, text in fences(request).items() if title.startswith("step")}
    return steps[max(steps, key=lambda title: int(title.split()[1]))] if steps else ""


REPLIES: dict[str, Callable[[str, int], str]] = {
    "reason": lambda _, n: f"step {n}" if n < 3 else "step 3\nFinal answer: 42",
    "answer": lambda prompt, _: last(prompt).rpartition("answer: ")[2],
    "refine": lambda prompt, _: last(prompt),
    "pick": lambda _p, _n: json.dumps({"reason": "so", "best": 1}),
}


async def run(
    runner: LocalRunner, asked: ScriptedModel, team: LogicBlocks, budget: bw.Budget | None = None, **more: Any
) -> bw.Result:
    """A run of a team."""
    agent = bw.Agent(name="a", model=asked, team=team, **more)
    return await runner.run(agent, Task(prompt="what is it?"), budget or bw.Budget(), seed=1)


async def test_reasons_until_there_is_an_answer(runner: LocalRunner) -> None:
    """Each step sees those before it; the end is barred until one has the answer; the last search puts it down."""
    asked = model(REPLIES, marks=(3, 3, 3, 1, 1, 3, 3))
    result = await run(runner, asked, LogicBlocks())
    assert result.answer == "42"
    assert [row["block"] for row in result.report["blocks"]] == ["reason", "reason", "reason", "terminate"]
    assert [row["answered"] for row in result.report["blocks"]] == [False, False, False, True]
    assert result.report["work"] == ["step 1", "step 2", "step 3\nFinal answer: 42"]
    prompts = [request.messages[-1].content for request in asked.requests if kind(request) == "reason"]
    assert [last(prompt) for prompt in prompts] == ["", "step 1", "step 2"]


async def test_decomposes_once(runner: LocalRunner) -> None:
    """Parts one after the other, each told what those before found; then what follows from them is one step."""
    parts = {"parts": ["first half", "second half"]}
    replies = REPLIES | {
        "parts": lambda _p, _n: json.dumps(parts),
        "part": lambda _p, n: f"found {n}",
        "merge": lambda prompt, _: f"Final answer: {'found 1' in prompt and 'found 2' in prompt}",
    }
    asked = model(replies, marks=(3, 3, 3, 3, 3, 1, 1))
    result = await run(runner, asked, LogicBlocks(blocks=3))
    assert [row["block"] for row in result.report["blocks"]] == ["decompose", "debate", "terminate"]
    assert result.report["work"][0] == "Final answer: True"
    second = [r.messages[-1].content for r in asked.requests if kind(r) == "part"][1]
    assert "second half" in second
    assert "found 1" in second


async def test_debates_and_follows_the_best_proposal(runner: LocalRunner) -> None:
    """As many searches as proposals; what the comparison names becomes the step; equal ones need no comparison."""
    replies = REPLIES | {
        "reason": lambda _p, n: f"proposal {n}",
        "pick": lambda _p, _n: json.dumps({"reason": "so", "best": 2}),
    }
    asked = model(replies)
    result = await run(runner, asked, LogicBlocks(Script("debate"), blocks=2))
    assert result.report["work"] == ["proposal 2"]
    same = model(REPLIES | {"reason": lambda _p, _n: "Final answer: 1"})
    result = await run(runner, same, LogicBlocks(Script("debate")))
    assert result.report["work"] == ["Final answer: 1"]
    assert not any(kind(request) == "pick" for request in same.requests)


async def test_refines_the_last_step(runner: LocalRunner) -> None:
    """The step is written anew in its place; one that is left as it was is not refined once more."""
    replies = REPLIES | {"refine": lambda _p, n: "mended" if n == 1 else last(_p)}
    asked = model(replies, marks=(1, 1, 1, 1, 1, 2, 2))
    result = await run(runner, asked, LogicBlocks(blocks=5))
    rows = result.report["blocks"]
    assert [row["block"] for row in rows] == ["reason", "refine", "refine", "debate", "terminate"]
    assert [row["changed"] for row in rows] == [True, True, False, True, False]
    assert rows[3]["stuck"]
    assert result.report["work"][0] == "mended"


async def test_each_block_is_any_search(runner: LocalRunner) -> None:
    """With several samples for a step the process verifier takes the best, and what it says is logged to learn from."""

    @bw.verifier
    def evens(candidate: bw.Candidate) -> float:
        """Even steps are better."""
        return 0.9 if (candidate.answer or "").endswith(("2", "4")) else 0.1

    replies = REPLIES | {"reason": lambda _p, n: f"step {n}", "answer": lambda _p, _n: "42"}
    team = LogicBlocks(Script("reason", "reason"), blocks=3, process=(evens,))
    result = await run(runner, model(replies), team, search=bw.search.BestOfN(n=2))
    assert result.report["work"] == ["step 2", "step 4"]
    assert [row["value"] for row in result.report["blocks"]] == [0.9, 0.9, None]


async def test_the_last_search_is_judged_by_the_agents_verifiers(runner: LocalRunner) -> None:
    """And no other: steps are no answers."""

    @bw.verifier
    def right(candidate: bw.Candidate) -> bool:
        """It is 42."""
        return candidate.answer == "42"

    result = await run(runner, model(REPLIES, marks=(3, 3, 3, 1, 1, 3, 3)), LogicBlocks(), verifiers=[right])
    assert (result.accepted, result.answer, result.usage.verifier_calls) == (True, "42", 1)


async def test_runs_are_what_navigators_learn_from(runner: LocalRunner) -> None:
    """A wandering navigator's log teaches a table, which can navigate; a run tells which version it had."""
    episodes = []
    for _ in range(3):
        asked = model(REPLIES)
        wandering = WanderingBlocks(share=0.5)
        result = await run(runner, asked, LogicBlocks(wandering, blocks=6, proposals=2))
        episodes.append(block_episode(result.report["blocks"], float(result.answer == "42")))
    table = BlockTable.fit(episodes)
    assert table.values
    result = await run(runner, model(REPLIES), LogicBlocks(table, blocks=6))
    assert result.report["navigator"] == repr(table)


async def test_the_budget_ends_it_with_what_the_work_came_to(runner: LocalRunner) -> None:
    """Calls for the work and none for putting the answer down: what the work says is the answer."""
    asked = model(REPLIES, marks=(3, 3, 3, 1, 1, 2, 2))
    result = await run(runner, asked, LogicBlocks(blocks=50), budget=bw.Budget(calls=6))
    assert (result.answer, result.usage.calls) == ("42", 6)


async def test_a_model_that_gives_no_marks(runner: LocalRunner) -> None:
    """Middling ones stand for them."""
    asked = ScriptedModel(
        lambda r: "no json" if kind(r) == "assess" else turn(REPLIES[kind(r)](r.messages[-1].content, 3)),
        native_tools=False,
    )
    result = await run(runner, asked, LogicBlocks(blocks=2))
    assert result.report["blocks"][0]["marks"] == [2] * 7
    assert result.answer == "42"


@pytest.mark.parametrize("options", [{"blocks": 0}, {"proposals": 1}, {"parts": 1}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    """Refused when it is made."""
    with pytest.raises(bw.UsageError, match="at least"):
        LogicBlocks(**options)  # type: ignore[arg-type]  # all of them are numbers


async def test_a_navigator_that_does_what_is_not_allowed(runner: LocalRunner) -> None:
    """It is said, with what is allowed."""
    with pytest.raises(bw.UsageError, match="chose 'terminate' where only reason"):
        await run(runner, model(REPLIES), LogicBlocks(Script()))
