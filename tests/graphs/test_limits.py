"""Limits by scope: of an agent, of a search within another one, of a tool. Each ends in a partial result that says which it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import branchwise as bw
from branchwise.core.budget import LIMITS, Ledger
from branchwise.core.errors import BudgetExceeded, UsageError
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import NO_USAGE, ModelRequest, Task, Usage
from branchwise.graphs import LocalRunner, RunStore


def turn(tool: str, **args: object) -> str:
    """A reply in the JSON form."""
    return json.dumps({"thought": "so", "tool": tool, "args": args})


def model(script: Callable[[str, int], str]) -> ScriptedModel:
    """A model whose reply is a function of the task's text and of how many turns its trajectory has taken."""

    def reply(request: ModelRequest) -> str:
        turns = sum(message.role == "assistant" for message in request.messages)
        return script(request.messages[1].content.strip(), turns)

    return ScriptedModel(reply, slots=2, native_tools=False)


@pytest.fixture
def runner(tmp_path: Path) -> LocalRunner:
    """A runner whose runs live in the test's own folder."""
    return LocalRunner(RunStore(tmp_path / "runs"))


@bw.tool(effects="pure")
def look(at: str) -> str:
    """Look at something."""
    return f"seen {at}"


def looker(**changes: Any) -> bw.Agent:
    """An agent that looks at six things, one after the other, and then says so."""
    script = model(lambda _, turns: turn("look", at=f"{turns}") if turns < 6 else turn("answer", text="seen all"))
    return bw.Agent(**{"name": "looker", "model": script, "tools": [look], **changes})


def seen(result: bw.Result) -> list[str]:
    """What the tool calls of the longest trajectory returned."""
    last = max(result.tree, key=lambda node: node.depth)
    path = result.tree.path(last.id)
    return [o.text for node in path if node.step is not None for o in node.step.observations]


# --- an agent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["calls", "nodes", "tool_calls", "tokens"])
async def test_an_agent_keeps_to_its_own_limits(runner: LocalRunner, limit: str) -> None:
    """Within the run's budget, whatever that allows; the result is partial, and says whose limit it was."""
    most = 400 if limit == "tokens" else 3
    agent = looker(limits=bw.Budget(**{limit: most}))
    result = await runner.run(agent, Task(prompt="look around"), bw.Budget(calls=100), seed=1)
    assert result.stop_reason == "budget"
    assert result.stop_detail == f"the budget's {limit} (of agent 'looker') is spent"
    assert LIMITS[limit](result.usage) <= most
    assert len(result.tree) > 1
    assert (await runner.run(agent, Task(prompt="a"), bw.Budget(calls=1), seed=1)).stop_detail == (
        "the budget's calls is spent"
    ), "the run's own limit is nearer"


async def test_seconds_of_an_agent(runner: LocalRunner) -> None:
    """Its deadline is its own; the run's is not reached."""
    slow = ScriptedModel(lambda _: turn("look", at="x"), native_tools=False, latency_seconds=lambda _: 30.0)
    agent = looker(model=slow, limits=bw.Budget(seconds=0.05))
    result = await runner.run(agent, Task(prompt="look around"), bw.Budget(seconds=60), seed=1)
    assert result.stop_detail.startswith("the budget's seconds (of agent 'looker') are spent: 0.")


async def test_limits_hold_over_processes(runner: LocalRunner) -> None:
    """A run that is resumed has spent what it had spent; larger limits let it go on."""
    first = await runner.run(looker(limits=bw.Budget(calls=3)), Task(prompt="look around"), bw.Budget(), seed=1)
    again = await runner.resume(looker(limits=bw.Budget(calls=3)), first.run_id)
    assert (again.stop_reason, again.usage.calls) == ("budget", 3)
    more = await runner.resume(looker(limits=bw.Budget(calls=9)), first.run_id)
    assert (more.answer, more.usage.calls) == ("seen all", 7)


