"""Whole runs whose turns are taken in segments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

import branchwise as bw
from branchwise.core.events import Expand, Failed, Work
from branchwise.core.testing import ScriptedModel, count_tokens
from branchwise.core.tree import TreeView
from branchwise.core.types import ModelRequest, Result, Task, WorkId
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models import connect
from branchwise.models.fake_server import FakeServer

STORY = "Once upon a time there was a fox. " * 6 + "It lived happily ever after."


@dataclass
class InSegments(bw.search.BestOfN):
    """Trajectories whose turns are taken so many tokens at a time."""

    name: ClassVar[str] = "in-segments"
    tokens: int = 10

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """As the base, in segments."""
        works = super().expansions(view, slots, first)
        return [replace(work, segment_tokens=self.tokens) if isinstance(work, Expand) else work for work in works]


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


@pytest.fixture
async def served() -> AsyncIterator[bw.Model]:
    """A model of a server that can continue, which tells the story."""
    async with FakeServer(lambda _body: STORY) as server:
        model = await connect("vllm:fake", base_url=server.base_url)
        yield model
        await model.aclose()


def writer(model: bw.Model, **changes: object) -> bw.Agent:
    """An agent that answers in plain text."""
    options: dict[str, object] = {"form": "text", "search": InSegments(n=2, depth=100), **changes}
    return bw.Agent(name="writer", model=model, **options)


async def test_segments_add_up_to_the_turn(runner: LocalRunner, served: bw.Model) -> None:
    """Over a real connection: the answer is the whole text, each step holds its piece, and no token is sampled twice."""
    result = await runner.run(writer(served), Task(prompt="tell me a story"), bw.Budget(), seed=1)
    assert result.answer == STORY
    path = result.tree.path(result.node)
    kinds = [node.step.kind for node in path[1:]]
    assert kinds == ["partial"] * (len(kinds) - 1) + ["answer"]
    assert len(kinds) > 5
    assert all(node.usage.completion_tokens <= 10 for node in path)
    assert "".join(node.step.text for node in path[1:]) == STORY
    whole = await runner.run(writer(served, search=None), Task(prompt="tell me a story"), bw.Budget(), seed=1)
    assert whole.answer == STORY
    assert result.usage.completion_tokens == 2 * whole.usage.completion_tokens


async def test_the_turns_own_limit_holds_over_its_segments(runner: LocalRunner) -> None:
    """A turn of 25 tokens is cut there, however small its segments, and the next one begins anew."""
    seen: list[ModelRequest] = []

    def tell(request: ModelRequest) -> str:
        seen.append(request)
        return STORY

    agent = writer(ScriptedModel(tell), sampling=bw.Sampling(max_tokens=25), search=InSegments(n=1, depth=4))
    result = await runner.run(agent, Task(prompt="tell me a story"), bw.Budget(), seed=1)
    assert [request.sampling.max_tokens for request in seen] == [10, 10, 5, 10]
    assert [count_tokens(request.prefix) if request.prefix else 0 for request in seen] == [0, 10, 20, 0]
    assert seen[3].messages[-2].content == STORY[:100]
    assert "cut off" in seen[3].messages[-1].content
    assert result.answer is None
    assert result.abstained, "what was cut is nothing to answer with"


@pytest.mark.parametrize(("form", "said"), [("json", "plain text"), ("text", "OpenAI's API cannot")])
async def test_what_cannot_be_continued_ends_the_run_with_the_reason(runner: LocalRunner, form: str, said: str) -> None:
    """A grammar, or a server without continuation: the work fails, is not tried for ever, and the result says why."""
    async with FakeServer(lambda _body: STORY) as server:
        model = await connect("openai:fake", base_url=server.base_url)
        agent = writer(model, form=form, search=InSegments(n=1, depth=9))
        async with aclosing(runner.stream(agent, Task(prompt="tell me a story"), bw.Budget(), seed=1)) as stream:
            events = [event async for event in stream]
        await model.aclose()
    failures = [event for event in events if isinstance(event, Failed)]
    assert 1 <= len(failures) <= 3
    assert all(event.error == "UsageError" and said in event.message for event in failures)
    assert server.stats.started.total() <= 1
    result = events[-1]
    assert isinstance(result, Result)
    assert result.abstained
