"""The ledger: hard caps, fair waiting, nothing lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.budget import LIMITS, Bill, Ledger, Reservation
from branchwise.core.errors import BudgetExceeded
from branchwise.core.types import NO_USAGE, Budget, Usage


async def settle_down() -> None:
    """Let every task that can run do so."""
    for _ in range(6):
        await asyncio.sleep(0)


# --- one call at a time -----------------------------------------------------------------------------------------------


async def test_a_reservation_is_held_then_settled() -> None:
    """What is reserved counts until it is settled; then what was used counts."""
    ledger = Ledger(Budget(tokens=100))
    held = await ledger.reserve(Usage(prompt_tokens=10, completion_tokens=50))
    assert ledger.left("tokens") == 40
    held.settle(Usage(prompt_tokens=10, completion_tokens=5))
    assert ledger.left("tokens") == 85
    assert ledger.spent == Usage(prompt_tokens=10, completion_tokens=5)
    assert ledger.reserved == NO_USAGE


async def test_settling_twice_charges_once() -> None:
    """A second `settle` does nothing."""
    ledger = Ledger(Budget(calls=2))
    held = await ledger.reserve(Usage(calls=1))
    held.settle(Usage(calls=1))
    held.settle(Usage(calls=1))
    assert ledger.spent.calls == 1
    assert ledger.reserved == NO_USAGE


async def test_leaving_the_block_by_an_exception_charges_what_was_used() -> None:
    """A call that fails half way is paid for as far as it got, and its reservation is given back."""
    ledger = Ledger(Budget(tokens=100))

    async def call() -> None:
        with await ledger.reserve(Usage(completion_tokens=60)) as held:
            held.actual = Usage(cancelled_tokens=7)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await call()
    assert ledger.spent == Usage(cancelled_tokens=7)
    assert ledger.reserved == NO_USAGE


async def test_the_refusal_says_what_was_reached() -> None:
    """`BudgetExceeded` carries the limit, what was allowed, spent and asked for, and says what to do."""
    ledger = Ledger(Budget(tool_calls=3), spent=Usage(tool_calls=3))
    with pytest.raises(BudgetExceeded, match="raise tool_calls") as refusal:
        await ledger.reserve(Usage(tool_calls=1))
    error = refusal.value
    assert (error.limit, error.allowed, error.spent, error.asked) == ("tool_calls", 3, 3, 1)
    assert ledger.reserved == NO_USAGE


async def test_the_end_of_the_budget_shortens_the_completion() -> None:
    """Where less is left than is wanted the completion is clamped, down to the least that makes sense."""
    ledger = Ledger(Budget(tokens=100))
    held = await ledger.reserve(Usage(prompt_tokens=30, completion_tokens=500, calls=1), least_completion_tokens=16)
    assert held.amount == Usage(prompt_tokens=30, completion_tokens=70, calls=1)
    held.settle(Usage(prompt_tokens=30, completion_tokens=55, calls=1))
    with pytest.raises(BudgetExceeded, match="tokens"):
        await ledger.reserve(Usage(prompt_tokens=10, completion_tokens=500), least_completion_tokens=16)


async def test_without_a_least_nothing_is_clamped() -> None:
    """A reservation that may not be clamped is granted whole or refused."""
    ledger = Ledger(Budget(tokens=100))
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(Usage(completion_tokens=101))


async def test_cancelled_tokens_count_as_completion() -> None:
    """Tokens of cancelled calls use up the budget like any others (I5)."""
    ledger = Ledger(Budget(completion_tokens=100), spent=Usage(cancelled_tokens=90))
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(Usage(completion_tokens=11))


async def test_no_limit_no_refusal() -> None:
    """An empty budget admits everything and has nothing to report."""
    ledger = Ledger(Budget())
    held = await ledger.reserve(Usage(completion_tokens=10**9, usd=1e9, nodes=10**9))
    held.settle(held.amount)
    assert ledger.left("tokens") is None
    assert not ledger.limits("usd")
    assert ledger.seconds_left is None


async def test_charging_an_overrun_is_reported() -> None:
    """`charge` takes what it must; `overshoot` says by how much a limit was exceeded."""
    ledger = Ledger(Budget(tokens=100))
    ledger.charge(Usage(prompt_tokens=130))
    assert ledger.overshoot == 30
    assert ledger.left("tokens") == 0


def test_a_bill_adds_up() -> None:
    """A bill is the sum of its parts."""
    bill = Bill()
    bill.add(Usage(calls=1, prompt_tokens=5))
    bill.add(Usage(tool_calls=2))
    assert bill.usage == Usage(calls=1, prompt_tokens=5, tool_calls=2)


# --- waiting ----------------------------------------------------------------------------------------------------------


async def test_waits_for_what_others_may_give_back() -> None:
    """A reservation that others' reservations stand in the way of waits for them instead of failing."""
    ledger = Ledger(Budget(tokens=100))
    first = await ledger.reserve(Usage(completion_tokens=80))
    second = asyncio.create_task(ledger.reserve(Usage(completion_tokens=50)))
    await settle_down()
    assert not second.done()
    first.settle(Usage(completion_tokens=20))
    assert (await second).amount.completion_tokens == 50


