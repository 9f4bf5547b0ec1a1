"""The spans, events and metrics of runs, read from OpenTelemetry's in-memory exporters."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.budget import Ledger
from branchwise.core.errors import ModelUnavailable
from branchwise.core.keys import derive_seed
from branchwise.core.types import ModelResponse, Result, Task, Usage
from branchwise.graphs import RunRecord, RunStore
from branchwise.graphs.resources import Resources
from branchwise.graphs.scope import Scope
from branchwise.models.accounts import CallLog

from .conftest import SECRET, Telescope, adder, adds_then_answers, right, scripted, told, turn

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


async def run(telescope: Telescope, agent: bw.Agent, *, nodes: int = 12) -> Result:
    """Run an agent with a fixed seed."""
    return await telescope.runner.run(agent, Task(prompt=f"{SECRET} task"), bw.Budget(nodes=nodes), seed=1)


async def test_spans_lie_in_each_other_as_the_work_did(telescope: Telescope) -> None:
    """Each call lies in the node for which its seed was derived, however many are in flight, and each verdict in the judged one."""
    latencies = iter([0.02, 0.001, 0.01, 0.005] * 10)
    model = scripted(adds_then_answers(), slots=4, latency_seconds=lambda _request: next(latencies))
    result = await run(telescope, adder(model))
    (workflow,), (search,) = telescope.named("invoke_workflow"), telescope.named("invoke_agent")
    assert workflow.parent is None
    assert telescope.parent(search) is workflow
    made = [span for span in telescope.named("expand") if told(span)["branchwise.outcome"] == "done"]
    assert {told(span)["branchwise.node.id"] for span in made} == {node.id for node in result.tree} - {0}
    assert len({span.context.trace_id for span in telescope.spans}) == 1
    for span in made:
        node = result.tree[told(span)["branchwise.node.id"]]
        assert telescope.parent(span) is search
        assert told(span)["branchwise.node.parent"] == node.parent
        chat, *others = telescope.children(span)
        assert told(chat)["gen_ai.request.seed"] == derive_seed(1, node.id)
        judged = ["evaluate right"] * len(result.tree.verdicts(node.id))
        assert [other.name for other in others] == ["execute_tool add"] * (node.answer is None) + judged
    assert len(telescope.named("chat")) == len(model.requests)


async def test_model_calls_say_what_they_cost(telescope: Telescope) -> None:
    """Model, provider, tokens, sampling and finish reason; an attempt that failed is a span of its own with its error."""
    failed = ModelUnavailable(f"{SECRET} is down", retry_after_seconds=0.0)
    reply = ModelResponse(turn("add", a=1, b=2), Usage(), finish_reason="length")
    model = scripted(lambda number, _: failed if number == 0 else reply)
    agent = adder(model, search=bw.search.BestOfN(n=1, depth=1), sampling=bw.Sampling(temperature=0.3, stop=("END",)))
    result = await run(telescope, agent)
    first, second = telescope.named("chat")
    assert (first.status.status_code.name, first.status.description) == ("ERROR", None)
    assert told(first)["error.type"] == "ModelUnavailable"
    says = told(second)
    assert second.name == "chat small"
    assert second.kind.name == "CLIENT"
    assert says["gen_ai.provider.name"] == "scripted"
    assert says["gen_ai.request.temperature"] == 0.3
    assert says["gen_ai.request.stop_sequences"] == ("END",)
    assert says["gen_ai.response.finish_reasons"] == ("length",)
    tokens = sum(told(span)["gen_ai.usage.input_tokens"] for span in (first, second))
    assert tokens == result.usage.prompt_tokens
    assert says["gen_ai.usage.output_tokens"] == result.usage.completion_tokens
    assert says["gen_ai.conversation.id"] == result.run_id
    assert telescope.points()["branchwise.slots.in_use"] == [({"gen_ai.request.model": "small"}, 0)]


async def test_cached_tokens_are_told_apart(telescope: Telescope) -> None:
    """Tokens from the server's cache are told apart."""

    class Cached:
        name, slots, native_tools = "scripted:cached", 1, False

        async def generate(self, request: Any, meter: Any) -> ModelResponse:
            meter.prompt_tokens, meter.cached_tokens, meter.completion_tokens, meter.finished = 70, 50, 9, True
            return ModelResponse(turn("answer", text="42"), meter.usage(), model="cached-0123")

        async def prompt_tokens(self, request: Any) -> int:
            return 70

        def price(self, usage: Usage) -> float:
            return 0.0

        async def aclose(self) -> None: ...

    await run(telescope, adder(Cached(), search=None, tools=[]))
    (chat,) = telescope.named("chat")
    assert told(chat)["gen_ai.usage.cache_read.input_tokens"] == 50
    assert told(chat)["gen_ai.response.model"] == "cached-0123"