async def test_a_judged_partial_result(runner: LocalRunner) -> None:
    """What the limit let the agent do has its verdicts."""

    @bw.verifier(scope="state")
    def fair(candidate: bw.Candidate) -> float:
        """Find it fair."""
        return 0.4

    agent = looker(limits=bw.Budget(nodes=3), verifiers=[fair], sandbox=bw.sandboxes.Local())
    result = await runner.run(agent, Task(prompt="look around"), bw.Budget(), seed=1)
    assert (result.stop_reason, result.node is not None, [v.value for v in result.verdicts]) == ("budget", True, [0.4])


# --- a search within another one ----------------------------------------------------------------------------------------


async def test_a_search_within_keeps_to_what_it_was_given_and_to_its_agents_limits(runner: LocalRunner) -> None:
    """The nearer limit counts and is named; the parent goes on."""
    told: list[str] = []
    small, large = looker(name="small", limits=bw.Budget(calls=2)), looker(name="large", limits=bw.Budget(calls=50))

    @bw.tool(effects="pure", timeout=600)
    async def ask_around(ctx: bw.Context) -> str:
        """Ask two agents."""
        async with ctx.group(budget=bw.Budget(calls=4)) as group:
            for agent in (small, large):
                group.spawn(agent, "look around")
            told.extend(c.reason for c in await group.join())
        return "asked"

    script = model(lambda _, turns: [turn("ask_around"), turn("answer", text="done")][turns])
    agent = bw.Agent(name="parent", model=script, tools=[ask_around])
    result = await runner.run(agent, Task(prompt="ask"), bw.Budget(calls=20), seed=1)
    assert (result.answer, result.usage.calls) == ("done", 2 + 4 + 2)
    assert told == ["the budget's calls (of agent 'small') is spent", "the budget's calls (of search '2.0.2') is spent"]


# --- a tool -----------------------------------------------------------------------------------------------------------


async def test_a_tool_that_is_used_up(runner: LocalRunner) -> None:
    """The model is told, and goes on without it; over processes likewise."""
    calls: list[str] = []

    @bw.tool(effects="pure", limits=bw.Budget(tool_calls=2))
    def look(at: str) -> str:
        """Look at something."""
        calls.append(at)
        return f"seen {at}"

    first = await runner.run(looker(tools=[look]), Task(prompt="look"), bw.Budget(nodes=3), seed=1)
    assert seen(first) == [
        "seen 0",
        "seen 1",
        "look is used up: its limit of 2 tool_calls is reached. Go on without it.",
    ]
    last = await runner.resume(looker(tools=[look]), first.run_id, budget=bw.Budget())
    assert (last.answer, calls, last.usage.tool_calls) == ("seen all", ["0", "1"], 2)


async def test_seconds_of_a_tool(runner: LocalRunner) -> None:
    """They are those in which it works: a call is stopped when they are over, and none is begun after that."""

    @bw.tool(effects="pure", limits=bw.Budget(seconds=0.02))
    async def look(at: str) -> str:
        """Look at something for ever."""
        import asyncio

        await asyncio.Event().wait()
        return at

    result = await runner.run(looker(tools=[look]), Task(prompt="look"), bw.Budget(nodes=2), seed=1)
    assert seen(result) == [
        "look was stopped after 0.02 s",
        "look is used up: its limit of 0.02 seconds is reached. Go on without it.",
    ]


async def test_what_a_tool_starts_is_paid_from_its_limits(runner: LocalRunner) -> None:
    """The searches of all its calls share them; the rest of the run is not touched."""
    told: list[str] = []

    @bw.tool(effects="pure", timeout=600, limits=bw.Budget(calls=5))
    async def ask_around(ctx: bw.Context) -> str:
        """Ask another agent."""
        async with ctx.group() as group:
            group.spawn(looker(), "look around")
            told.extend(c.reason for c in await group.join())
        return told[-1]

    script = model(lambda _, turns: turn("ask_around") if turns < 2 else turn("answer", text="done"))
    agent = bw.Agent(name="parent", model=script, tools=[ask_around])
    result = await runner.run(agent, Task(prompt="ask"), bw.Budget(calls=40), seed=1)
    assert told == ["the budget's calls (of tool 'ask_around') is spent"] * 2
    assert (result.answer, result.usage.calls) == ("done", 3 + 5)


