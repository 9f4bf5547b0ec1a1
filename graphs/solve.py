# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""The solve graph: plan, search, verify, and refine, finish or abstain.

    START -> plan -> search -> verify -+-> finish  -> END
                        ^              +-> abstain -> END
                        +--- refine <--+

Each search is a thread of its own in the run's journal. A node that a kill cut off runs again and finds there what its searches
came to, so only what had not finished is done again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ..agents.agent import Agent
from ..agents.planner import Plan, retry
from ..core.errors import BudgetExceeded, ModelError
from ..core.protocols import Strategy
from ..core.types import JSON, Budget, Result, Task
from ..models.retry import Retrying
from .judging import judge

if TYPE_CHECKING:
    from .scope import Scope

PARTS_SHARE = 0.6
"""Part of the budget that the parts of a plan may spend together; the rest is for putting the whole together."""


_WHOLE = Plan().to_json()


class Interrupted(Exception):
    """The run was stopped; LangGraph goes on with the same node when it is resumed."""

    def __init__(self, result: Result) -> None:
        super().__init__("interrupted")
        self.result = result


class SolveState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    plan: dict[str, JSON]
    """`Plan.to_json`."""
    found: list[str]
    """What the parts came to, in order."""
    origin: str | None
    """State of the sandbox that the next attempt begins with."""
    tries: list[dict[str, JSON]]
    """One row for each attempt: what the final verifiers said of it."""
    outcome: Literal["refine", "finish", "abstain"]


@dataclass
class Solving:
    """What the nodes work with.

    Args:
        scope: of the run.
        agent: its planner, its verifiers for the end, and how often it tries again.
        task: the task.
        strategy: of the searches.
        origin: state that the first search begins with.
    """

    scope: Scope
    agent: Agent
    task: Task
    strategy: Strategy
    origin: str | None
    results: dict[str, Result] = field(default_factory=dict[str, Result])
    """Of the searches that this process has seen end, by name."""

    async def search(self, name: str, task: Task, origin: str | None, budget: Budget | None = None) -> Result:
        """Run the search of a name, or return what it came to.

        Raises:
            Interrupted: the run was stopped meanwhile.
        """
        if name not in self.results:
            scope = self.scope.within(name, budget)
            result = await scope.search(self.agent, task, strategy=self.strategy, origin=origin, once=True)
            if result.stop_reason in {"interrupted", "waiting"}:
                raise Interrupted(result)
            self.results[name] = result
        return self.results[name]

    def next_task(self, state: SolveState) -> Task:
        """Return the task as the next attempt is to see it."""
        whole = Plan.from_json(state.get("plan", _WHOLE)).whole(self.task, state.get("found", []))
        tries = state.get("tries", [])
        if not tries:
            return whole
        last = tries[-1]
        return retry(whole, self.results[str(last["name"])].answer, str(last["feedback"]))


# --- the nodes --------------------------------------------------------------------------------------------------------


async def _plan(state: SolveState, runtime: Runtime[Solving]) -> dict[str, Any]:  # noqa: ARG001 - LangGraph passes it
    solving = runtime.context
    planner, plan = solving.agent.plan, Plan()
    if planner is not None:
        scope = solving.scope.within("plan")
        named = planner.model if planner.model is not None else solving.agent.model
        try:
            plan = await planner.plan(Retrying(await scope.model(named)), solving.task, scope.seed)
        except (ModelError, BudgetExceeded):
            plan = Plan()  # a task that nobody planned is done in one piece
    return {"plan": plan.to_json(), "origin": solving.origin, "found": [], "tries": []}


async def _search(state: SolveState, runtime: Runtime[Solving]) -> dict[str, Any]:
    solving, plan = runtime.context, Plan.from_json(state.get("plan", _WHOLE))
    tries, found, origin = state.get("tries", []), list(state.get("found", [])), state.get("origin")
    for row in tries:  # what earlier attempts came to, where another process made them
        await solving.search(str(row["name"]), solving.task, None)
    if not tries:
        for number, part in enumerate(plan.parts):
            budget = solving.scope.share(PARTS_SHARE * part.share)
            result = await solving.search(f"part{number + 1}", plan.part(number, solving.task, found), origin, budget)
            found.append(result.answer or _changed(result))
            origin = _state(result, origin)
    name = f"try{len(tries) + 1}"
    await solving.search(name, solving.next_task({**state, "found": found}), origin)
    return {"found": found, "origin": origin, "tries": [*tries, {"name": name}]}


