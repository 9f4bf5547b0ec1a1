# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""An agent as a plain LangGraph graph, for graphs of other people: a node or subgraph of theirs, drawn, streamed, interrupted, resumed.

    START -> begin -> work -+-> END
                       ^    +-> person -+
                       +----------------+

`begin` only gives the run its name, so that it is in a checkpoint before anything is paid for: whoever is killed after that goes on
with the same run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from ..agents.agent import Agent
from ..agents.forking import Fork
from ..core.errors import UsageError
from ..core.events import Event, Within
from ..core.tree import Tree
from ..core.types import JSON, Budget, Result, Task
from .journal import new_run_id

if TYPE_CHECKING:
    from .runner import LocalRunner


class AgentInput(TypedDict, total=False):
    """What an agent's graph is given."""

    task: str
    """What is to be done; not needed with `fork`."""
    files: str
    """Folder or archive that is copied into the sandbox."""
    budget: dict[str, JSON]
    """Hard limits, as `Budget` has them."""
    seed: int
    fork: dict[str, JSON]
    """Go on from a node of an earlier run: `run_id`, `node`, and what is changed, as `Agent.fork` takes it."""


class AgentOutput(TypedDict, total=False):
    """What an agent's graph returns; see `Result`."""

    answer: str | None
    accepted: bool
    abstained: bool
    confidence: float | None
    stop_reason: str
    stop_detail: str
    usage: dict[str, float]
    changed_files: list[str]
    report: dict[str, JSON]
    run_id: str
    """To look at the run, go on with it, fork it, or get at its files."""


class AgentState(AgentInput, AgentOutput, total=False):
    """What LangGraph checkpoints of an agent's graph; the run has a journal of its own."""

    questions: list[dict[str, JSON]]
    """What people have to answer before the run can go on."""
    answers: dict[str, JSON]


def compiled(
    runner: LocalRunner, agent: Agent, checkpointer: Any = None
) -> CompiledStateGraph[AgentState, None, AgentInput, AgentOutput]:
    """Return an agent's graph; see `Agent.compile`."""
    return agent_graph(runner, agent).compile(checkpointer=checkpointer, name=agent.name)


def agent_graph(runner: LocalRunner, agent: Agent) -> StateGraph[AgentState, None, AgentInput, AgentOutput]:
    """Return the uncompiled graph."""

    async def work(state: AgentState, runtime: Runtime[None]) -> AgentState:
        result = await _worked(runner, agent, state, runtime.stream_writer)
        row = result.to_json()
        told = cast("AgentState", {name: row[name] for name in AgentOutput.__annotations__ if name in row})
        return told | AgentState(questions=row.get("questions", []), report=row.get("report", {}))

    graph = StateGraph(AgentState, input_schema=AgentInput, output_schema=AgentOutput)
    graph.add_node("begin", _begin)
    graph.add_node("work", work)
    graph.add_node("person", _person)
    graph.add_edge(START, "begin")
    graph.add_edge("begin", "work")
    graph.add_conditional_edges("work", _where_next, ["person", END])
    graph.add_edge("person", "work")
    return graph


def _begin(state: AgentState) -> AgentState:
    if not state.get("task", "").strip() and "fork" not in state:
        raise UsageError("the graph's input has no task; give {'task': 'what is to be done'}")
    return AgentState(run_id=new_run_id(), questions=[], answers={})


async def _worked(runner: LocalRunner, agent: Agent, state: AgentState, tell: Any) -> Result:
    """Begin the run of this name, or go on with it; its events are told as they happen."""
    run_id = state.get("run_id", "")

    def listener(path: str, events: Sequence[Event], _tree: Tree) -> None:
        for event in events:
            tell(Within(path, event) if path else event)

    if runner.store.has(run_id):
        answers = runner.open_among(run_id, state.get("answers", {}))
        return await runner.go_on(agent, run_id, answers=answers, listener=listener)
    budget = Budget(**state["budget"]) if "budget" in state else None
    seed = state.get("seed")
    if "fork" in state:
        return await runner.branch(agent, Fork(**state["fork"]), budget, seed=seed, run_id=run_id, listener=listener)
    task = Task(prompt=state.get("task", ""), files=state.get("files"))
    return await runner.begin(agent, task, budget or Budget(), seed=seed, run_id=run_id, listener=listener)


def _person(state: AgentState) -> AgentState:
    """Wait for people; `Command(resume={id: answer, ...})` goes on. What is not answered is asked again."""
    questions = state.get("questions", [])
    answers: Any = interrupt({"questions": questions, "response_schema": _schema(questions)})
    return AgentState(answers=dict(cast("Mapping[str, JSON]", answers)) if isinstance(answers, Mapping) else {})


def _schema(questions: Sequence[Mapping[str, JSON]]) -> dict[str, JSON]:
    """Return the JSON schema of what the graph is resumed with: an answer for each question, by its id."""
    return {
        "type": "object",
        "properties": {str(q["id"]): {**q["schema"], "description": q["text"]} for q in questions},
        "additionalProperties": False,
    }


def _where_next(state: AgentState) -> str:
    return "person" if state.get("questions") else END


def drawn(agent: Agent) -> str:
    """Return the machine that an agent runs as, as a Mermaid drawing: its team's graph, that of its stages, or one search."""
    from .machine import search_graph
    from .solve import solve_graph

    if agent.staged:
        graph: Any = solve_graph()
    else:
        graph = search_graph() if agent.team is None else agent.team.graph()
    return str(graph.compile().get_graph().draw_mermaid())
