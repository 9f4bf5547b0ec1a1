# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""What all searches of one run share: its folder and logs, models, supplies of sandboxes, and who is told what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..agents.agent import Agent
from ..core.events import Event
from ..core.observing import UNOBSERVED, Observer
from ..core.protocols import Meter, Model, Portrays, Sandboxes, SandboxSpec
from ..core.tree import Tree
from ..core.types import JSON, NO_USAGE, Budget, Usage
from ..models.accounts import CallLog, is_within
from .journal import Run, RunRecord
from .retention import Retention

if TYPE_CHECKING:
    from .delta import JournalSaver
    from .fork import Beginning
    from .machine import Machine
    from .search import Asker, Search

Listener = Callable[[str, Sequence[Event], Tree], None]
"""Told the path of a search within its run (empty for the run's own), a batch of its events, and its tree after them."""


@dataclass
class Resources:
    """Models and sandboxes are opened when they are first needed and closed with the run.

    Args:
        run: the run's folder.
        record: what the folder says about the run.
        log: the run's model calls and effects.
        saver: keeps LangGraph's checkpoints, one thread for each search.
        stack: closes what is opened.
        budget: the whole run's limits.
        listener: told of all events of all searches. Must not block.
        observer: looks on at what the searches do.
        stored: what earlier processes spent in each search by its path, model calls left out; None where there were none.
        forked: what the run goes on from, where it was forked from another one.
        raised: whether the run goes on with a larger budget than it had: what ended for want of it goes on, too.
        asker: asks people while the run goes on; None: it ends and waits for them.
    """

    run: Run
    record: RunRecord
    log: CallLog
    saver: JournalSaver
    stack: AsyncExitStack
    budget: Budget
    listener: Listener = lambda _path, _events, _tree: None
    observer: Observer = UNOBSERVED
    stored: dict[str, Usage] | None = None
    forked: Beginning | None = None
    raised: bool = False
    asker: Asker | None = None
    searches: dict[str, Search] = field(default_factory=dict[str, "Search"])
    """Every search of this process by its path, in the order in which they began; ended ones stay."""
    meters: dict[int, Meter] = field(default_factory=dict[int, Meter])
    """Of the model calls in flight."""
    interrupted: bool = False
    _models: dict[str, Model] = field(default_factory=dict[str, Model], init=False)
    _gates: dict[int, tuple[Model, asyncio.Semaphore]] = field(
        default_factory=dict[int, tuple[Model, asyncio.Semaphore]], init=False
    )
    _supplies: list[tuple[SandboxSpec, Sandboxes, Retention]] = field(
        default_factory=list[tuple[SandboxSpec, Sandboxes, Retention]], init=False
    )
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def model(self, named: str | Model) -> Model:
        """Return the model, connected once for all searches of the run."""
        if not isinstance(named, str):
            return named
        async with self._opening:
            if named not in self._models:
                from ..models.registry import connect  # so do the clients of the servers

                model = await connect(named)
                self.stack.push_async_callback(model.aclose)
                self._models[named] = model
            return self._models[named]

    def gate(self, model: Model, calls: int) -> asyncio.Semaphore:
        """Return what limits the run's calls in flight at one endpoint; the first search that uses it says to how many."""
        _, gate = self._gates.setdefault(id(model), (model, asyncio.Semaphore(calls)))
        return gate

    async def sandboxes(self, agent: Agent) -> tuple[Sandboxes, Retention] | None:
        """Return the supply of an agent's sandboxes, one for all agents with the same wish, and what keeps its states."""
        if agent.sandbox is None:
            return None
        async with self._opening:
            for spec, supply, retention in self._supplies:
                if spec == agent.sandbox:
                    return supply, retention
            supply = await agent.sandbox.start(self.run.folder.name, self.run.snapshots)
            self.stack.push_async_callback(supply.aclose)
            if isinstance(supply, Portrays):
                supply.keep_pictures(self.run.pictures)
            limit = self.budget.snapshot_bytes
            retention = Retention(supply.snapshots, limit or 0)
            supply.snapshots.bound(limit, retention.make_room)
            self._supplies.append((agent.sandbox, supply, retention))
            return supply, retention

    def spent(self, path: str) -> Usage:
        """Return what earlier processes spent in a search and those within it."""
        if self.stored is None:
            return NO_USAGE
        here = [usage for other, usage in self.stored.items() if is_within(other, path)]
        return sum(here, self.log.spent(path))

    @cached_property
    def machine(self) -> Machine:
        """The search machine, with the run's journal."""
        from .machine import search_graph  # LangGraph takes its time to load

        return search_graph().compile(checkpointer=self.saver)

    def answered(self, answers: Mapping[str, JSON]) -> None:
        """Keep what people answered, by the ids of the questions."""
        for question, answer in answers.items():
            self.log.give_answer(question, answer)

    def interrupt(self) -> None:
        """End the run soon with the best so far."""
        self.interrupted = True
        for search in self.searches.values():
            search.interrupt()
