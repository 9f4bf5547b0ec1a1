"""Trees of answers, and candidates in them, for verifiers that ask models or compare."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

from branchwise.core.events import Expand, Expanded, Judged, Score, WorkStarted
from branchwise.core.protocols import Candidate, Model, Verifier
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Step, Task, Verdict, WorkId


def tree_of(*answers: str, env_ref: str | None = None) -> Tree:
    """A tree whose root has one child for each answer, numbered from 1."""
    tree = Tree(Node(ROOT, None, None, env_ref))
    for number, answer in enumerate(answers, 1):
        tree.apply(WorkStarted(Expand(WorkId(number), ROOT)))
        step = Step("answer", answer)
        tree.apply(Expanded(WorkId(number), Node(NodeId(number), ROOT, step, env_ref, 1, answer=answer)))
    return tree


def judged(tree: Tree, node: int, *verdicts: Verdict) -> None:
    """Enter verdicts on a node."""
    work = tree.next_work
    tree.apply(WorkStarted(Score(work, NodeId(node))))
    tree.apply(Judged(work, NodeId(node), verdicts))


@asynccontextmanager
async def _nowhere(_ref: str | None) -> Any:
    yield None


def candidate_of(tree: Tree, node: int = 1, *, model: Model | None = None, seed: int = 1, **fields: Any) -> Candidate:
    """One node of a tree as a candidate; nothing is charged."""
    fields.setdefault("open", _nowhere)
    task = fields.pop("task", Task(prompt="What is 2 + 3?"))
    return Candidate(
        task,
        tree.path(NodeId(node)),
        tree.root.env_ref,
        diff=lambda _a, _b: ({}, []),
        model=model,
        view=tree,
        seed=seed,
        **fields,
    )


class Counting:
    """Counts the judgements that a candidate's run is charged for, as the solver charges them."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def __call__(self, verifier: Verifier, candidate: Candidate) -> Verdict:
        """Judge, and count what judges by itself."""
        if not hasattr(verifier, "parts"):
            self.calls.append(verifier.name)
        return await verifier.judge(candidate)
