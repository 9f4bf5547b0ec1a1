# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""PlanGEN: constraints, a search chosen by what suits and what worked, and a verification whose words go into the next round.

START -> constrain -> choose -> solve -> verify -+-> END
^                        |
+------------------------+
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ...agents.planner import retry
from ...agents.prompts import fill
from ...core.errors import BudgetExceeded, ModelError, UsageError
from ...core.protocols import Model, Strategy
from ...core.schemas import form_of_object
from ...core.types import JSON, Result
from ...search import BestOfN, Rebase, TotBFS
from ...search.bandit import UCB, tally
from ...search.trajectories import Trajectories
from ...tools.thinking import think
from ...verifiers.checklist import Checklist, Constraint
from ...verifiers.constraints import Constraints
from ...verifiers.fence import fenced
from ...verifiers.showing import Show
from ..solve import best
from ..stage import Stage, state_after
from .components import described
from .constraining import Row, all_constraints, changes, check_choice, constrained, state_constraints

if TYPE_CHECKING:
    from ...agents.agent import Agent

WAYS: dict[str, str] = {
    "best-of-n": "several complete attempts apart from each other, of which the best one is taken; for tasks with many good ways",
    "tree-of-thoughts": "step by step, several proposals for each step, of which the best few are followed; for tasks that one "
    "wrong step spoils",
    "rebase": "many beginnings, of which the promising ones get most of the effort; for tasks in which it shows early what will work",
}
"""What a model that judges how well a way suits is told of those that come along."""


def _ways() -> dict[str, Strategy]:
    return {
        "best-of-n": BestOfN(n=5),
        "tree-of-thoughts": TotBFS(beams=2, width=3, depth=6),
        "rebase": Rebase(width=5, depth=6),
    }


class PlanState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    stated: list[dict[str, JSON]]
    """Constraints that a model stated."""
    suits: dict[str, float]
    """How well each way is thought to suit, in [0, 1]."""
    way: str
    """The one chosen for this round."""
    rows: list[Row]
    """One for each round, with its `way`."""
    go_on: bool


