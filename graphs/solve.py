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

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ..agents.planner import Plan, retry
from ..core.errors import BudgetExceeded, ModelError
from ..core.types import JSON, Result, Task
from ..models.retry import Retrying
from .stage import Stage, state_after

if TYPE_CHECKING:
    from ..agents.agent import Agent

PARTS_SHARE = 0.6
"""Part of the budget that the parts of a plan may spend together; the rest is for putting the whole together."""


_WHOLE = Plan().to_json()


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


def _next_task(stage: Stage, state: SolveState, origin: str | None) -> Task:
    """Return the task as the next attempt, which begins with the files of `origin`, is to see it."""
    whole = Plan.from_json(state.get("plan", _WHOLE)).whole(stage.task, state.get("found", []))
    tries = state.get("tries", [])
    if not tries:
        return whole
    last = stage.results[str(tries[-1]["name"])]
    attempt = last.answer
    if attempt is None and last.state is not None and state_after(last, origin) != origin:
        attempt = last.patch()
    return retry(whole, attempt, str(tries[-1]["feedback"]))


# --- the nodes --------------------------------------------------------------------------------------------------------


async def _plan(state: SolveState, runtime: Runtime[Stage]) -> dict[str, Any]:  # noqa: ARG001 - LangGraph passes it
    stage = runtime.context
    planner, plan = stage.agent.plan, Plan()
    if planner is not None:
        scope = stage.scope.within("plan")
        named = planner.model if planner.model is not None else stage.agent.model
        try:
            plan = await planner.plan(Retrying(await scope.model(named)), stage.task, scope.seed)
        except (ModelError, BudgetExceeded):
            plan = Plan()  # a task that nobody planned is done in one piece
    return {"plan": plan.to_json(), "origin": stage.origin, "found": [], "tries": []}


async def _search(state: SolveState, runtime: Runtime[Stage]) -> dict[str, Any]:
    stage, plan = runtime.context, Plan.from_json(state.get("plan", _WHOLE))
    tries, found, origin = state.get("tries", []), list(state.get("found", [])), state.get("origin")
    for row in tries:  # what earlier attempts came to, where another process made them
        await stage.search(str(row["name"]))
    if not tries:
        for number, part in enumerate(plan.parts):
            name = f"part{number + 1}"
            budget = stage.share(PARTS_SHARE * part.share, [name])
            task = plan.part(number, stage.task, found)
            result = await stage.search(name, task, origin=origin, budget=budget)
            found.append(result.answer or _changed(result))
            origin = state_after(result, origin)
    name = f"try{len(tries) + 1}"
    await stage.search(name, _next_task(stage, {**state, "found": found}, origin), origin=origin)
    return {"found": found, "origin": origin, "tries": [*tries, {"name": name}]}


async def _verify(state: SolveState, runtime: Runtime[Stage]) -> dict[str, Any]:
    stage, tries = runtime.context, state.get("tries", [])
    name = str(tries[-1]["name"])
    result = await stage.search(name)
    row: dict[str, JSON] = {"name": name, "stop_reason": result.stop_reason, "node": result.node}
    if stage.agent.final and result.node is not None:
        verdicts = await stage.judge(f"verify{len(tries)}", result, stage.agent.final)
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
    return {"tries": done, "outcome": _outcome(stage, done, result)}


def _outcome(stage: Stage, tries: list[dict[str, JSON]], result: Result) -> str:
    spent = result.stop_reason == "budget" or stage.spent
    if not tries[-1]["passed"] and len(tries) <= stage.agent.rounds and not spent:
        return "refine"
    return "abstain" if best(tries)["node"] is None else "finish"


async def _refine(state: SolveState, runtime: Runtime[Stage]) -> dict[str, Any]:
    """The next attempt begins with the files of the best so far, unless the search would end where it begins.

    It would where its guide had accepted these files: then it begins anew, and is shown what was changed.
    """
    stage = runtime.context
    name = str(best(state.get("tries", []))["name"])
    result = await stage.search(name)
    content = result.accepted and result.answer is None
    return {"origin": stage.origin if content else state_after(result, stage.origin)}


def _end(state: SolveState) -> dict[str, Any]:
    return {"outcome": state.get("outcome", "abstain")}


def _where_next(state: SolveState) -> str:
    return state.get("outcome", "abstain")


def best(tries: list[dict[str, JSON]]) -> dict[str, JSON]:
    """Return the row of the best attempt: accepted first, then by value, then the earlier one."""

    def rank(row: dict[str, JSON]) -> tuple[bool, bool, float]:
        return bool(row["passed"]), row["node"] is not None, -1.0 if row["value"] is None else float(row["value"])

    return max(tries, key=rank)


def _changed(result: Result) -> str:
    return f"changed {', '.join(sorted(result.files))}" if result.files else "nothing"


# --- the graph --------------------------------------------------------------------------------------------------------


def solve_graph() -> StateGraph[SolveState, Stage, SolveState, SolveState]:
    """Return the uncompiled graph."""
    graph = StateGraph(SolveState, context_schema=Stage)
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


@dataclass(frozen=True)
class Solve:
    """The stages around an agent's searches, as its plan, its last verifiers and its rounds say; a `Team`."""

    @property
    def name(self) -> str:
        """Name of its thread in the journal."""
        return "solve"

    def graph(self) -> StateGraph[SolveState, Stage, SolveState, SolveState]:
        """Return the uncompiled graph."""
        return solve_graph()

    async def result(self, state: SolveState, stage: Stage) -> Result:
        """Return the best attempt, as the last word has it."""
        tries = state.get("tries", [])
        row = best(tries)
        result = await stage.search(str(row["name"]))
        return replace(
            result,
            accepted=bool(row["passed"]),
            stop_reason="accepted" if row["passed"] else result.stop_reason,
            report={
                **result.report,
                "plan": state.get("plan", _WHOLE),
                "tries": tries,
                "flips": flips(tries),
                "final": independence(stage.agent),
            },
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
