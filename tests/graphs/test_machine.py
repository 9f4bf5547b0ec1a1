"""The search machine over a simulated world: how it starts, stops, fails and goes on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.budget import Ledger
from branchwise.core.errors import ModelTimeout, UsageError
from branchwise.core.events import (
    Abstained,
    Accepted,
    Cancel,
    Cancelled,
    Denied,
    Event,
    Expand,
    Expanded,
    Failed,
    Judged,
    Resumed,
    Score,
    Selected,
    Stopped,
    Work,
    WorkStarted,
)
from branchwise.core.protocols import Strategy
from branchwise.core.simulated.steps import SimulatedBench, StepTree, noise_judge
from branchwise.core.tree import Tree, TreeView
from branchwise.core.types import ROOT, Budget, Node, NodeId, Usage, WorkId
from branchwise.graphs.journal import Run, memory_saver
from branchwise.graphs.machine import run_search, search_graph
from branchwise.graphs.search import Search
from branchwise.search import BestFirst, BestOfN

ENDS = Expanded | Judged | Failed | Cancelled | Denied
UNSOLVABLE = StepTree(branching=4, depth=1000)
"""So deep that no search gets to its end."""

Pause = Callable[[Expand | Score], Awaitable[None]]


class Journal(list[Event]):
    """Everything that a run's listener was told."""

    def __call__(self, events: Sequence[Event], _tree: Tree) -> None:
        self.extend(events)

    def of(self, *kinds: type) -> list[Any]:
        """The events of some kinds."""
        return [event for event in self if isinstance(event, kinds)]


def search_in(
    world: StepTree, strategy: Strategy, budget: Budget, *, slots: int = 4, seed: int = 1, pause: Pause | None = None
) -> Search:
    """A search of a simulated world, values replaced by noise."""
    ledger = Ledger(budget)
    bench = SimulatedBench(world, ledger, judge=noise_judge, seed=seed, **({"pause": pause} if pause else {}))
    return Search(strategy.fresh(seed), bench, ledger, world.root(), slots, listener=Journal())


async def run(search: Search) -> tuple[Tree, Journal]:
    """Run without a saver."""
    tree = await run_search(search, search_graph().compile(), "run")
    assert isinstance(search.listener, Journal)
    return tree, search.listener


async def forever(_work: Expand | Score) -> None:
    """Never end."""
    await asyncio.Event().wait()


def check_accounts(search: Search, journal: Journal) -> None:
    """Every start has exactly one end, nothing is in flight, and what the tree charged is what the ledger spent."""
    started = Counter(e.work.id for e in journal.of(WorkStarted) if isinstance(e.work, Expand | Score))
    ended = Counter(e.work for e in journal if isinstance(e, ENDS))
    assert started == ended
    assert max(started.values()) == 1
    assert not search.tree.in_flight
    assert search.in_flight == 0
    assert search.ledger.reserved == Usage()
    assert search.tree.usage == search.ledger.spent


# --- the ways a search ends -------------------------------------------------------------------------------------------


async def test_acceptance_stops_everything() -> None:
    """The first accepted answer ends the run; what is in flight is cancelled, and charged."""
    world = StepTree(branching=1, depth=2)

    async def only_the_first(work: Expand | Score) -> None:
        if isinstance(work, Expand) and work.node == ROOT and work.id > 2:
            await asyncio.Event().wait()

    search = search_in(world, BestOfN(n=4, depth=2), Budget(nodes=100), pause=only_the_first)
    tree, journal = await run(search)
    assert tree.stopped is not None
    assert tree.stopped.reason == "accepted"
    assert tree.accepted == tree.selected
    assert tree.accepted is not None
    assert world.solved(world.path(tree[tree.accepted]))
    assert [event.reason for event in journal.of(Cancelled)] == ["the search ended: accepted"] * 3
    order = [type(event) for event in journal if not isinstance(event, WorkStarted | Expanded | Cancelled)]
    assert order[-4:] == [Judged, Accepted, Selected, Stopped]
    check_accounts(search, journal)


