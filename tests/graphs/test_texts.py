"""Whole runs in which texts are written together: what strategies over pieces ask of a server, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import branchwise as bw
from branchwise.core.testing import ScriptedModel
from branchwise.core.turns import begun, text_of
from branchwise.core.types import ModelRequest, Task
from branchwise.graphs import LocalRunner, RunStore
from branchwise.models import connect
from branchwise.models.fake_server import FakeServer

TASK = Task(prompt="add up 1, 2, 3 and 4")


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


def writer(model: bw.Model, search: bw.Strategy, **options: object) -> bw.Agent:
    """An agent that answers in plain text."""
    return bw.Agent(name="writer", model=model, form="text", search=search, **options)


HEAD = "Two halves.\n<Parallel>\n<Outlines>\n<Outline> 1: 1+2 </Outline>\n<Outline> 2: 3+4 </Outline>\n</Outlines>"
WHOLE = HEAD + "\n<Thread> 1: it is 3 </Thread>\n<Thread> 2: it is 7 </Thread>\n</Parallel>\nSo the answer is 10"


async def test_a_servers_reply_is_forked_and_joined(runner: LocalRunner) -> None:
    """Over a real connection: stop texts end the outlines and the threads, and the answer is the serial text byte for byte."""
    begun_with: list[str] = []

    class Threads(FakeServer):
        """Goes on with any beginning of the text, also where a thread was left out of it."""

        def _replied(self, body: Mapping[str, object]) -> object:
            *before, last = body["messages"]
            begun_with.append(str(last["content"]) if body.get("continue_final_message") else "")
            if begun_with[-1].endswith("<Thread> 2:"):
                body = {**body, "messages": [*before, {**last, "content": WHOLE.split(" it is 7")[0]}]}
            return super()._replied(body)

    async with Threads(lambda _body: WHOLE) as server:
        model = await connect("vllm:fake", base_url=server.base_url)
        result = await runner.run(writer(model, bw.search.ForkJoin()), TASK, bw.Budget(), seed=1)
        await model.aclose()
    assert result.answer == WHOLE
    assert sorted(begun_with) == sorted(["", f"{HEAD}\n<Thread> 1:", f"{HEAD}\n<Thread> 2:", WHOLE.split("\nSo")[0]]), (
        "no thread sees the other"
    )
    path = result.tree.path(result.node)
    assert text_of(begun(path[:-1])) == HEAD
    assert bw.search.critical_path_tokens(result.tree, result.node) < result.usage.completion_tokens


async def test_peers_read_each_others_summaries(runner: LocalRunner) -> None:
    """Paths are paused, made to sum up in a block that the server ends, and go on with what the other said."""
    requests: list[ModelRequest] = []

    def script(request: ModelRequest) -> str:
        requests.append(request)
        said = request.prefix
        me = request.sampling.seed or 0
        if said.endswith("In short,"):
            return f"{said} I found {'ten' if 'ten' in said else 'nine'} </comment></summarize> and more"
        if "<comment>" in said:
            return said + ("I agree. The answer is 10" if "ten" in said.split("<comment>")[1] else "The answer is 9")
        return ("ten it is. " if me % 2 else "nine it is. ") * 40

    search = bw.search.LearnFromPeers(n=2, turns=2, turn_tokens=10, peers=1)
    result = await runner.run(writer(ScriptedModel(script), search), TASK, bw.Budget(), seed=4)
    recaps = [request for request in requests if request.prefix.endswith("In short,")]
    assert len(recaps) == 2
    assert all(request.sampling.stop == ("</summarize>",) for request in recaps)
    commented = [request.prefix for request in requests if "<comment>" in request.prefix]
    assert len(commented) == 2
    for prefix in commented:
        assert prefix.count("<comment>") == prefix.count("</comment>") == 1, "a peer cannot end the comment"
        assert "Peer 1: I found" in prefix
        assert "and more" not in prefix
    assert result.answer is not None
    assert "they knew of each other" in result.confidence_source


async def test_one_transcript_of_two(runner: LocalRunner) -> None:
    """Each sees what the other has finished; the first to name the answer ends it."""

    def script(request: ModelRequest) -> str:
        said = request.prefix
        done = said.split("### Work in progress (others)")[0]
        if "3 it is" in done and "7 it is" in done:
            return said + " The final answer is 10"
        half = "1+2=3 it is" if "**Alice" in said.rsplit("(own)", 1)[1] else "3+4=7 it is"
        return f"{said} {half}.\n\nI wait.\n\nStill.\n\nAnd still.\n\nAnd on and on.\n\n" + "waiting " * 30

    search = bw.search.SharedTranscript(n=2, piece_tokens=6, check_tokens=None)
    result = await runner.run(writer(ScriptedModel(script), search), TASK, bw.Budget(calls=40), seed=1)
    assert result.answer is not None
    assert result.answer.endswith("The final answer is 10")
    assert "**Alice [1]:** 1+2=3 it is." in result.answer
    assert "**Bob [1]:** 3+4=7 it is." in result.answer


async def test_one_of_each_kind_is_finished(runner: LocalRunner) -> None:
    """A model says which beginnings are alike; of six texts of two kinds two are finished, and vote as three each or so."""
    judged = 0

    def script(request: ModelRequest) -> str:
        nonlocal judged
        if request.response_schema is not None:
            judged += 1
            texts = request.messages[-1].content.split("<<< second")
            return json.dumps({"verdict": "yes" if ("by sums" in texts[0]) == ("by sums" in texts[1]) else "no"})
        kind = "by sums" if (request.sampling.seed or 0) % 2 else "by hand"
        kind = request.prefix[:7] or kind
        return f"{kind} " + "and so on " * 20 + f"the answer is {'10' if kind == 'by sums' else '11'}"

    model = ScriptedModel(script)
    agent = writer(model, bw.search.DeepPrune(n=6, prefix_tokens=5, agreement=0.0), verifiers=[bw.verifiers.Alike()])
    result = await runner.run(agent, TASK, bw.Budget(), seed=3)
    finished = [node for node in result.tree if node.answer is not None]
    assert len(finished) == 2
    assert judged == result.usage.verifier_calls > 4
    kinds = [text_of(result.tree.path(child)).split(" and")[0] for child in result.tree.children(0)]
    most = max(kinds, key=kinds.count)
    assert result.answer.startswith(most) or kinds.count(most) == 3
    assert result.confidence == kinds.count(most) / 6


async def test_all_think_and_one_sums_up(runner: LocalRunner) -> None:
    """Also with tools, whole steps then: the summary has seen what all had done."""

    @bw.tool(effects="pure")
    async def add(a: int, b: int) -> str:
        """Add.

        Args:
            a: one.
            b: other.
        """
        return str(a + b)

    def script(request: ModelRequest) -> str:
        turns = sum(message.role == "assistant" for message in request.messages)
        if "thoughts about the task" in request.messages[-1].content:
            assert request.messages[-1].content.count("Attempt") == 3
            return json.dumps({"thought": "", "tool": "answer", "args": {"text": "10, all in all"}})
        if turns == 0:
            return json.dumps({"thought": "", "tool": "add", "args": {"a": 1, "b": 2}})
        return json.dumps({"thought": "", "tool": "answer", "args": {"text": "10"}})

    agent = bw.Agent(
        name="adder",
        model=ScriptedModel(script, native_tools=False),
        tools=[add],
        search=bw.search.ParallelThinking(n=3, segment_tokens=None),
    )
    result = await runner.run(agent, TASK, bw.Budget(), seed=1)
    assert result.answer == "10, all in all"
    assert result.stop_detail == "3 thoughts were summed up"