async def test_a_waiter_is_refused_once_nothing_more_can_come() -> None:
    """When the last reservation in the way was used up, the waiter is told, not left."""
    ledger = Ledger(Budget(tokens=100))
    first = await ledger.reserve(Usage(completion_tokens=80))
    second = asyncio.create_task(ledger.reserve(Usage(completion_tokens=50)))
    await settle_down()
    first.settle(Usage(completion_tokens=80))
    with pytest.raises(BudgetExceeded):
        await second


async def test_first_fit() -> None:
    """One that waits for nodes does not hold up one that waits for tokens and came later."""
    ledger = Ledger(Budget(tokens=100, nodes=1))
    node = await ledger.reserve(Usage(nodes=1))
    tokens = await ledger.reserve(Usage(completion_tokens=100))
    for_node = asyncio.create_task(ledger.reserve(Usage(nodes=1)))
    for_tokens = asyncio.create_task(ledger.reserve(Usage(completion_tokens=60)))
    await settle_down()
    tokens.settle(NO_USAGE)
    assert (await for_tokens).amount.completion_tokens == 60
    assert not for_node.done()
    node.settle(NO_USAGE)
    assert (await for_node).amount.nodes == 1


async def test_a_child_wakes_a_waiter_of_another_child() -> None:
    """What one child gives back serves a waiter of its sibling, for both draw on the parent."""
    parent = Ledger(Budget(tokens=100))
    one, other = parent.child(Budget()), parent.child(Budget(tokens=90))
    held = await one.reserve(Usage(completion_tokens=60))
    waiting = asyncio.create_task(other.reserve(Usage(completion_tokens=80)))
    await settle_down()
    assert not waiting.done()
    held.settle(NO_USAGE)
    assert (await waiting).amount.completion_tokens == 80


async def test_cancelled_while_waiting_leaves_no_trace() -> None:
    """A cancelled waiter gives up its place and holds nothing."""
    ledger = Ledger(Budget(calls=1))
    held = await ledger.reserve(Usage(calls=1))
    waiting = asyncio.create_task(ledger.reserve(Usage(calls=1)))
    await settle_down()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    held.settle(NO_USAGE)
    assert ledger.reserved == NO_USAGE


async def test_granted_and_cancelled_in_the_same_tick_gives_it_back() -> None:
    """A grant that reaches a caller who is being cancelled goes to the next in the queue."""
    ledger = Ledger(Budget(calls=1))
    held = await ledger.reserve(Usage(calls=1))
    first = asyncio.create_task(ledger.reserve(Usage(calls=1)))
    second = asyncio.create_task(ledger.reserve(Usage(calls=1)))
    await settle_down()
    held.settle(NO_USAGE)  # grants `first`, which has not run yet
    first.cancel()
    assert (await asyncio.wait_for(second, 5)).amount.calls == 1
    assert first.cancelled()
    assert ledger.reserved == Usage(calls=1)


async def test_cancelled_and_settled_in_the_same_tick_is_no_grant() -> None:
    """A waiter that was cancelled but has not run yet is passed over."""
    ledger = Ledger(Budget(calls=1))
    held = await ledger.reserve(Usage(calls=1))
    first = asyncio.create_task(ledger.reserve(Usage(calls=1)))
    second = asyncio.create_task(ledger.reserve(Usage(calls=1)))
    await settle_down()
    first.cancel()
    held.settle(NO_USAGE)
    assert (await asyncio.wait_for(second, 5)).amount.calls == 1
    await asyncio.gather(first, return_exceptions=True)
    assert ledger.reserved == Usage(calls=1)


async def test_rounding_is_no_reservation() -> None:
    """Fractions that do not add up exactly leave nothing behind for a waiter to wait for."""
    ledger = Ledger(Budget(sandbox_seconds=0.7))
    held = [await ledger.reserve(Usage(sandbox_seconds=seconds)) for seconds in (0.1, 0.2, 0.3)]
    for reservation in held:
        reservation.settle(Usage(sandbox_seconds=0.2))
    assert ledger.reserved == NO_USAGE
    with pytest.raises(BudgetExceeded):
        await asyncio.wait_for(ledger.reserve(Usage(sandbox_seconds=0.5)), 5)