async def test_what_the_search_cancels_has_not_failed(telescope: Telescope) -> None:
    """The first accepted answer cancels the other calls: their spans end, marked as cancelled, without an error."""
    slow = iter([0.0, 30.0, 30.0])
    model = scripted(lambda *_: turn("answer", text="42"), slots=3, latency_seconds=lambda _request: next(slow))
    result = await run(telescope, adder(model, search=bw.search.BestOfN(n=3), slots=3))
    assert result.accepted
    calls = telescope.named("chat")
    assert Counter(told(call).get("branchwise.outcome") for call in calls) == {None: 1, "cancelled": 2}
    assert {span.status.status_code.name for span in telescope.spans} == {"UNSET"}
    outcomes = Counter(told(span)["branchwise.outcome"] for span in telescope.named("expand"))
    assert outcomes == {"done": 1, "cancelled": 2}


async def test_tools_say_what_they_did(telescope: Telescope) -> None:
    """Effects and errors; a tool that does not exist is not called by the name that the model made up."""
    script = [turn("add", a=1, b=2), turn("explode", a=1), turn("add", a="x", b=2), turn(f"{SECRET}-tool")]
    await run(telescope, adder(scripted(lambda n, _: script[n]), search=bw.search.BestOfN(n=1, depth=4), slots=1))
    seen = [
        (s.name, told(s).get("error.type"), told(s).get("branchwise.tool.effects"))
        for s in telescope.named("execute_tool")
    ]
    assert seen == [
        ("execute_tool add", None, "pure"),
        ("execute_tool explode", "RuntimeError", "pure"),
        ("execute_tool add", "ToolArgumentsInvalid", "pure"),
        ("execute_tool unknown", "ToolNotFound", None),
    ]
    assert {told(span)["gen_ai.agent.name"] for span in telescope.named("execute_tool")} == {"adder"}


async def test_verdicts_are_events_of_their_nodes(telescope: Telescope) -> None:
    """Each verdict is an evaluation event of the span in which its node was made."""
    result = await run(telescope, adder(scripted(adds_then_answers(right_from=10))))
    spans = {told(s)["branchwise.node.id"]: s for s in telescope.named("expand") if "branchwise.node.id" in told(s)}
    verdicts = [(node.id, verdict) for node in result.tree for verdict in result.tree.verdicts(node.id)]
    assert len(verdicts) == len(telescope.events) > 1
    for event in telescope.events:
        says = told(event)
        assert event.event_name == "gen_ai.evaluation.result"
        assert event.span_id == spans[says["branchwise.node.id"]].context.span_id
        verdict = dict(verdicts)[says["branchwise.node.id"]]
        assert says["gen_ai.evaluation.name"] == "right"
        assert says["gen_ai.evaluation.score.value"] == verdict.value
        assert says["gen_ai.evaluation.score.label"] == ("pass" if verdict.passed else "fail")
    assert {told(s)["gen_ai.evaluation.score.value"] for s in telescope.named("evaluate")} == {1.0, 0.25}


async def test_a_failing_verifier_is_seen(telescope: Telescope) -> None:
    """Its span has the error, and so has that of the judgement."""

    @bw.verifier(semantics="outcome", scope="answer")
    async def broken(candidate: bw.Candidate) -> float:
        raise RuntimeError(f"{SECRET} broken")

    model = scripted(lambda *_: turn("answer", text="1"))
    await run(telescope, adder(model, verifiers=[broken], search=bw.search.BestOfN(n=1)))
    seen = [*telescope.named("evaluate"), *telescope.named("score")]
    assert {span.name for span in seen} == {"evaluate broken", "score"}
    assert len({told(span)["error.type"] for span in seen}) == 1
    assert {span.parent.span_id for span in seen if span.parent} == {telescope.named("expand")[0].context.span_id}