@dataclass(frozen=True, repr=False)
class PlanGEN:
    """Constraint, verification and selection agents around any searches: `Agent(team=PlanGEN())`.

    PlanGEN (2025). A constraint agent reads out of the task what any result must fulfil. In each round a selection agent chooses one
    of several searches, by how well it is thought to suit and by the rewards so far (`search.UCB`). That search is guided by a
    verification agent, which says of each constraint what is wrong and gives a reward from -100 to 100; constraints with a
    `check` are decided by code. The same agent looks at the choice once more, without knowing how it came about, and what it says
    goes into the next round, until all constraints reach `threshold` or the rounds are over. The best round counts.

    The agent's own `search` is not used. An agent without tools is given `tools.think`, so that searches over steps have steps. The
    paper's coefficients are not known: rewards are few for one task, so what suits weighs more than what was tried.

    Args:
        constraints: what must hold beside what the constraint agent finds; with a `check` for those that code can decide.
        derive: how many constraints the constraint agent may state, >= 0.
        ways: the searches to choose from.
        select: how one is chosen; `UCB(prior=0)` tries each once first and asks no model what suits.
        rounds: rounds at most, >= 1.
        threshold: reward from which a constraint is met, in [-100, 100].
        show: what the verification agent sees: the `answer`, all `steps`, or the `changes` to the files.
        model: the constraint, verification and selection agents' model; the agent's own unless given, which shares its mistakes
            with the solver.

    Raises:
        UsageError: there are neither constraints nor any to be stated, no ways, or an option is out of range.
    """

    constraints: tuple[Constraint, ...] = ()
    derive: int = 8
    ways: Mapping[str, Strategy] = field(default_factory=_ways)
    select: UCB = field(default_factory=UCB)
    rounds: int = 5
    threshold: float = 95.0
    show: Show = "steps"
    model: str | Model | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "constraints", tuple(self.constraints))
        if self.constraints:
            object.__setattr__(self, "constraints", Checklist(self.constraints).constraints)
        if not self.constraints and self.derive < 1:
            raise UsageError("PlanGEN has no constraints; give some, or have a model state them: derive=8")
        if not self.ways:
            raise UsageError(
                "PlanGEN has no ways to choose from; give at least one: ways={'plain': bw.search.BestOfN(5)}"
            )
        if self.derive < 0 or self.rounds < 1 or not -100 <= self.threshold <= 100:
            raise UsageError(
                f"PlanGEN(derive={self.derive}, rounds={self.rounds}, threshold={self.threshold}): derive must not be negative, "
                "rounds at least 1, threshold from -100 to 100"
            )

    def __repr__(self) -> str:
        """Return what a run is recorded with; the same in every process."""
        return described(self)

    @property
    def name(self) -> str:
        """Name of its thread in the journal."""
        return "plangen"

    def _all(self, state: PlanState) -> tuple[Constraint, ...]:
        return all_constraints(self.constraints, state.get("stated", []))

    def verifier(self, state: PlanState) -> Constraints | None:
        """Return the verification agent; None where nothing is known that must hold."""
        constraints = self._all(state)
        if not constraints:
            return None
        return Constraints(constraints, "reward", self.threshold, show=self.show, model=self.model)

    def solver(self, agent: Agent, way: str, verifier: Constraints | None) -> Agent:
        """Return the agent that works on a round: with the search of a way, and guided by the verification agent.

        Searches of whole trajectories have answers verified, all others every step.
        """
        strategy = self.ways[way]
        steps = not isinstance(strategy, Trajectories)
        verifiers = [*agent.verifiers]
        if verifier is not None:
            verifiers.append(replace(verifier, scope="state" if steps else "answer"))
        alone = replace(agent, search=strategy, verifiers=verifiers, plan=None, final=(), rounds=0, team=None)
        if steps and not agent.toolbox:
            return replace(alone, tools=(think,), form="auto" if agent.form == "text" else agent.form)
        return alone

    # --- the nodes ---

    async def _constrain(self, state: PlanState, runtime: Runtime[Stage]) -> dict[str, Any]:  # noqa: ARG002 - LangGraph passes it
        stage = runtime.context
        stated = await state_constraints(stage, self.derive, self.model) if self.derive else []
        constraints = all_constraints(self.constraints, stated)
        return {"stated": stated, "suits": await self._suits(stage, constraints), "rows": []}

    async def _suits(self, stage: Stage, constraints: tuple[Constraint, ...]) -> dict[str, float]:
        """Ask how well each way suits the task; nothing is thought of them where that is not asked or not answered."""
        if self.select.prior == 0 or len(self.ways) == 1:
            return {}
        ways = "\n".join(f"- {name}: {WAYS.get(name, strategy.name)}" for name, strategy in self.ways.items())
        lines = "\n".join(f"- {constraint.text}" for constraint in constraints) or "- nothing more"
        prompt = fill(
            "suits", ways=ways, task=fenced("task", stage.task.prompt), constraints=fenced("constraints", lines)
        )
        mark: JSON = {"type": "integer", "minimum": 0, "maximum": 100}
        try:
            reply = await stage.ask_json(
                "suits", prompt, form_of_object(**dict.fromkeys(self.ways, mark)), model=self.model
            )
        except (ModelError, BudgetExceeded):
            reply = None
        return {name: int(value) / 100 for name, value in (reply or {}).items() if name in self.ways}

    async def _choose(self, state: PlanState, runtime: Runtime[Stage]) -> dict[str, Any]:  # noqa: ARG002 - LangGraph passes it
        rounds = [(str(row["way"]), float(row["value"] or 0.0)) for row in state.get("rows", [])]
        arms = tally([*self.ways], rounds, good=(self.threshold + 100) / 200)
        return {"way": self.select.choose(arms, state.get("suits"))}

    async def _solve(self, state: PlanState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, rows = runtime.context, state.get("rows", [])
        agent = self.solver(stage.agent, state.get("way", ""), self.verifier(state))
        task, origin = constrained(stage.task, self._all(state)), stage.origin
        if rows and (row := best(rows))["node"] is not None:
            before = await self._found(stage, state, str(row["name"]), str(row["way"]))
            task, origin = retry(task, before.answer, str(row["feedback"])), state_after(before, origin)
        await stage.search(f"round{len(rows) + 1}", task, agent=agent, origin=origin)
        return {}

    async def _found(self, stage: Stage, state: PlanState, name: str, way: str) -> Result:
        """Return what a round came to; its journal is read by the search that wrote it."""
        return await stage.search(name, agent=self.solver(stage.agent, way, self.verifier(state)))

    async def _verify(self, state: PlanState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, rows = runtime.context, state.get("rows", [])
        name = f"round{len(rows) + 1}"
        result = await self._found(stage, state, name, state.get("way", ""))
        parent = str(best(rows)["name"]) if rows and best(rows)["node"] is not None else None
        row = await check_choice(stage, name, result, self.verifier(state), parent)
        row["way"] = state.get("way", "")
        over = row["passed"] or result.stop_reason == "budget" or stage.spent or len(rows) + 1 >= self.rounds
        return {"rows": [*rows, row], "go_on": not over}

    # --- as a team ---

    def graph(self) -> StateGraph[PlanState, Stage, PlanState, PlanState]:
        """Return the uncompiled graph."""
        graph = StateGraph(PlanState, context_schema=Stage)
        graph.add_node("constrain", self._constrain)
        graph.add_node("choose", self._choose)
        graph.add_node("solve", self._solve)
        graph.add_node("verify", self._verify)
        graph.add_edge(START, "constrain")
        graph.add_edge("constrain", "choose")
        graph.add_edge("choose", "solve")
        graph.add_edge("solve", "verify")
        graph.add_conditional_edges("verify", _where_next, ["choose", END])
        return graph

    async def result(self, state: PlanState, stage: Stage) -> Result:
        """Return the best round, with the constraints, what was thought of the ways, and what came of each round."""
        rows = state.get("rows", [])
        row = best(rows)
        result = await self._found(stage, state, str(row["name"]), str(row["way"]))
        rewards = [None if one["value"] is None else round(200 * float(one["value"]) - 100, 1) for one in rows]
        report: dict[str, JSON] = {
            "constraints": [constraint.to_json() for constraint in self._all(state)],
            "suits": state.get("suits", {}),
            "tries": [{**one, "reward": reward} for one, reward in zip(rows, rewards, strict=True)],
            "flips": changes(rows),
        }
        return replace(
            result,
            accepted=bool(row["passed"]),
            stop_reason="accepted" if row["passed"] else result.stop_reason,
            report={**result.report, **report},
        )


def _where_next(state: PlanState) -> str:
    return "choose" if state.get("go_on") else END