# --- time -------------------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_deadline_counts_earlier_processes() -> None:
    """`elapsed_seconds` of earlier processes count; what is left is never negative."""
    clock = Clock()
    ledger = Ledger(Budget(seconds=60), elapsed_seconds=20, clock=clock)
    assert (ledger.elapsed_seconds, ledger.seconds_left) == (20, 40)
    clock.now += 30
    assert (ledger.elapsed_seconds, ledger.seconds_left) == (50, 10)
    clock.now += 30
    assert ledger.seconds_left == 0


def test_the_nearest_deadline_counts() -> None:
    """A child has its own time and never more than its parent's."""
    clock = Clock()
    parent = Ledger(Budget(seconds=60), clock=clock)
    clock.now += 45
    short, long, unlimited = (parent.child(Budget(seconds=s)) for s in (5, 100, None))
    assert [b.seconds_left for b in (short, long, unlimited)] == [5, 15, 15]


# --- any schedule -----------------------------------------------------------------------------------------------------

AMOUNTS = st.builds(
    Usage,
    prompt_tokens=st.integers(0, 30),
    completion_tokens=st.integers(0, 60),
    calls=st.integers(0, 1),
    sandbox_seconds=st.sampled_from([0.0, 0.1, 0.3, 1.7]),
    usd=st.sampled_from([0.0, 0.0001, 0.37]),
    nodes=st.integers(0, 1),
)

CAPS = st.builds(
    Budget,
    tokens=st.none() | st.integers(20, 300),
    completion_tokens=st.none() | st.integers(20, 300),
    calls=st.none() | st.integers(1, 8),
    sandbox_seconds=st.none() | st.sampled_from([1.0, 2.5]),
    usd=st.none() | st.sampled_from([0.5, 1.0]),
    nodes=st.none() | st.integers(1, 6),
)

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 3), AMOUNTS, st.none() | st.integers(1, 40)),
        st.tuples(st.just("settle"), st.integers(0, 50), st.integers(0, 4)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("tick")),
    ),
    max_size=40,
)


@dataclass
class Bank:
    """Ledgers of three generations, and every caller's doings as a model keeps them."""

    ledgers: list[Ledger]
    callers: list[tuple[Ledger, Usage, asyncio.Task[Reservation]]] = field(default_factory=list)
    settled: set[int] = field(default_factory=set)
    own: list[Usage] = field(default_factory=list)
    """What was charged to each ledger directly."""

    @classmethod
    def of(cls, budgets: list[Budget]) -> Bank:
        """A root with two children, one of which has a child."""
        root = Ledger(budgets[0])
        child, other = root.child(budgets[1]), root.child(budgets[2])
        return cls([root, child, other, child.child(budgets[3])], own=[NO_USAGE] * 4)

    def granted(self) -> list[tuple[int, Ledger, Reservation]]:
        """Open reservations, by the number of their caller."""
        return [
            (i, ledger, task.result())
            for i, (ledger, _, task) in enumerate(self.callers)
            if i not in self.settled and task.done() and not task.cancelled() and task.exception() is None
        ]

    def waiting(self) -> list[tuple[Ledger, Usage]]:
        """Callers that were neither granted nor refused nor cancelled."""
        return [(ledger, want) for ledger, want, task in self.callers if not task.done()]

    def act(self, action: tuple[object, ...]) -> None:
        """Do one thing of the schedule."""
        match action:
            case ("reserve", int(index), Usage() as want, least):
                ledger = self.ledgers[index]
                call = ledger.reserve(want, least_completion_tokens=least)  # type: ignore[arg-type]
                self.callers.append((ledger, want, asyncio.get_running_loop().create_task(call)))
            case ("settle", int(index), int(quarters)) if self.granted():
                i, ledger, held = self.granted()[index % len(self.granted())]
                part = part_of(held.amount, quarters / 4)
                held.settle(part)
                self.settled.add(i)
                self.own[self.ledgers.index(ledger)] += part
            case ("cancel", int(index)) if self.callers:
                self.callers[index % len(self.callers)][2].cancel()
            case _:
                pass

    def check(self) -> None:
        """Nothing overshot; sums agree over the generations (I1)."""
        for ledger in self.ledgers:
            for name, measure in LIMITS.items():
                cap = getattr(ledger.budget, name)
                assert cap is None or measure(ledger.spent) + measure(ledger.reserved) <= cap + 1e-9, name
        root, child, other, grandchild = self.ledgers
        assert close(root.spent, self.own[0] + child.spent + other.spent)
        assert close(child.spent, self.own[1] + grandchild.spent)

    def check_at_rest(self) -> None:
        """What is reserved is what callers hold, and nobody waits where nothing can come."""
        root = self.ledgers[0]
        total = NO_USAGE
        for _, _, held in self.granted():
            total += held.amount
        assert close(root.reserved, total)
        for ledger, want in self.waiting():
            assert any(self.in_the_way(ledger, want)), "waits although it would fit or nothing can be given back"

    def in_the_way(self, ledger: Ledger, want: Usage) -> list[bool]:
        """For each limit that `want` does not fit into now: whether somebody holds a part of it."""
        found = []
        above: Ledger | None = ledger
        while above is not None:
            for name, measure in LIMITS.items():
                cap = getattr(above.budget, name)
                if cap is not None and measure(want) > cap - measure(above.spent) - measure(above.reserved):
                    found.append(measure(above.reserved) > 0)
            above = above.parent
        return found


