"""Judging a finished search's choice once more, by other verifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.budget import Bill
from ..core.errors import BudgetExceeded, ModelError, SandboxError, VerifierError
from ..core.events import Score
from ..core.types import Result, Task, Verdict, WorkId

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from .scope import Scope


async def judge(scope: Scope, agent: Agent, task: Task, result: Result) -> tuple[Verdict, ...]:
    """Return what an agent's verifiers say of the chosen node of a search.

    One that cannot judge rejects: what nobody could check is not accepted.

    Args:
        scope: pays for it.
        agent: whose verifiers are asked.
        task: the task.
        result: of the search; it must have chosen a node.
    """
    assert result.node is not None
    solver = await scope.solver(agent, task, result.tree.root.env_ref)
    try:
        return await solver.score(Score(WorkId(0), result.node), result.tree, Bill())
    except (VerifierError, ModelError, SandboxError, BudgetExceeded) as error:
        return (Verdict(0.0, "outcome", "final", passed=False, feedback=f"could not be checked: {error}"),)
