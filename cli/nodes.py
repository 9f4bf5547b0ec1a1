"""From `RUN/NODE` to a node's files, made again where they were dropped."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import SandboxError, UsageError
from ..core.tree import Tree
from ..core.types import ROOT, Node, NodeId
from ..graphs import Run, RunRecord, RunStore
from ..graphs.journal import read_tree
from ..sandboxes import Store

if TYPE_CHECKING:
    from ..agents import Agent
    from ..agents.states import Paid
    from ..core.protocols import SandboxSpec

_SHOWN = 20


@dataclass(frozen=True)
class Place:
    """A node of a run, with what is needed to get at its files."""

    run: Run
    record: RunRecord
    tree: Tree
    node: NodeId

    @property
    def path(self) -> list[Node]:
        """From the root to the node."""
        return self.tree.path(self.node)

    @property
    def ref(self) -> str | None:
        """The node's state; None where the run has no files at all."""
        return self.tree[self.node].env_ref

    @property
    def name(self) -> str:
        """`RUN/NODE`."""
        return f"{self.record.run_id}/{self.node}"


async def find(text: str) -> Place:
    """Return the node that `RUN/NODE` names; without a node, the chosen one, else the root.

    Raises:
        UsageError: no such run or node.
    """
    run_id, slash, number = text.partition("/")
    run = RunStore().open(run_id)
    record = run.load()
    tree, _ = await read_tree(run, record)
    if not slash:
        return Place(run, record, tree, tree.selected if tree.selected is not None else ROOT)
    if not number.isdigit() or NodeId(int(number)) not in tree:
        known = [str(node.id) for node in tree]
        some = ", ".join(known if len(known) <= _SHOWN else [*known[:_SHOWN], "…"])
        raise UsageError(
            f"run {record.run_id} has no node {number!r}; its nodes are {some} (`branchwise view {record.run_id}` shows them)"
        )
    return Place(run, record, tree, NodeId(int(number)))


def store_of(place: Place) -> Store:
    """Return the store with the node's state and the run's own files in it.

    Raises:
        UsageError: the run has no files.
        SandboxError: the state was dropped or removed.
    """
    if place.ref is None:
        raise UsageError(f"{place.name} has no files: the agent has no sandbox, or the task no files")
    store = Store(place.run.snapshots)
    for ref in (place.ref, place.record.root_ref or store.empty_ref):
        if not store.holds(ref):
            raise SandboxError(
                f"the state of {place.name} was dropped to make room or removed; `branchwise sandbox shell {place.name}` "
                "makes it again by its actions, and keeps it"
            )
    return store


@asynccontextmanager
async def opened(place: Place, agent: str | None) -> AsyncGenerator[Paid]:
    """Open a fresh sandbox in a node's state. A state that was dropped is made again by its actions.

    Args:
        place: the node.
        agent: `file.py:name` of the run's agent, where it is not where it was.

    Raises:
        SandboxError: no sandbox can be started, or the state cannot be made again.
    """
    from ..agents.acting import Actor
    from ..agents.states import States
    from ..core.budget import Bill, Ledger
    from ..core.types import Budget, Task
    from ..models.accounts import CallLog
    from ..sandboxes import Docker

    definition = _agent(place, agent)
    spec: SandboxSpec = Docker() if definition is None or definition.sandbox is None else definition.sandbox
    ledger = Ledger(Budget(snapshot_bytes=None))
    supply = await spec.start(f"shell-{place.record.run_id}", place.run.snapshots)
    try:
        states = States(supply, ledger)
        if place.ref is not None and not supply.snapshots.holds(place.ref):
            if definition is None:
                raise SandboxError(
                    f"the state of {place.name} was dropped; it can be made again with the tools of the run's agent: "
                    "say --agent file.py:name"
                )
            with tempfile.TemporaryDirectory(prefix="branchwise-") as folder, CallLog(Path(folder) / "calls") as log:
                actor = Actor(definition.toolbox, Task(**place.record.task), ledger, log)
                await states.ensure(place.path, actor, Bill())
        async with states.open(place.ref, Bill()) as environment:
            yield environment
    finally:
        await asyncio.shield(supply.aclose())


def _agent(place: Place, source: str | None) -> Agent | None:
    """Load the run's agent; None where the run does not say which it is."""
    named = source or place.record.source
    if named is None:
        return None
    from .loading import load_agent

    return load_agent(named)[0]