def part_of(amount: Usage, share: float) -> Usage:
    """A share of `amount`, whole numbers rounded down."""
    return Usage(
        prompt_tokens=int(amount.prompt_tokens * share),
        completion_tokens=int(amount.completion_tokens * share),
        calls=amount.calls,
        sandbox_seconds=amount.sandbox_seconds * share,
        usd=amount.usd * share,
        nodes=int(amount.nodes * share),
    )


def close(a: Usage, b: Usage) -> bool:
    """Whether two rows agree, fractions up to rounding."""
    whole = replace(a, sandbox_seconds=0.0, usd=0.0) == replace(b, sandbox_seconds=0.0, usd=0.0)
    return whole and abs(a.sandbox_seconds - b.sandbox_seconds) < 1e-9 and abs(a.usd - b.usd) < 1e-9


@settings(max_examples=300, deadline=None)
@given(budgets=st.lists(CAPS, min_size=4, max_size=4), actions=ACTIONS)
def test_any_schedule(budgets: list[Budget], actions: list[tuple[object, ...]]) -> None:
    """Whatever is reserved, settled and cancelled in whatever order: caps hold, sums agree, nobody is forgotten."""

    async def run() -> None:
        bank = Bank.of(budgets)
        for action in actions:
            bank.act(action)
            if action[0] == "tick":
                await settle_down()
                bank.check_at_rest()
            bank.check()
        await finish(bank)

    async def finish(bank: Bank) -> None:
        await settle_down()
        while bank.granted():
            bank.check_at_rest()
            bank.act(("settle", 0, 4))
            await settle_down()
            bank.check()
        assert not bank.waiting(), "everything was given back and still somebody waits"
        assert all(ledger.reserved == NO_USAGE for ledger in bank.ledgers)
        assert all(ledger.overshoot <= 1e-9 for ledger in bank.ledgers)
        await asyncio.gather(*(task for _, _, task in bank.callers), return_exceptions=True)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
async def test_sixteen_callers_never_overshoot(seed: int) -> None:
    """Sixteen concurrent callers with random sizes, failures and cancellations spend the budget, and never more."""
    rng = random.Random(seed)
    budget = Budget(tokens=20_000, calls=400, sandbox_seconds=200)
    root = Ledger(budget)
    ledgers = [root, root.child(Budget(tokens=9_000)), root.child(Budget(sandbox_seconds=100))]

    async def caller() -> None:
        while True:
            want = Usage(
                prompt_tokens=rng.randrange(1, 100),
                completion_tokens=rng.randrange(16, 400),
                calls=1,
                sandbox_seconds=rng.choice([0.0, rng.random()]),
            )
            try:
                with await rng.choice(ledgers).reserve(want, least_completion_tokens=16) as held:
                    for _ in range(rng.randrange(4)):
                        await asyncio.sleep(0)
                    held.actual = part_of(held.amount, rng.random() ** 2)
            except BudgetExceeded:
                return

    async def tease(tasks: list[asyncio.Task[None]], start: Callable[[], asyncio.Task[None]]) -> None:
        for _ in range(40):
            await asyncio.sleep(0)
            victim = rng.randrange(len(tasks))
            tasks[victim].cancel()
            tasks.append(start())

    tasks = [asyncio.create_task(caller()) for _ in range(16)]
    teaser = asyncio.create_task(tease(tasks, lambda: asyncio.create_task(caller())))
    async with asyncio.timeout(30):
        await teaser
        await asyncio.gather(*tasks, return_exceptions=True)
    assert all(ledger.overshoot == 0 for ledger in ledgers)
    assert all(ledger.reserved == NO_USAGE for ledger in ledgers)
    assert root.spent.tokens <= budget.tokens  # type: ignore[operator]
    assert root.spent.tokens > 0.5 * budget.tokens or root.spent.calls == budget.calls  # type: ignore[operator]