@pytest.mark.parametrize("mode", ["NO_CONTENT", "SPAN_AND_EVENT"])
async def test_content_only_where_it_was_asked_for(
    telescope: Telescope, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was said, done or answered is recorded unless the conventions' variable says so; then all of it is."""
    monkeypatch.setenv(CONTENT, mode)
    replies: list[str | Exception] = [
        turn("add", a=1, b=2, why=f"{SECRET} argument"),
        turn("explode", a=1),
        turn(f"{SECRET}-tool"),
        ModelUnavailable(f"{SECRET} is down", retry_after_seconds=0.0),
        turn("answer", text=f"{SECRET} answer"),
    ]
    model = scripted(lambda n, _: replies[n])
    await run(telescope, adder(model, search=bw.search.BestOfN(n=1, depth=4), slots=1))
    await run(telescope, adder(scripted(lambda *_: ValueError(f"{SECRET} cause")), search=bw.search.BestOfN(n=1)))
    failed = telescope.named("invoke_workflow")[-1]
    assert failed.status.status_code.name == "ERROR"
    text = telescope.text()
    kinds = ["task", "instructions", "thought", "argument", "result", "boom", "is down", "feedback", "answer", "cause"]
    assert [kind for kind in kinds if f"{SECRET} {kind}" in text] == ([] if mode == "NO_CONTENT" else kinds)
    assert (SECRET in text) == (mode != "NO_CONTENT")


async def test_a_resumed_run_refers_to_its_earlier_trace(telescope: Telescope) -> None:
    """The new trace is linked to the old one; both carry the run's id; nodes of the journal are not traced again."""
    agent = adder(scripted(adds_then_answers()))
    first = await run(telescope, agent, nodes=4)
    before = telescope.named("invoke_workflow")[0]
    nodes = len(telescope.named("expand"))
    await telescope.runner.resume(agent, first.run_id, budget=bw.Budget(nodes=6))
    again = telescope.named("invoke_workflow")[1]
    assert again.context.trace_id != before.context.trace_id
    assert [(link.context.trace_id, link.context.span_id) for link in again.links] == [
        (before.context.trace_id, before.context.span_id)
    ]
    assert [told(s)["branchwise.run.resumed"] for s in (before, again)] == [False, True]
    assert {told(s)["branchwise.run.id"] for s in (before, again)} == {first.run_id}
    made = [span for span in telescope.named("expand")[nodes:] if told(span)["branchwise.outcome"] == "done"]
    assert len(made) == 2


async def test_metrics_count_what_happened(telescope: Telescope) -> None:
    """Tokens and durations as the conventions have them; nodes, work and verdicts are ours."""
    result = await run(telescope, adder(scripted(adds_then_answers(right_from=10))))
    points = telescope.points()
    tokens = {about["gen_ai.token.type"]: value for about, value in points["gen_ai.client.token.usage"]}
    assert tokens["input"] == result.usage.prompt_tokens
    assert tokens["output"] == result.usage.completion_tokens + result.usage.cancelled_tokens
    assert sum(value for _, value in points["branchwise.nodes"]) == len(result.tree) - 1
    kinds = Counter(node.step.kind for node in result.tree if node.step is not None)
    assert {about["branchwise.step.kind"]: value for about, value in points["branchwise.nodes"]} == kinds
    labels = Counter("pass" if v.passed else "fail" for node in result.tree for v in result.tree.verdicts(node.id))
    assert {about["gen_ai.evaluation.score.label"]: n for about, n in points["branchwise.verdicts"]} == labels
    durations = {"client.operation", "invoke_agent", "invoke_workflow", "execute_tool"}
    assert {f"gen_ai.{name}.duration" for name in durations} <= set(points)


async def test_sandbox_seconds_are_told(telescope: Telescope, tmp_path: Path) -> None:
    """Tools, nodes and verifiers say how long their sandboxes worked; the metric has the sum."""
    (tmp_path / "files").mkdir()

    @bw.tool
    async def wait(ctx: bw.Context) -> str:
        """Wait."""
        await ctx.sandbox.exec(["sleep", "0.05"])
        return "done"

    @bw.verifier(semantics="outcome", scope="state")
    async def looks(candidate: bw.Candidate) -> float:
        async with candidate.open(candidate.node.env_ref) as environment:
            await environment.exec(["sleep", "0.03"])
        return 0.5

    agent = adder(
        scripted(lambda *_: turn("wait")),
        tools=[wait],
        verifiers=[looks],
        search=bw.search.BestOfN(n=1, depth=1),
        sandbox=bw.sandboxes.Unprotected(code_may_do_anything=True),
    )
    task = Task(prompt="wait", files=str(tmp_path / "files"))
    result = await telescope.runner.run(agent, task, bw.Budget(), seed=1)
    name = "branchwise.usage.sandbox_seconds"
    (tool,), (node,) = telescope.named("execute_tool"), telescope.named("expand")
    assert 0.05 <= told(tool)[name] < told(node)[name] < result.usage.sandbox_seconds
    assert all(told(span)[name] >= 0.03 for span in telescope.named("evaluate"))
    total = sum(value for _, value in telescope.points()["branchwise.sandbox.duration"])
    assert total == pytest.approx(result.usage.sandbox_seconds)


async def test_a_search_within_a_search_lies_where_it_was_begun(telescope: Telescope, tmp_path: Path) -> None:
    """A tool that has something searched for: that search's span lies in the tool's, and nodes of both do not get mixed up."""
    inner = adder(scripted(lambda *_: turn("answer", text="42")), name="inner", search=None)
    async with AsyncExitStack() as stack:
        record = RunRecord("r", "outer", {}, {}, 1, "", model="scripted:small")
        journal = RunStore(tmp_path / "nested").create(record)
        log = stack.enter_context(CallLog())
        saver = await stack.enter_async_context(journal.saver())
        resources = Resources(journal, record, log, saver, stack, bw.Budget(), observer=telescope.observe())
        scope = Scope(resources, Ledger(bw.Budget()), 1)

        @bw.tool(effects="pure")
        async def ask(name: str) -> str:
            """Ask another one."""
            return str((await scope.within(name).search(inner, Task(prompt="find it"))).answer)

        turns = [turn("ask", name="a"), turn("ask", name="b"), turn("answer", text="42")]
        outer = adder(
            scripted(lambda n, _: turns[n]), name="outer", tools=[ask], search=bw.search.BestOfN(n=1, depth=3)
        )
        await scope.search(outer, Task(prompt="find it"))
    first, second, whole = telescope.named("invoke_agent")
    assert [told(s)["branchwise.search.path"] for s in (first, second, whole)] == ["a", "b", ""]
    for search in (first, second):
        tool = telescope.parent(search)
        assert tool is not None
        assert tool.name == "execute_tool ask"
        (node,) = telescope.children(search)
        assert [child.name for child in telescope.children(node)] == ["chat small", "evaluate right"]
    assert [event.attributes["branchwise.node.id"] for event in telescope.events] == [2, 2, 6]
    assert len({event.span_id for event in telescope.events}) == 3


async def test_the_callers_span_is_around_the_run_and_current_again_after_it(telescope: Telescope) -> None:
    """A program's own span contains its runs, also several at once; what it does afterwards lies in none of them."""
    tracer = telescope.tracers.get_tracer("program")
    with tracer.start_as_current_span("program") as own:
        agents = [
            adder(scripted(lambda *_: turn("answer", text="42")), name=f"agent-{n}", search=None) for n in range(3)
        ]
        await asyncio.gather(*(run(telescope, agent) for agent in agents))
        with tracer.start_as_current_span("afterwards"):
            pass
    (program,), (afterwards,) = telescope.named("program"), telescope.named("afterwards")
    assert telescope.parent(afterwards) is program
    assert [telescope.parent(span) for span in telescope.named("invoke_workflow")] == [program] * 3
    assert {span.context.trace_id for span in telescope.spans} == {own.get_span_context().trace_id}
    assert len(telescope.named("chat")) == 3


async def test_what_final_verifiers_say_lies_in_the_run(telescope: Telescope) -> None:
    """Verifiers that have the last word judge after the search; their span and their verdict lie in the run's."""
    model = scripted(lambda *_: turn("answer", text="42"))
    await run(telescope, adder(model, verifiers=[], final=[right], search=bw.search.BestOfN(n=1)))
    (workflow,), (evaluate,) = telescope.named("invoke_workflow"), telescope.named("evaluate")
    assert telescope.parent(evaluate) is workflow
    assert told(evaluate)["gen_ai.evaluation.score.label"] == "pass"
    assert telescope.parent(telescope.named("invoke_agent")[0]) is workflow
    [event] = telescope.events
    assert (event.event_name, event.span_id) == ("gen_ai.evaluation.result", workflow.context.span_id)
    assert told(event)["gen_ai.evaluation.name"] == "right"


async def test_what_waits_for_a_person_has_not_failed(telescope: Telescope) -> None:
    """A question ends tool, node and run without an error; the answer is a new trace, linked to the one with the question."""
    turns = [turn("ask_user", question=f"{SECRET} question"), turn("answer", text="42")]
    agent = adder(scripted(lambda n, _: turns[n]), tools=[bw.tools.ask_user], search=bw.search.BestOfN(n=1, depth=2))
    first = await run(telescope, agent)
    assert first.stop_reason == "waiting"
    (tool,), (node,) = telescope.named("execute_tool"), telescope.named("expand")
    assert [told(span)["branchwise.outcome"] for span in (tool, node)] == ["waiting", "waiting"]
    assert {span.status.status_code.name for span in telescope.spans} == {"UNSET"}
    await telescope.runner.resume(agent, first.run_id, answers={first.questions[0].id: f"{SECRET} reply"})
    before, after = telescope.named("invoke_workflow")
    assert [link.context.span_id for link in after.links] == [before.context.span_id]
    assert told(after)["branchwise.stop_reason"] == "accepted"
    assert SECRET not in telescope.text()