async def test_sandbox_seconds_of_a_tool(runner: LocalRunner) -> None:
    """Programs of the tool are refused once they are over, programs of others are not."""

    @bw.tool(limits=bw.Budget(sandbox_seconds=0.05))
    async def look(ctx: bw.Context, at: str) -> str:
        """Look at something."""
        done = await ctx.sandbox.exec("sleep 5")
        return f"{done.timed_out} {at}"

    agent = looker(tools=[look], sandbox=bw.sandboxes.Local())
    result = await runner.run(agent, Task(prompt="look"), bw.Budget(nodes=2, sandbox_seconds=60), seed=1)
    assert seen(result) == [
        "True 0",
        "look is used up: its limit of 0.05 sandbox_seconds is reached. Go on without it.",
    ]


@pytest.mark.parametrize("make", [lambda b: looker(limits=b), lambda b: bw.tool(limits=b)(lambda: None)])
def test_disk_space_is_a_whole_runs(make: Callable[[bw.Budget], object]) -> None:
    """States are kept for a run; no part of it can have a limit of its own for them."""
    with pytest.raises(UsageError, match="disk space is limited for a whole run"):
        make(bw.Budget(snapshot_bytes=1))


# --- more for what ended for want of it -------------------------------------------------------------------------------


async def test_stages_go_on_with_a_larger_budget(runner: LocalRunner) -> None:
    """The attempt that the budget cut short goes on where it was, and the last word is asked again."""

    @bw.verifier
    def whole(candidate: bw.Candidate) -> bool:
        """Accept the whole answer."""
        return candidate.answer == "seen all"

    agent = looker(final=[whole], rounds=1)
    first = await runner.run(agent, Task(prompt="look"), bw.Budget(calls=3), seed=1)
    assert (first.stop_reason, first.accepted) == ("budget", False)
    same = await runner.resume(agent, first.run_id, budget=bw.Budget(calls=3))
    assert (same.stop_reason, same.usage.calls) == ("budget", 3)
    last = await runner.resume(agent, first.run_id, budget=bw.Budget(calls=30))
    assert (last.answer, last.accepted, last.usage.calls) == ("seen all", True, 7)
    assert len(agent.model.requests) == 7, "nothing was asked for twice"


# --- the ledgers ------------------------------------------------------------------------------------------------------

amounts = st.integers(0, 30)


@settings(max_examples=60, deadline=None)
@given(
    outer=amounts.map(lambda n: n + 1),
    limits=st.lists(amounts.map(lambda n: n + 1), min_size=3, max_size=3),
    asked=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 8), st.integers(0, 8)), max_size=40),
)
async def test_no_scope_overshoots_and_all_add_up(
    outer: int, limits: list[int], asked: list[tuple[int, int, int]]
) -> None:
    """Whatever is asked for in agent, search and tool, nested in one another: each holds its own limit and all above it."""
    run = Ledger(bw.Budget(calls=outer))
    agent = run.child(bw.Budget(calls=limits[0]), whose="agent")
    search = agent.child(bw.Budget(calls=limits[1]), whose="search")
    tool = search.child(bw.Budget(calls=limits[2]), whose="tool")
    scopes, alone = [agent, search, tool], [0, 0, 0]
    for place, want, used in asked:
        try:
            held = await scopes[place].reserve(Usage(calls=want))
        except BudgetExceeded as error:
            blamed = {"": run, "agent": agent, "search": search, "tool": tool}[error.whose]
            assert blamed.spent.calls + want > (blamed.budget.calls or 0)
            continue
        held.settle(Usage(calls=min(used, want)))
        alone[place] += min(used, want)
    assert [ledger.spent.calls for ledger in (run, agent, search, tool)] == [
        sum(alone),
        sum(alone),
        alone[1] + alone[2],
        alone[2],
    ]
    assert all(ledger.overshoot == 0.0 and ledger.reserved == NO_USAGE for ledger in (run, agent, search, tool))
    assert all(b.spent.calls <= (b.budget.calls or 0) for b in (run, agent, search, tool))
    part = tool.share(0.5)
    assert part.calls is not None
    assert part.calls <= max(1, tool.left("calls") or 0)
