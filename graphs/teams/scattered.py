# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""Scattered and stacked: several solvers, a critic for each solution, rewriters that see all of them, and a choice.

Where the verifiers accepted a solution, or there is none, the steps that are left are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import TYPE_CHECKING, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ...agents.prompts import fill
from ...core.errors import BranchwiseError, BudgetExceeded, ModelError, SandboxError, UsageError, VerifierError
from ...core.protocols import Verifier
from ...core.types import JSON, Result, Task
from ...search.equivalence import key
from ...verifiers.fence import fenced
from ...verifiers.listwise import Listwise
from ...verifiers.showing import Show
from ..stage import Stage, state_after
from .components import described
from .lineup import Entrant, Lineup

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 26
"""Rewriters at most: more cannot be compared in one call."""


class ScatteredState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    names: list[str]
    """Searches of the last step that came to something, the solutions that the next step sees."""
    rows: list[dict[str, JSON]]
    """One for each search: its name, its answer, whether verifiers accepted it, or what broke it."""
    over: bool
    """Whether the verifiers accepted a solution, or there is none: no further step is needed."""
    chosen: str
    by: str
    """What chose it."""


@dataclass(frozen=True, repr=False)
class ScatteredStacked:
    """Solve several times, correct each solution, write new ones that see all corrected ones, and choose: `Agent(team=ScatteredStacked())`.

    Chai et al. (2025), SciMaster, the scattered-and-stacked workflow of X-Masters: scattered for breadth, stacked for depth. Every
    solver, critic and rewriter is a search of the agent, so that its tools, its sandbox and its strategy work in each: sixteen runs of an
    agent with the default of five each. A critic begins with the files of the solution that it corrects; so does a rewriter with
    those of one corrected solution, each with another one's, and reads all. Differs: the paper's agent runs code in the middle of its thinking, here
    it calls tools; a solution that the verifiers accept ends it, as it ends every search; the choice is by `select` among different answers only.

    It is a graph, not a strategy: each step needs all of the one before it, so waiting for them wastes nothing. Each search gets its part of
    what is left of the budget; one that fails costs its own solution, and where a whole step comes to nothing the solutions before it stay.

    Args:
        solvers: independent solutions, >= 1.
        critics: corrected solutions, >= 0: the first critic gets the first solution, and so on, in turn; 0 leaves this out.
        rewriters: solutions of those who see all corrected ones, 0 to 26; 0 leaves this out.
        select: compares what the last step made (scope "set").
        show: what is shown of solutions; None for the changes to the files, all steps where there are none.

    Raises:
        UsageError: a number is out of range, or `select` does not compare.
    """

    solvers: int = 5
    critics: int = 5
    rewriters: int = 5
    select: Verifier = field(default_factory=lambda: Listwise(k=2))
    show: Show | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.solvers <= MOST or not 0 <= self.critics <= MOST or not 0 <= self.rewriters <= MOST:
            raise UsageError(
                f"ScatteredStacked(solvers={self.solvers}, critics={self.critics}, rewriters={self.rewriters}): solvers must be 1 to "
                f"{MOST}, critics and rewriters 0 to {MOST}"
            )
        if self.select.scope != "set":
            raise UsageError(
                f"select={self.select.name!r} has scope {self.select.scope!r}; it must compare: scope 'set', such as verifiers.Listwise()"
            )

    def __repr__(self) -> str:
        """Return what a run is recorded with; the same in every process."""
        return described(self)

    @property
    def name(self) -> str:
        """Name of its thread in the journal."""
        return "scattered"

    # --- the nodes ---

    async def _scatter(self, state: ScatteredState, runtime: Runtime[Stage]) -> dict[str, Any]:  # noqa: ARG002 - LangGraph passes it
        stage = runtime.context
        wanted = {f"solve{n}": (stage.task, stage.origin) for n in range(1, self.solvers + 1)}
        return await self._step(stage, wanted, {}, self.critics + self.rewriters)

    async def _criticise(self, state: ScatteredState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage = runtime.context
        before = await self._lineup(stage, state)
        wanted: dict[str, tuple[Task, str | None]] = {}
        for number, place in zip(range(1, self.critics + 1), cycle(range(len(before.entrants))), strict=False):
            solution = fenced("solution", before.text(place, self.show))
            prompt = fill("correct", task=stage.task.prompt, solution=solution)
            origin = state_after(before.entrants[place].result, stage.origin)
            wanted[f"correct{number}"] = (stage.task.model_copy(update={"prompt": prompt}), origin)
        return await self._step(stage, wanted, state, self.rewriters)

    async def _stack(self, state: ScatteredState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage = runtime.context
        before = await self._lineup(stage, state)
        solutions = before.blocks(range(len(before.entrants)), self.show)
        said = ", with what was said of them" if any(map(before.said, range(len(before.entrants)))) else ""
        prompt = fill("fuse", task=stage.task.prompt, said=said, solutions=solutions)
        task = stage.task.model_copy(update={"prompt": prompt})
        origins = cycle([state_after(entrant.result, stage.origin) for entrant in before.entrants])
        wanted = {
            f"rewrite{n}": (task, origin) for n, origin in zip(range(1, self.rewriters + 1), origins, strict=False)
        }
        return await self._step(stage, wanted, state, 0)

    async def _step(
        self, stage: Stage, wanted: Mapping[str, tuple[Task, str | None]], state: ScatteredState, to_come: int
    ) -> dict[str, Any]:
        """Run a step's searches side by side; those that came to something are what the next step sees.

        Raises:
            ModelError, SandboxError: no search could begin, and there is no solution from before.
        """
        budget = stage.share(1 / (len(wanted) + to_come), list(wanted))
        searches = [stage.search(name, task, origin=origin, budget=budget) for name, (task, origin) in wanted.items()]
        ended = dict(zip(wanted, await stage.together(*searches), strict=True))
        before = state.get("names", [])
        failed = [result for result in ended.values() if isinstance(result, BranchwiseError)]
        if len(failed) == len(ended) and not before:
            raise failed[0]
        results = {name: result for name, result in ended.items() if isinstance(result, Result)}
        names = [name for name, result in results.items() if result.node is not None]
        accepted = [name for name in names if results[name].accepted]
        rows = [_row(name, result) for name, result in ended.items()]
        return {
            "names": accepted[:1] or names or before or list(results)[:1],
            "rows": [*state.get("rows", []), *rows],
            "over": bool(accepted) or not (names or before),
        }

    async def _lineup(self, stage: Stage, state: ScatteredState) -> Lineup:
        """Return the solutions of the last step side by side."""
        return await Lineup.of(stage, [Entrant(await stage.search(name)) for name in state.get("names", [])])

    async def _select(self, state: ScatteredState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, names = runtime.context, state.get("names", [])
        results = [await stage.search(name) for name in names]
        if len(names) == 1:
            return {"chosen": names[0], "by": "the verifiers" if results[0].accepted else "there is no other"}
        groups = _alike(results)
        entrants = [Entrant(results[group[0]], len(group)) for group in groups]
        if len(groups) == 1:
            return {"chosen": names[groups[0][0]], "by": "all say the same"}
        lineup = await Lineup.of(stage, entrants)
        try:
            worth = await lineup.compare("select", self.select, range(len(groups)))
        except (VerifierError, ModelError, SandboxError, BudgetExceeded) as error:
            most = max(groups, key=lambda group: (len(group), -group[0]))
            return {"chosen": names[most[0]], "by": f"most say it, for nothing compared them: {error}"}
        best = max(range(len(groups)), key=lambda place: (worth[place], len(groups[place]), -place))
        return {"chosen": names[groups[best][0]], "by": self.select.name}

    # --- the graph ---

    def graph(self) -> StateGraph[ScatteredState, Stage, ScatteredState, ScatteredState]:
        """Return the uncompiled graph."""
        graph = StateGraph(ScatteredState, context_schema=Stage)
        graph.add_node("scatter", self._scatter)
        steps: list[tuple[str, Callable[..., Any], int]] = [
            ("criticise", self._criticise, self.critics),
            ("stack", self._stack, self.rewriters),
        ]
        last = "scatter"
        graph.add_edge(START, last)
        for name, node, count in steps:
            if count:
                graph.add_node(name, node)
                graph.add_conditional_edges(last, _where_next(name), [name, "select"])
                last = name
        graph.add_node("select", self._select)
        graph.add_edge(last, "select")
        graph.add_edge("select", END)
        return graph

    async def result(self, state: ScatteredState, stage: Stage) -> Result:
        """Return the chosen solution, with what each search came to."""
        result = await stage.search(state.get("chosen", ""))
        rows = state.get("rows", [])
        report: dict[str, JSON] = {"searches": rows, "chosen": state.get("chosen"), "by": state.get("by")}
        result = replace(result, report={**result.report, **report})
        if (short := [str(row["search"]) for row in rows if row.get("short")]) and not result.accepted:
            return replace(result, stop_reason="budget", stop_detail=f"the budget ran short in {', '.join(short)}")
        return result


def _where_next(following: str) -> Callable[[ScatteredState], str]:
    def where(state: ScatteredState) -> str:
        return "select" if state.get("over") else following

    return where


def _row(name: str, result: Result | BranchwiseError) -> dict[str, JSON]:
    if isinstance(result, BranchwiseError):
        failed: dict[str, JSON] = {"search": name, "failed": f"{type(result).__name__}: {result}"}
        return failed | ({"short": True} if isinstance(result, BudgetExceeded) else {})
    row: dict[str, JSON] = {"search": name, "answer": result.answer, "accepted": result.accepted}
    return row | ({"short": True} if result.stop_reason == "budget" else {})


def _alike(results: Sequence[Result]) -> list[list[int]]:
    """Return the places of equal solutions, group by group: equal answers, but for space around them, and equal files."""
    groups: dict[object, list[int]] = {}
    for place, result in enumerate(results):
        answer = None if result.answer is None else key(result.answer, "exact")
        state = None if result.node is None else result.tree[result.node].env_ref
        groups.setdefault((answer, state), []).append(place)
    return list(groups.values())
