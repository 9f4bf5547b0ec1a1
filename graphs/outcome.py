"""From a finished tree to a `Result`, with the files of the chosen node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..agents.solver import Solver
from ..core.budget import Bill, Ledger
from ..core.errors import BudgetExceeded, SandboxError
from ..core.protocols import Snapshots
from ..core.tree import Tree
from ..core.types import Result, StatesReport
from ..search.revisions import revisions
from .retention import Retention


async def outcome(
    tree: Tree, ledger: Ledger, solver: Solver, retention: Retention | None, *, run_id: str, origin: str | None
) -> Result:
    """Return what a search came to. The chosen state, should it have been dropped, is made again.

    Args:
        tree: the tree at its end.
        ledger: what the search was paid from.
        solver: what made the tree.
        retention: what kept its states.
        run_id: the run's id; for a search within a run the name of its thread.
        origin: the state of the task's own files.
    """
    assert tree.stopped is not None
    node = tree.selected
    verdicts = tuple(tree.verdicts(node)) if node is not None else ()
    confidence, source = tree.confidence or _mean_verdict(tree)
    chosen = tree[node] if node is not None else None
    detail = tree.stopped.detail
    changed: dict[str, bytes] = {}
    deleted: list[str] = []
    state: KeptState | None = None
    if solver.sandboxes is not None and node is not None and origin is not None:
        try:
            await solver.ensure_state(tree.path(node), Bill())
            ref = tree[node].env_ref or origin
            changed, deleted = solver.sandboxes.diff(origin, ref)
            state = KeptState(solver.sandboxes.snapshots, origin, ref)
        except (SandboxError, BudgetExceeded) as error:
            detail += f"; its files cannot be given: {error}"
    return Result(
        answer=chosen.answer if chosen is not None else None,
        accepted=tree.accepted is not None,
        abstained=chosen is None,
        confidence=confidence,
        confidence_source=source,
        verdicts=verdicts,
        stop_reason=tree.stopped.reason,
        stop_detail=detail,
        usage=ledger.spent,
        seconds=ledger.elapsed_seconds,
        node=node,
        tree=tree,
        run_id=run_id,
        files=changed,
        deleted=tuple(deleted),
        state=state,
        questions=tuple(q for questions in tree.questions.values() for q in questions),
        states=_states(solver, retention),
        report={"revisions": revised.to_json()} if (revised := revisions(tree)).attempts else {},
    )


def _mean_verdict(tree: Tree) -> tuple[float | None, str]:
    """Return what stands for a probability where the strategy has no estimate."""
    value = tree.value(tree.selected) if tree.selected is not None else None
    return value, "nobody judged it" if value is None else "mean verdict of the chosen node, not calibrated"


@dataclass(frozen=True)
class KeptState:
    """A chosen node's files; implements `core.types.FinalState`."""

    snapshots: Snapshots
    origin: str
    """The task's own files."""
    ref: str

    def patch(self) -> str:
        return self.snapshots.patch(self.origin, self.ref)

    def save(self, target: Path) -> None:
        self.snapshots.save(self.ref, target)


def _states(solver: Solver, retention: Retention | None) -> StatesReport:
    if solver.states is None or retention is None:
        return StatesReport()
    return solver.states.log.report(
        stored_bytes=retention.snapshots.stored_bytes,
        dropped=len(retention.dropped),
        dropped_bytes=retention.dropped_bytes,
    )