async def test_the_budget_ends_with_the_best_so_far() -> None:
    """All nodes of the budget are made, none more; the best is selected; nothing is left in flight."""
    search = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=50))
    tree, journal = await run(search)
    assert len(tree) == 51
    assert tree.stopped is not None
    assert (tree.stopped.reason, tree.stopped.detail) == ("budget", "the budget's nodes is spent")
    assert tree.selected == search.strategy.select(tree)
    assert len(journal.of(Judged)) == 51, "what exists is judged although nothing more may be expanded"
    check_accounts(search, journal)


async def test_a_budget_for_judging_ends_too() -> None:
    """Judging that the budget refuses is not asked for again and again."""
    search = search_in(UNSOLVABLE, BestFirst(), Budget(verifier_calls=5))
    tree, journal = await run(search)
    assert tree.stopped is not None
    assert tree.stopped.detail == "the budget's verifier_calls is spent"
    assert len(journal.of(Judged)) == 5
    check_accounts(search, journal)


async def test_the_deadline_stops_work_in_flight() -> None:
    """When the time is up what is in flight is cancelled, however long it would have taken."""
    search = search_in(UNSOLVABLE, BestFirst(), Budget(seconds=0.2), pause=forever)
    async with asyncio.timeout(20):
        tree, journal = await run(search)
    assert tree.stopped is not None
    assert tree.stopped.reason == "budget"
    assert "seconds" in tree.stopped.detail
    assert journal.of(Cancelled)
    assert journal.of(Abstained)
    check_accounts(search, journal)


async def test_nothing_left_to_do() -> None:
    """A strategy that wants nothing more ends the run."""
    search = search_in(UNSOLVABLE, BestOfN(n=3, depth=5), Budget(nodes=1000))
    tree, journal = await run(search)
    assert tree.stopped is not None
    assert (tree.stopped.reason, tree.stopped.detail) == (
        "exhausted",
        "the trajectories are over: 3 at the depth of 5, the most there may be",
    )
    assert len(tree) == 16
    check_accounts(search, journal)


async def test_failures_in_a_row_end_the_run() -> None:
    """A model that is gone does not keep a search busy for ever; the reason says what went wrong."""

    async def fail_after_a_while(work: Expand | Score) -> None:
        if work.id > 20:
            raise ModelTimeout("no answer from 127.0.0.1")

    search = search_in(UNSOLVABLE, BestFirst(width=100), Budget(nodes=1000), pause=fail_after_a_while)
    tree, journal = await run(search)
    assert tree.stopped is not None
    assert tree.stopped.reason == "failed"
    assert "ModelTimeout: no answer from 127.0.0.1" in tree.stopped.detail
    assert tree.selected is not None
    assert len(journal.of(Failed)) < 30
    check_accounts(search, journal)


@pytest.mark.parametrize("strategy", [BestFirst(width=1), BestOfN(n=1)])
async def test_no_step_at_all_is_a_failure(strategy: Strategy) -> None:
    """Where the strategy gave up because everything failed, "nothing left" is not what is said."""

    async def fail(_work: Expand | Score) -> None:
        raise ModelTimeout("no answer")

    tree, journal = await run(search_in(UNSOLVABLE, strategy, Budget(nodes=9), slots=1, pause=fail))
    assert tree.stopped is not None
    assert (tree.stopped.reason, tree.selected) == ("failed", None)
    assert "no answer" in tree.stopped.detail
    assert journal.of(Abstained)


@pytest.mark.parametrize("seed", range(5))
async def test_one_failure_in_ten(seed: int) -> None:
    """With failing, slow and self-cancelling work the search still ends, every branch accounted for."""
    rng = random.Random(seed)

    async def shaky(_work: Expand | Score) -> None:
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        chance = rng.random()
        if chance < 0.07:
            raise ModelTimeout("simulated")
        if chance < 0.1:
            raise asyncio.CancelledError

    search = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=300), slots=16, pause=shaky)
    tree, journal = await run(search)
    assert tree.stopped is not None
    assert tree.stopped.reason == "budget"
    assert len(tree) == 301
    failures = Counter(event.error for event in journal.of(Failed))
    assert failures["ModelTimeout"] > 10
    assert failures["CancelledError"] > 3, "a cancellation that nobody asked for is a failure"
    assert not journal.of(Cancelled)
    check_accounts(search, journal)


# --- slots ------------------------------------------------------------------------------------------------------------