async def _verify(state: SolveState, runtime: Runtime[Solving]) -> dict[str, Any]:
    solving, tries = runtime.context, state.get("tries", [])
    name = str(tries[-1]["name"])
    result = await solving.search(name, solving.task, None)
    row: dict[str, JSON] = {"name": name, "stop_reason": result.stop_reason, "node": result.node}
    if solving.agent.final and result.node is not None:
        scope = solving.scope.within(f"verify{len(tries)}")
        verdicts = await judge(scope, replace(solving.agent, verifiers=solving.agent.final), solving.task, result)
        passed = [verdict.passed for verdict in verdicts if verdict.passed is not None]
        row |= {
            "verdicts": [[v.verifier, v.value, v.passed] for v in verdicts],
            "value": sum(v.value for v in verdicts) / len(verdicts) if verdicts else None,
            "passed": bool(passed) and all(passed),
            "feedback": "\n".join(f"[{v.verifier}] {v.feedback}" for v in verdicts if v.feedback),
        }
    else:
        said = "\n".join(f"[{v.verifier}] {v.feedback}" for v in result.verdicts if v.feedback)
        row |= {"value": result.confidence, "passed": result.accepted, "feedback": said}
    done = [*tries[:-1], row]
    return {"tries": done, "outcome": _outcome(solving, done, result)}


def _outcome(solving: Solving, tries: list[dict[str, JSON]], result: Result) -> str:
    spent = result.stop_reason == "budget" or solving.scope.ledger.share_left == 0.0
    if not tries[-1]["passed"] and len(tries) <= solving.agent.rounds and not spent:
        return "refine"
    return "abstain" if best(tries)["node"] is None else "finish"


async def _refine(state: SolveState, runtime: Runtime[Solving]) -> dict[str, Any]:
    """The next attempt begins with the files of the best so far."""
    solving = runtime.context
    name = str(best(state.get("tries", []))["name"])
    result = await solving.search(name, solving.task, None)
    return {"origin": _state(result, solving.origin)}


def _end(state: SolveState) -> dict[str, Any]:
    return {"outcome": state.get("outcome", "abstain")}


def _where_next(state: SolveState) -> str:
    return state.get("outcome", "abstain")


def best(tries: list[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the row of the best attempt: accepted first, then by value, then the earlier one."""

    def rank(row: dict[str, JSON]) -> tuple[bool, bool, float]:
        return bool(row["passed"]), row["node"] is not None, -1.0 if row["value"] is None else float(row["value"])

    return max(tries, key=rank)


def _state(result: Result, before: str | None) -> str | None:
    ref = None if result.node is None else result.tree[result.node].env_ref
    return before if ref is None else ref


def _changed(result: Result) -> str:
    return f"changed {', '.join(sorted(result.files))}" if result.files else "nothing"


# --- the graph --------------------------------------------------------------------------------------------------------


def solve_graph() -> StateGraph[SolveState, Solving, SolveState, SolveState]:
    """Return the uncompiled graph."""
    graph = StateGraph(SolveState, context_schema=Solving)
    graph.add_node("plan", _plan)
    graph.add_node("search", _search)
    graph.add_node("verify", _verify)
    graph.add_node("refine", _refine)
    graph.add_node("finish", _end)
    graph.add_node("abstain", _end)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "search")
    graph.add_edge("search", "verify")
    graph.add_conditional_edges("verify", _where_next, ["refine", "finish", "abstain"])
    graph.add_edge("refine", "search")
    graph.add_edge("finish", END)
    graph.add_edge("abstain", END)
    return graph


async def solve(solving: Solving) -> Result:
    """Take the graph to its end, from the beginning or from where an earlier process was."""
    resources = solving.scope.resources
    graph = solve_graph().compile(checkpointer=resources.saver)
    config: Any = {"configurable": {"thread_id": f"{solving.scope.thread}#solve"}, "recursion_limit": 10_000}
    saved = await graph.aget_state(config)
    begin = None if saved.next else SolveState()
    try:
        state = await graph.ainvoke(begin, config=config, context=solving, durability="sync")
    except Interrupted as stopped:
        return replace(stopped.result, usage=solving.scope.ledger.spent, run_id=resources.record.run_id)
    tries: list[dict[str, JSON]] = state["tries"]
    row = best(tries)
    result = await solving.search(str(row["name"]), solving.task, None)
    return replace(
        result,
        accepted=bool(row["passed"]),
        usage=solving.scope.ledger.spent,
        seconds=solving.scope.ledger.elapsed_seconds,
        stop_reason="accepted" if row["passed"] else result.stop_reason,
        run_id=resources.record.run_id,
        report={"plan": state["plan"], "tries": tries, "flips": flips(tries), "final": independence(solving.agent)},
    )


def flips(tries: list[dict[str, JSON]]) -> dict[str, int]:
    """Return how often refinement turned what was accepted into what was not, and the other way round."""
    pairs = [(bool(a["passed"]), bool(b["passed"])) for a, b in pairwise(tries)]
    return {"right_to_wrong": pairs.count((True, False)), "wrong_to_right": pairs.count((False, True))}


def independence(agent: Agent) -> str:
    """Say whether the last word was one that had not guided the search: a search finds what its guide overrates."""
    if not agent.final:
        return "no verifier of its own: the verdicts are those that guided the search"
    shared = [v.name for v in agent.final if v.name in {w.name for w in agent.verifiers}]
    return (
        f"{', '.join(shared)} also guided the search"
        if shared
        else "independent of the verifiers that guided the search"
    )
