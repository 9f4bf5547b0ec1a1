"""One run of the search machine: its work in flight, and what a super-step does. `machine` is the graph around it.

One super-step takes whatever has finished (waits for the first, then a moment for more), tells the strategy, asks it for
new work, starts that, and returns the new events, which LangGraph checkpoints. Work in flight lives here as asyncio tasks,
not in the graph's state: super-steps are barriers, and nothing may wait for a level to finish.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Protocol

from ..core.budget import Bill, Ledger
from ..core.errors import BudgetExceeded, UsageError
from ..core.events import (
    Abstained,
    Accepted,
    Asked,
    Cancel,
    Cancelled,
    Denied,
    Event,
    Expand,
    Expanded,
    Failed,
    Joined,
    Judged,
    Prune,
    Pruned,
    Resumed,
    Score,
    Selected,
    Spawned,
    Stopped,
    Work,
    WorkStarted,
)
from ..core.observing import UNOBSERVED, Observer
from ..core.people import Question, Waiting
from ..core.protocols import Appraisal, Appraiser, Explains, Selector, Strategy
from ..core.tree import Tree
from ..core.types import JSON, Node, NodeId, StopReason, Verdict, WorkId

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.001
"""How long a super-step waits for further results after the first."""


Asker = Callable[[Sequence[Question]], Awaitable[Mapping[str, JSON]]]
"""Asks somebody who is there while the run goes on; returns their answers by the ids of the questions, none to put the
work aside. Called one at a time by each search; must raise nothing."""


class Workbench(Protocol):
    """Does the work that the machine starts. Cancelling a call stops it for real and charges what it used."""

    async def expand(self, work: Expand, tree: Tree, bill: Bill) -> Node:
        """Return the node after one more step."""
        ...

    async def score(self, work: Score, tree: Tree, bill: Bill) -> tuple[Verdict, ...]:
        """Return the verdicts on a node; none where no verifier applies to it."""
        ...


@dataclass
class Search:
    """The context of one run of the machine: what it works with, and its work in flight.

    Args:
        strategy: a fresh one; told everything that the journal holds before it is asked.
        workbench: does the work.
        ledger: the budget.
        root: the node that the tree starts from.
        slots: expansions in flight at once.
        listener: called with every batch of events, in order, before the next super-step. Must not block.
        replayed: called once, with the tree as the journal left it, before any work starts.
        resumed: event to begin with, where an earlier process began the run.
        answered: given what people answered, by the ids of the questions.
        selector: chooses the best node in place of the strategy where none was accepted.
        observer: looks on at every work item.
        unended: reasons to have stopped for which a search may go on though only its result is wanted.
        asker: asks people at once; where there is none, work that waits for them is put aside.
    """

    strategy: Strategy
    workbench: Workbench
    ledger: Ledger
    root: Node
    slots: int
    listener: Callable[[Sequence[Event], Tree], None] = lambda _events, _tree: None
    replayed: Callable[[Tree], None] = lambda _tree: None
    resumed: Resumed | None = None
    selector: Selector | None = None
    answered: Callable[[Mapping[str, Any]], None] = lambda _answers: None
    observer: Observer = UNOBSERVED
    unended: frozenset[StopReason] = frozenset({"interrupted", "waiting"})
    asker: Asker | None = None
    journaled: bool = field(default=True, init=False)
    """Whether anything stores the events; set by `run_search`."""
    tree: Tree = field(init=False)
    _tasks: dict[WorkId, asyncio.Task[Event]] = field(default_factory=dict[WorkId, asyncio.Task[Event]], init=False)
    _expanding: int = field(default=0, init=False)
    _done: deque[Event] = field(default_factory=deque[Event], init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _begun: bool = field(default=False, init=False)
    _reason: tuple[StopReason, str] | None = field(default=None, init=False)
    _denied: Denied | None = field(default=None, init=False)
    _closed: set[type[Work]] = field(default_factory=set[type[Work]], init=False)
    """Kinds of work that the budget refused once. Without judging there is no use in expanding either."""
    _failure: Failed | None = field(default=None, init=False)
    """The last one."""
    _failed_in_a_row: int = field(default=0, init=False)
    _interrupted: bool = field(default=False, init=False)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _appraiser: Appraiser | None = field(init=False)
    """The strategy, where it knows how far verdicts can be trusted."""

    def __post_init__(self) -> None:
        self._appraiser = self.strategy if isinstance(self.strategy, Appraiser) else None
        self.tree = Tree(self.root)

    # --- from outside ---

    def interrupt(self) -> None:
        """End the run soon with the best so far. What is in flight is stopped and done again on resume."""
        self._interrupted = True
        self._news.set()

    def report(self, event: Spawned | Joined) -> None:
        """Take in what happened beside the search's own work."""
        self._done.append(event)
        self._news.set()

    @property
    def in_flight(self) -> int:
        """Number of work items in flight."""
        return len(self._tasks)

    async def close(self) -> None:
        """Cancel what is in flight and wait until it is gone."""
        while self._tasks:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.wait(self._tasks.values())

    # --- one super-step ---

    async def step(self, journal: Callable[[], list[Event]]) -> list[Event]:
        """Take in what finished and start what is due; return the events, the last being `Stopped` at the end."""
        if not self._begun:
            events = self._begin(journal())
        else:
            await self._wait()
            events = list(self._done)
            self._done.clear()
            self._take(events)
        if self._reason is None:
            events += self._check(events)
        if self._reason is None:
            events += self._start()
        if self._reason is not None:
            events += await self._stop()
        if events:
            self.listener(events, self.tree)
        return events

    def _take(self, events: Sequence[Event]) -> None:
        """Take events in one by one, so that a replay, in one go, leaves a strategy in the state that it had before."""
        for event in events:
            match event:
                case Denied(work):
                    self._denied = self._denied or event
                    expanding = isinstance(self.tree.in_flight.get(work), Expand)
                    self._closed |= {Expand} if expanding else {Expand, Score}
                case Failed():
                    self._failure = event
                    self._failed_in_a_row += 1
                case Expanded() | Judged():
                    self._failed_in_a_row = 0
                case _:
                    pass
            self.tree.apply(event)
            self.strategy.tell((event,), self.tree)

    def replay(self, journal: Sequence[Event]) -> None:
        """Take in what an ended search did, to have its result. One that has not come to its end is left to run."""
        if journal and isinstance(last := journal[-1], Stopped) and last.reason not in self.unended:
            self._take(journal)
            self.replayed(self.tree)

    def _begin(self, journal: list[Event]) -> list[Event]:
        """Replay the journal and re-issue what was in flight when it ended."""
        self._begun = True
        self._take(journal)
        self._denied, self._failed_in_a_row = None, 0
        self._closed.clear()
        self.replayed(self.tree)
        if not journal:
            return []
        resumed = self.resumed or Resumed()
        self._take([resumed])
        if self.tree.accepted is not None:
            self._reason = ("accepted", "the run had accepted an answer already")
        else:
            for work in list(self.tree.in_flight.values()):
                self._launch(work)
        return [resumed]

    async def _wait(self) -> None:
        """Wait until something finished, somebody interrupts or the time is up, then a moment for more."""
        if self._done or self._interrupted:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(self.ledger.seconds_left):
                await self._news.wait()
        except TimeoutError:
            return
        if self._tasks:
            await asyncio.sleep(GATHER_SECONDS)

    # --- stopping ---

    def _check(self, events: Sequence[Event]) -> list[Event]:
        """Decide whether the search is over."""
        for event in events:
            if isinstance(event, Judged) and self._accepts(event.node):
                accepted = Accepted(event.node)
                self._take([accepted])
                self._reason = ("accepted", f"the verifiers accepted node {event.node}")
                return [accepted]
        if self._interrupted:
            self._reason = ("interrupted", "stopped on request")
        elif (late := self.ledger.late) is not None:
            whose = f" (of {late.whose})" if late.whose else ""
            self._reason = ("budget", f"the budget's seconds{whose} are spent: {late.elapsed_seconds:.1f} have passed")
        elif self._failed_in_a_row >= max(8, 2 * self.slots):
            self._reason = ("failed", f"{self._failed_in_a_row} work items in a row failed; {self._last_failure()}")
        return []

    def _accepts(self, node: NodeId) -> bool:
        """Whether the verdicts on a node end the search."""
        return self.tree.passed(node) if self._appraiser is None else self._appraiser.accepts(node, self.tree)

    def _appraise(self) -> Appraisal:
        """Choose the best node; the accepted one where there is one."""
        accepted = self.tree.accepted
        if self.selector is not None and accepted is None:
            return self.selector.choose(self.tree)
        if self._appraiser is not None:
            return self._appraiser.appraise(self.tree, accepted)
        node = accepted if accepted is not None else self.strategy.select(self.tree)
        return Appraisal(None if node is None else NodeId(node))

    async def _stop(self) -> list[Event]:
        """Cancel what is in flight, choose the best node, and say so."""
        assert self._reason is not None
        reason, detail = self._reason
        events: list[Event] = []
        if reason in {"interrupted", "waiting"}:
            # No record of the cancelled work: in the journal it stays in flight, so a resume does it again.
            await self.close()
            events += [event for event in self._done if not isinstance(event, Cancelled)]
            self._done.clear()
        else:
            for work in list(self._tasks):
                self._cancel(work, f"the search ended: {reason}")
            while self._tasks:
                await asyncio.wait(self._tasks.values())
            events += self._done
            self._done.clear()
        self._take(events)
        chosen = self._appraise()
        last: list[Event] = []
        if chosen.node is None:
            last.append(Abstained(chosen.source or "no node was judged and none gave an answer"))
        else:
            by = self.strategy if self.selector is None or self.tree.accepted is not None else self.selector
            last.append(Selected(chosen.node, by.name, chosen.confidence, chosen.source))
        last.append(Stopped(reason, detail, self.ledger.elapsed_seconds))
        self._take(last)
        return events + last

    # --- starting ---

    def _start(self) -> list[Event]:
        """Ask the strategy and start what it wants, until it wants nothing more for now."""
        events: list[Event] = []
        while self._reason is None:
            self.tree.share_left = self.ledger.share_left
            asked = self.strategy.ask(self.tree, self._room())
            batch: list[Event] = []
            for work in self._admissible(asked):
                batch += self._admit(work)
            if not batch:
                break
            self._take(batch)
            events += batch
        if not self._tasks and self._reason is None and not self._done:
            self._reason = self._nothing_left()
        return events

    def _nothing_left(self) -> tuple[StopReason, str]:
        """Say why the strategy has nothing more to do."""
        if questions := sum(map(len, self.tree.questions.values())):
            return "waiting", f"{questions} question{'s wait' if questions > 1 else ' waits'} for an answer"
        if self._denied is not None:
            return "budget", f"the budget's {self._denied.limit} is spent"
        if self._failure is not None and len(self.tree) == 1:
            return "failed", f"no step succeeded; {self._last_failure()}"
        why = self.strategy.why_over(self.tree) if isinstance(self.strategy, Explains) else ""
        return "exhausted", why or "nothing is left to expand"

    def _last_failure(self) -> str:
        assert self._failure is not None
        return f"the last failure: {self._failure.error}: {self._failure.message}"

    def _room(self) -> int:
        """How many expansions may be started: fewer where judging lags behind, for its verdicts are to guide them."""
        return max(0, min(self.slots - self._expanding, 2 * self.slots - len(self._tasks)))

    def _admissible(self, asked: Sequence[Work]) -> Sequence[Work]:
        """Once the budget refused an expansion none is started any more; judging what is there goes on."""
        if len(asked) > 0 and asked[0].id != self.tree.next_work:
            raise UsageError(
                f"strategy {self.strategy.name!r} numbered its work from {asked[0].id}; number it from view.next_work="
                f"{self.tree.next_work}"
            )
        return [work for work in asked if type(work) not in self._closed] if self._closed else asked

    def _admit(self, work: Work) -> list[Event]:
        started = WorkStarted(work)
        match work:
            case Prune(_, node, reason):
                return [started, Pruned(node, reason)]
            case Cancel(_, _, target, reason):
                self._cancel(target, reason)
                return [started]
            case Expand() | Score():
                self._launch(work)
                return [started]

    def _launch(self, work: Work) -> None:
        if not isinstance(work, Expand | Score):
            return
        self._expanding += isinstance(work, Expand)
        task = asyncio.create_task(self._run(work), name=f"work {work.id}")
        self._tasks[work.id] = task
        task.add_done_callback(partial(self._ended, work))

    def _ended(self, work: Expand | Score, task: asyncio.Task[Event]) -> None:
        """Take the work out of what is in flight and keep the event for the next super-step."""
        del self._tasks[work.id]
        self._expanding -= isinstance(work, Expand)
        try:
            event = task.result()
        except asyncio.CancelledError:
            event = Cancelled(work.id, work.node, "cancelled before it began")
        self._done.append(event)
        self._news.set()

    def _cancel(self, work: WorkId, reason: str) -> None:
        if (task := self._tasks.get(work)) is not None:
            task.cancel(reason)

    # --- one work item: the place where errors become events ---

    async def _run(self, work: Expand | Score) -> Event:
        with self.observer.working(work) as ended:
            event = await self._do(work)
            while isinstance(event, Asked) and await self._answered(event.questions):
                event = await self._do(work)  # from its start; what the model said is known
            ended(event)
        return event

    async def _answered(self, questions: Sequence[Question]) -> bool:
        """Ask people who are there; whether they have answered."""
        if self.asker is None:
            return False
        async with self._asking:
            answers = await self.asker(questions)
        self.answered(answers)
        return bool(answers)

    async def _done_work(self, work: Expand | Score, bill: Bill, began: float) -> Event:
        if isinstance(work, Expand):
            node = await self.workbench.expand(work, self.tree, bill)
            return Expanded(work.id, node, monotonic() - began)
        verdicts = await self.workbench.score(work, self.tree, bill)
        return Judged(work.id, work.node, verdicts, bill.usage, monotonic() - began)

    async def _do(self, work: Expand | Score) -> Event:
        bill = Bill()
        began = monotonic()
        try:
            return await self._done_work(work, bill, began)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                # Nobody asked for it: something inside cancelled itself. As a cancellation it would be tried for ever.
                message = "the work cancelled itself"
                return Failed(work.id, work.node, "CancelledError", message, bill.usage, monotonic() - began)
            reason = str(cancelled.args[0]) if cancelled.args else "cancelled"
            return Cancelled(work.id, work.node, reason, bill.usage, monotonic() - began)
        except Waiting as asked:
            return Asked(work.id, work.node, asked.questions)
        except BudgetExceeded as error:
            return Denied(work.id, work.node, error.place, bill.usage)
        except Exception as error:  # the work-item boundary: whatever went wrong closes this branch only
            logger.info("work %d on node %d failed", work.id, work.node, exc_info=error)
            return Failed(work.id, work.node, type(error).__name__, str(error), bill.usage, monotonic() - began)