async def test_a_slow_expansion_holds_nobody_up() -> None:
    """A slot that falls free is filled at once: there is no level to wait for."""

    async def first_hangs(work: Expand | Score) -> None:
        if isinstance(work, Expand) and work.id == 2:
            await asyncio.Event().wait()

    search = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=200, seconds=60), slots=2, pause=first_hangs)

    def stop_at_150(events: Sequence[Event], tree: Tree) -> None:
        if len(tree) > 150:
            search.interrupt()

    search.listener = stop_at_150
    tree = await run_search(search, search_graph().compile(), "run")
    assert len(tree) > 150
    assert next(iter(tree.in_flight)) == 2


async def test_never_more_expansions_than_slots() -> None:
    """The slots are all used and never exceeded; where judging lags behind, fewer expansions are begun."""
    expanding, scoring, most = 0, 0, [0, 0]
    gate = asyncio.Event()

    async def count(work: Expand | Score) -> None:
        nonlocal expanding, scoring
        if isinstance(work, Expand):
            expanding += 1
            most[0] = max(most[0], expanding)
            await asyncio.sleep(0)
            expanding -= 1
        elif work.node != ROOT:
            scoring += 1
            most[1] = max(most[1], scoring)
            if scoring == 6:
                gate.set()
            await gate.wait()
            scoring -= 1

    tree, _ = await run(search_in(UNSOLVABLE, BestFirst(), Budget(nodes=60), slots=3, pause=count))
    assert len(tree) == 61
    assert most == [3, 6]


# --- from outside -----------------------------------------------------------------------------------------------------


async def test_the_listener_hears_everything_in_order() -> None:
    """Folding what the listener heard gives the tree; the end comes last."""
    search = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=40))
    tree, journal = await run(search)
    folded = Tree.fold(UNSOLVABLE.root(), journal)
    assert [*folded] == [*tree]
    assert folded.usage == tree.usage
    assert isinstance(journal[-1], Stopped)
    assert isinstance(journal[-2], Selected)
    assert [e.work.id for e in journal.of(WorkStarted)] == list(range(1, len(journal.of(WorkStarted)) + 1))


@asynccontextmanager
async def saver_of(kind: str, folder: Path) -> AsyncIterator[Any]:
    """No saver, one in memory, or SQLite."""
    if kind == "none":
        yield None
    elif kind == "memory":
        async with memory_saver() as saver:
            yield saver
    else:
        async with Run(folder).saver() as saver:
            yield saver


async def test_every_saver_gives_the_same_tree(tmp_path: Path) -> None:
    """Where the journal goes changes nothing in what happens."""
    trees = []
    for kind in ("none", "memory", "sqlite"):
        async with saver_of(kind, tmp_path) as saver:
            search = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=100), slots=1)
            trees.append(await run_search(search, search_graph().compile(checkpointer=saver), "run"))
    assert [*trees[0]] == [*trees[1]] == [*trees[2]]
    assert len({(tree.selected, tree.next_work) for tree in trees}) == 1


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_interrupt_keeps_what_is_in_flight_for_the_resume(kind: str, tmp_path: Path) -> None:
    """Stopped on request: the best so far now, and on resume the same work again, under the same numbers."""
    async with saver_of(kind, tmp_path) as saver:
        graph = search_graph().compile(checkpointer=saver)
        stuck: list[WorkId] = []

        async def hang_later(work: Expand | Score) -> None:
            if work.id > 30:
                stuck.append(work.id)
                if len(stuck) == 4:
                    first.interrupt()
                await asyncio.Event().wait()

        first = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=60), pause=hang_later)
        tree = await run_search(first, graph, "run")
        assert tree.stopped is not None
        assert tree.stopped.reason == "interrupted"
        assert tree.selected is not None
        assert sorted(tree.in_flight) == sorted(stuck)
        assert first.in_flight == 0

        done: list[WorkId] = []

        async def note(work: Expand | Score) -> None:
            done.append(work.id)

        second = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=60), pause=note)
        second.replayed = lambda tree: second.ledger.charge(Usage(nodes=len(tree) - 1))
        tree = await run_search(second, graph, "run")
        assert isinstance(second.listener, Journal)
        assert isinstance(second.listener[0], Resumed)
        assert sorted(done[: len(stuck)]) == sorted(stuck)
        assert len(done) == len(set(done))
        assert len(tree) == 61
        assert not tree.in_flight


