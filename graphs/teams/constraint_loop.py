# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""The constraint loop: state what must hold, make something, check it point by point, mend what is violated.

START -> constrain -> draft -> check -+-> END
^    |
+--- edit
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from ...core.errors import UsageError
from ...core.protocols import Model
from ...core.types import JSON, Result
from ...verifiers.checklist import Checklist, Constraint
from ...verifiers.constraints import Constraints
from ...verifiers.showing import Show
from ..solve import best
from ..stage import Stage, state_after
from .components import described
from .constraining import Row, all_constraints, changes, check_choice, constrained, edit, stale, state_constraints


class LoopState(TypedDict, total=False):
    """What LangGraph checkpoints; plain data."""

    stated: list[dict[str, JSON]]
    """Constraints that a model stated."""
    rows: list[Row]
    """One for each attempt that was checked."""
    due: tuple[str, str | None]
    """Name of the attempt that is to be checked, and of the one that it revises."""
    go_on: bool


@dataclass(frozen=True, repr=False)
class ConstraintLoop:
    """Mend what violates constraints, and only that, until nothing does: `Agent(team=ConstraintLoop([...]))`.

    CRAFT (2025), from pictures to anything that an agent makes, answers or files. Constraints are checked in the order of their
    needs; the next search is told which are violated and why, and which are met and to be left alone; it begins with the best
    attempt so far, and that one is kept: what counts only ever gets better. It ends when all are met, after `rounds` edits, after
    `patience` edits in a row that were no better, or with the budget.

    An edit often mends one thing and breaks another. In simulation (eight constraints, half of them met at first, an edit mends a
    violated one with .7 and breaks a met one with .05) four edits met all in .60 of the cases with `patience=1`, in .80 with 2, in
    .87 with None, where five independent drafts did in .08 though each met a constraint with .6.

    Args:
        constraints: what must hold; with a `check` for those that code can decide.
        derive: how many more a model is asked to read out of the task, >= 0.
        rounds: edits at most, >= 0.
        patience: edits without a better attempt after which it gives up, >= 1; None: never.
        show: what a model sees of an attempt that it checks: the `answer`, all `steps`, or the `changes` to the files.
        model: states constraints and checks them; the agent's own unless given, which shares its mistakes with the solver.

    Raises:
        UsageError: the constraints do not fit together, there are none and none are to be derived, or an option is out of range.
    """

    constraints: tuple[Constraint, ...] = ()
    derive: int = 0
    rounds: int = 4
    patience: int | None = 2
    show: Show = "steps"
    model: str | Model | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "constraints", tuple(self.constraints))
        if self.constraints:
            object.__setattr__(self, "constraints", Checklist(self.constraints).constraints)
        if not self.constraints and self.derive < 1:
            raise UsageError("ConstraintLoop has no constraints; give some, or have a model state them: derive=8")
        if self.derive < 0 or self.rounds < 0 or (self.patience is not None and self.patience < 1):
            raise UsageError(
                f"ConstraintLoop(derive={self.derive}, rounds={self.rounds}, patience={self.patience}): derive and rounds must not "
                "be negative, patience at least 1 or None"
            )

    def __repr__(self) -> str:
        """Return what a run is recorded with; the same in every process."""
        return described(self)

    @property
    def name(self) -> str:
        """Name of its thread in the journal."""
        return "constraint-loop"

    # --- what it decides ---

    def goes_on(self, rows: list[Row]) -> bool:
        """Whether the best attempt so far is to be mended once more."""
        if best(rows)["passed"] or len(rows) > self.rounds:
            return False
        return self.patience is None or stale(rows) < self.patience

    def verifier(self, state: LoopState) -> Constraints | None:
        """Return what checks an attempt; None where a model was to state constraints and stated none."""
        constraints = self._all(state)
        return Constraints(constraints, show=self.show, model=self.model) if constraints else None

    def _all(self, state: LoopState) -> tuple[Constraint, ...]:
        return all_constraints(self.constraints, state.get("stated", []))

    # --- the nodes ---

    async def _constrain(self, state: LoopState, runtime: Runtime[Stage]) -> dict[str, Any]:  # noqa: ARG002 - LangGraph passes it
        stated = await state_constraints(runtime.context, self.derive, self.model) if self.derive else []
        return {"stated": stated, "rows": []}

    async def _draft(self, state: LoopState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage = runtime.context
        await stage.search("draft", constrained(stage.task, self._all(state)))
        return {"due": ("draft", None)}

    async def _check(self, state: LoopState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, (name, parent) = runtime.context, state.get("due", ("draft", None))
        result = await stage.search(name)
        row = await check_choice(stage, name, result, self.verifier(state), parent)
        rows = [*state.get("rows", []), row]
        over = result.stop_reason == "budget" or stage.spent or not self._all(state)
        return {"rows": rows, "go_on": not over and self.goes_on(rows)}

    async def _edit(self, state: LoopState, runtime: Runtime[Stage]) -> dict[str, Any]:
        stage, rows = runtime.context, state.get("rows", [])
        row, name = best(rows), f"edit{len(rows)}"
        before = await stage.search(str(row["name"]))
        constraints = self._all(state)
        if row["node"] is None:  # nothing to mend: made anew
            await stage.search(name, constrained(stage.task, constraints))
            return {"due": (name, None)}
        task = edit(stage.task, constraints, row, before.answer)
        await stage.search(name, task, origin=state_after(before, stage.origin))
        return {"due": (name, str(row["name"]))}

    # --- as a team ---

    def graph(self) -> StateGraph[LoopState, Stage, LoopState, LoopState]:
        """Return the uncompiled graph."""
        graph = StateGraph(LoopState, context_schema=Stage)
        graph.add_node("constrain", self._constrain)
        graph.add_node("draft", self._draft)
        graph.add_node("check", self._check)
        graph.add_node("edit", self._edit)
        graph.add_edge(START, "constrain")
        graph.add_edge("constrain", "draft")
        graph.add_edge("draft", "check")
        graph.add_conditional_edges("check", _where_next, ["edit", END])
        graph.add_edge("edit", "check")
        return graph

    async def result(self, state: LoopState, stage: Stage) -> Result:
        """Return the attempt that meets most, with what became of the constraints."""
        rows = state.get("rows", [])
        row = best(rows)
        result = await stage.search(str(row["name"]))
        report = {"constraints": [c.to_json() for c in self._all(state)], "tries": rows, "flips": changes(rows)}
        return replace(
            result,
            accepted=bool(row["passed"]),
            stop_reason="accepted" if row["passed"] else result.stop_reason,
            report={**result.report, **report},
        )


def _where_next(state: LoopState) -> str:
    return "edit" if state.get("go_on") else END