async def test_cancelling_the_caller_cancels_the_work() -> None:
    """Nothing of a search outlives the task that runs it."""
    begun, ended = 0, 0
    first = asyncio.Event()

    async def watched(_work: Expand | Score) -> None:
        nonlocal begun, ended
        begun += 1
        first.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    search = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=60), pause=watched)
    task = asyncio.create_task(run_search(search, search_graph().compile(), "run"))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert begun == ended
    assert search.in_flight == 0


async def test_a_resume_after_the_deadline_ends_at_once() -> None:
    """Work that is re-issued and stopped before it began is accounted for; the stop does not wait for it for ever."""
    async with memory_saver() as saver:
        graph = search_graph().compile(checkpointer=saver)
        first = search_in(UNSOLVABLE, BestFirst(), Budget(nodes=60), pause=forever)
        first.listener = lambda _events, _tree: first.interrupt()
        await run_search(first, graph, "run")
        assert first.tree.in_flight
        second = search_in(UNSOLVABLE, BestFirst(), Budget(seconds=10))
        second.ledger._started -= 20
        async with asyncio.timeout(20):
            tree = await run_search(second, graph, "run")
        assert tree.stopped is not None
        assert tree.stopped.reason == "budget"
        assert not tree.in_flight


# --- strategies that misbehave ----------------------------------------------------------------------------------------


class Scripted:
    """Asks for what it was given, one list at a time."""

    name = "scripted"
    speculative = True

    def __init__(self, *asks: list[Work]) -> None:
        self.asks = list(asks)

    def fresh(self, seed: int) -> Scripted:
        """The same."""
        return self

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """The next list."""
        return self.asks.pop(0) if self.asks else []

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Learn nothing."""

    def select(self, view: TreeView) -> int | None:
        """Abstain."""
        return None


async def test_work_cancelled_before_it_began() -> None:
    """A strategy may start and cancel in one breath; the work ends as cancelled."""
    work = Expand(WorkId(1), ROOT)
    strategy = Scripted([work, Cancel(WorkId(2), ROOT, WorkId(1), "changed my mind")])
    async with asyncio.timeout(20):
        search = search_in(UNSOLVABLE, strategy, Budget(nodes=10))
        _, journal = await run(search)
    assert [event.work for event in journal.of(Cancelled)] == [1]
    check_accounts(search, journal)


async def test_a_strategy_cancels_work_in_flight() -> None:
    """Real cancellation: the work item is interrupted where it waits, and its reason is kept."""
    strategy = Scripted(
        [Expand(WorkId(1), ROOT), Expand(WorkId(2), ROOT)], [], [Cancel(WorkId(3), ROOT, WorkId(1), "a loser")]
    )

    async def first_hangs(work: Expand | Score) -> None:
        if work.id == 1:
            await asyncio.Event().wait()

    async with asyncio.timeout(20):
        tree, journal = await run(search_in(UNSOLVABLE, strategy, Budget(nodes=10), pause=first_hangs))
    assert [(event.work, event.reason) for event in journal.of(Cancelled)] == [(1, "a loser")]
    assert len(tree) == 2


async def test_wrong_numbers_are_refused() -> None:
    """Work must be numbered from `view.next_work`."""
    strategy = Scripted([Expand(WorkId(7), ROOT)])
    with pytest.raises(UsageError, match=r"number it from view\.next_work=1"):
        await run(search_in(UNSOLVABLE, strategy, Budget(nodes=10)))


async def test_a_strategy_that_raises_leaves_nothing_behind() -> None:
    """An error of the strategy is the caller's; its work is cancelled first."""

    class Broken(Scripted):
        def select(self, view: TreeView) -> int | None:
            raise ZeroDivisionError

    search = search_in(UNSOLVABLE, Broken([Expand(WorkId(1), ROOT)]), Budget(nodes=10))
    with pytest.raises(ZeroDivisionError):
        await run(search)
    assert search.in_flight == 0


async def test_work_on_a_node_that_does_not_exist_fails() -> None:
    """It closes that branch only."""
    search = search_in(UNSOLVABLE, Scripted([Expand(WorkId(1), NodeId(99))]), Budget(nodes=10))
    tree, journal = await run(search)
    assert [event.error for event in journal.of(Failed)] == ["KeyError"]
    assert [*tree] == [Node(ROOT, None, None, "")]
