"""Paying for model calls: nothing twice, nothing over the budget, nothing lost by a kill."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from branchwise.core.budget import Ledger
from branchwise.core.errors import BudgetExceeded, JournalError, ModelUnavailable, ToolError, UsageError
from branchwise.core.keys import request_key
from branchwise.core.protocols import Meter
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import Budget, Message, ModelRequest, ModelResponse, Sampling, Usage
from branchwise.models.accounts import LEAST_COMPLETION_TOKENS, Accounted, CallLog
from branchwise.models.retry import Retrying, RetryPolicy


def ask(text: str = "hello", *, seed: int = 1, max_tokens: int = 100) -> ModelRequest:
    """A request; its prompt counts 4 tokens more than a quarter of its characters."""
    return ModelRequest((Message("user", text),), Sampling(max_tokens=max_tokens, seed=seed))


def words(tokens: int) -> str:
    """A text of so many tokens."""
    return "abc " * tokens


async def call(model: Any, request: ModelRequest) -> tuple[ModelResponse, Usage]:
    """Make a call; return the reply and what the caller's meter says."""
    meter = Meter()
    reply = await model.generate(request, meter)
    return reply, meter.usage()


@pytest.fixture
def log() -> Iterator[CallLog]:
    """A log in memory."""
    with CallLog() as log:
        yield log


# --- paying -----------------------------------------------------------------------------------------------------------


async def test_a_call_is_paid_for(log: CallLog) -> None:
    """The ledger is charged what the call cost, not what it could have cost; nothing stays reserved."""
    ledger = Ledger(Budget(tokens=1000))
    model = Accounted(ScriptedModel(lambda _r: words(10)), ledger, log)
    reply, usage = await call(model, ask("hello!!!"))
    assert reply.text == words(10)
    assert ledger.spent == usage == Usage(prompt_tokens=6, completion_tokens=10, calls=1)
    assert model.log.spent() == ledger.spent
    assert ledger.reserved == Usage()
    assert model.live == {}


async def test_a_failed_call_is_paid_for(log: CallLog) -> None:
    """What a call had used when it failed is charged; its failure is no reply."""
    ledger = Ledger(Budget(tokens=1000))
    scripted = ScriptedModel(lambda _r: ModelUnavailable("gone"))
    model = Accounted(scripted, ledger, log)
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await call(model, ask())
    assert len(scripted.requests) == 2
    assert ledger.spent == model.log.spent() == Usage(prompt_tokens=12, calls=2)


async def test_every_attempt_is_paid_for(log: CallLog) -> None:
    """Retries reserve and settle one by one; the caller's meter counts them all."""
    replies = iter([ModelUnavailable("busy"), ModelUnavailable("busy"), words(5)])
    ledger = Ledger(Budget(tokens=1000))
    accounted = Accounted(ScriptedModel(lambda _r: next(replies)), ledger, log)
    model = Retrying(accounted, RetryPolicy(first_wait_seconds=0.0))
    _, usage = await call(model, ask())
    assert usage == ledger.spent == accounted.log.spent() == Usage(prompt_tokens=18, completion_tokens=5, calls=3)


async def test_a_cancelled_call_is_paid_for(log: CallLog) -> None:
    """What was sampled before the cancellation is charged as cancelled tokens (I5)."""
    ledger = Ledger(Budget(tokens=1000))
    scripted = ScriptedModel(lambda _r: words(20), latency_seconds=lambda _r: 3600.0)
    model = Accounted(scripted, ledger, log)
    task = asyncio.create_task(call(model, ask()))
    while not model.live:  # noqa: ASYNC110 - the double has no event for it
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.spent == model.log.spent() == Usage(prompt_tokens=6, cancelled_tokens=10, calls=1)
    assert ledger.reserved == Usage()


async def test_the_gate_bounds_the_calls_in_flight(log: CallLog) -> None:
    """Never more calls at the server than it has slots."""
    scripted = ScriptedModel(lambda _r: words(2), slots=3, latency_seconds=lambda _r: 0.001)
    model = Accounted(scripted, Ledger(Budget()), log)
    await asyncio.gather(*(call(model, ask(seed=n)) for n in range(20)))
    assert scripted.max_in_flight == 3


# --- the end of the budget --------------------------------------------------------------------------------------------


async def test_the_last_reply_is_shortened(log: CallLog) -> None:
    """Near the end the completion is clamped to what is left; below a useful length it is refused."""
    ledger = Ledger(Budget(tokens=100))
    scripted = ScriptedModel(lambda r: words(r.sampling.max_tokens))
    model = Accounted(scripted, ledger, log)
    await call(model, ask(max_tokens=50))
    await call(model, ask(max_tokens=50, seed=2))
    assert [r.sampling.max_tokens for r in scripted.requests] == [50, 38]
    assert ledger.left("tokens") == 0
    with pytest.raises(BudgetExceeded, match="tokens"):
        await call(model, ask(seed=3))
    assert len(scripted.requests) == 2


async def test_no_reply_shorter_than_is_useful(log: CallLog) -> None:
    """A few tokens that are left are not spent on a stump."""
    ledger = Ledger(Budget(tokens=6 + LEAST_COMPLETION_TOKENS - 1))
    model = Accounted(ScriptedModel(lambda _r: words(1)), ledger, log)
    with pytest.raises(BudgetExceeded):
        await call(model, ask())
    reply, _ = await call(model, ask(max_tokens=5))
    assert reply.text == words(1), "a request that wants less than that gets it"


@pytest.mark.parametrize("larger", [True, False])
async def test_a_reply_that_the_budget_cut_is_no_reply_to_the_request(larger: bool, tmp_path: Path) -> None:
    """With a larger budget it is asked again; a reply cut by the request's own limit is kept."""

    def script(request: ModelRequest) -> ModelResponse:
        return ModelResponse(words(request.sampling.max_tokens), Usage(), "length")

    request = ask(max_tokens=40)
    with CallLog(tmp_path / "calls") as log:
        await call(Accounted(ScriptedModel(script), Ledger(Budget(tokens=30 if larger else 46)), log), request)
    with CallLog(tmp_path / "calls") as log:
        scripted = ScriptedModel(script)
        reply, _ = await call(Accounted(scripted, Ledger(Budget(tokens=1000)), log), request)
    assert reply.text == words(40)
    assert len(scripted.requests) == (1 if larger else 0)


@pytest.mark.parametrize("seed", range(20))
async def test_sixteen_calls_never_overshoot(seed: int, tmp_path: Path) -> None:
    """A token budget is spent and never overshot, whatever the lengths, failures and cancellations in flight."""
    rng = random.Random(seed)

    def script(request: ModelRequest) -> str | Exception:
        return (
            ModelUnavailable("busy") if rng.random() < 0.1 else words(rng.randrange(1, request.sampling.max_tokens + 1))
        )

    scripted = ScriptedModel(script, slots=16, latency_seconds=lambda _r: rng.random() * 0.002)
    ledger = Ledger(Budget(tokens=6000))
    accounted = Accounted(scripted, ledger, CallLog(tmp_path / "calls"))
    model = Retrying(accounted, RetryPolicy(first_wait_seconds=0.0))

    async def caller(number: int) -> None:
        for turn in range(1000):
            request = ask("x" * rng.randrange(200), seed=1000 * number + turn, max_tokens=rng.randrange(16, 300))
            try:
                async with asyncio.timeout(0.0005 if rng.random() < 0.1 else None):
                    await call(model, request)
            except BudgetExceeded:
                return
            except (TimeoutError, ModelUnavailable):
                continue

    async with asyncio.timeout(60):
        await asyncio.gather(*(caller(number) for number in range(16)))
    assert scripted.max_in_flight > 4
    assert ledger.overshoot == 0
    assert ledger.spent.tokens <= 6000
    assert ledger.spent.tokens > 5500
    assert ledger.reserved == Usage()
    assert accounted.log.spent() == ledger.spent
    accounted.log.close()


async def test_an_unknown_price_is_refused_where_money_is_limited(log: CallLog) -> None:
    """A cap on money fails closed, at once, and says what to do."""
    unpriced = ScriptedModel(lambda _r: "x", usd_per_token=None)
    with pytest.raises(UsageError, match="price of scripted:model is unknown"):
        Accounted(unpriced, Ledger(Budget(usd=1)), log)
    with pytest.raises(UsageError):
        Accounted(unpriced, Ledger(Budget(usd=1)).child(Budget()), log)
    Accounted(unpriced, Ledger(Budget(tokens=1)), log)


async def test_money_is_never_overshot(log: CallLog) -> None:
    """A call whose longest reply could cost more than is left is not made."""
    ledger = Ledger(Budget(usd=1.0))
    scripted = ScriptedModel(lambda _r: words(44), usd_per_token=0.01)
    model = Accounted(scripted, ledger, log)
    await call(model, ask(max_tokens=44))
    assert ledger.spent.usd == pytest.approx(0.5)
    with pytest.raises(BudgetExceeded, match="usd"):
        await call(model, ask(max_tokens=80, seed=2))
    await call(model, ask(max_tokens=44, seed=3))
    assert ledger.spent.usd == pytest.approx(1.0)
    assert ledger.overshoot < 1e-9


# --- after a kill -----------------------------------------------------------------------------------------------------


async def test_a_finished_call_is_never_made_again(tmp_path: Path) -> None:
    """In the next process the same request is answered from the log, at no cost to its ledger."""
    request = ask()
    with CallLog(tmp_path / "calls") as log:
        first, cost = await call(Accounted(ScriptedModel(lambda _r: words(7)), Ledger(Budget()), log), request)
    scripted, ledger = ScriptedModel(lambda _r: words(9)), Ledger(Budget(tokens=1))
    with CallLog(tmp_path / "calls") as log:
        again, metered = await call(Accounted(scripted, ledger, log), request)
        assert again == first
        assert metered == cost, "the work item is billed what the call cost when it was made"
        assert (scripted.requests, log.replayed, ledger.spent) == ([], 1, Usage())
        assert log.lost() == Usage()
        with pytest.raises(BudgetExceeded):
            await call(Accounted(scripted, ledger, log), ask(seed=2))


def test_the_key_is_everything_that_decides_a_reply() -> None:
    """Another model, prompt, length, temperature or seed is another call."""
    base = ask()
    others = [
        request_key("scripted:other", base),
        request_key("scripted:model", ask("hallo")),
        request_key("scripted:model", ask(max_tokens=101)),
        request_key("scripted:model", ask(seed=2)),
        request_key("scripted:model", replace(base, sampling=replace(base.sampling, temperature=0.0))),
        request_key("scripted:model", replace(base, response_schema={"type": "object"})),
    ]
    assert len({*others, request_key("scripted:model", base)}) == 7
    assert request_key("scripted:model", base) == request_key("scripted:model", ask())


def in_a_killed_process(action: Callable[[], None]) -> None:
    """Run `action` in a child that dies by SIGKILL right after."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_calls_in_flight_at_a_kill_stay_charged(tmp_path: Path) -> None:
    """What was reserved for them is charged: nobody knows what they really cost. What had ended is kept."""
    path = tmp_path / "calls"
    CallLog(path).close()

    def die_in_flight() -> None:
        log = CallLog(path)
        done = log.enter("done", Usage(prompt_tokens=10, completion_tokens=100, calls=1))
        log.settle(done, "done", Usage(prompt_tokens=10, completion_tokens=3, calls=1), ModelResponse("x", Usage()))
        log.enter("lost", Usage(prompt_tokens=10, completion_tokens=50, calls=1))

    in_a_killed_process(die_in_flight)
    with CallLog(path) as log:
        before = log.spent()
        lost = log.lost()
        assert lost == Usage(prompt_tokens=10, cancelled_tokens=50, calls=1)
        assert before.tokens == log.spent().tokens == 73
        assert log.lost() == Usage(), "charged once"
        assert log.reply("done") == ModelResponse("x", Usage())
        assert log.reply("lost") is None


def test_external_effects_happen_once(tmp_path: Path) -> None:
    """An effect that ended is not repeated; one that was begun by a process that died is unknown and not repeated."""
    path = tmp_path / "calls"

    def die_in_the_middle() -> None:
        log = CallLog(path)
        assert log.begin_effect("1.0") is None
        log.end_effect("1.0", "sent")
        assert log.begin_effect("2.0") is None

    CallLog(path).close()
    in_a_killed_process(die_in_the_middle)
    with CallLog(path) as log:
        assert log.begin_effect("1.0") == "sent"
        with pytest.raises(ToolError, match="not repeated"):
            log.begin_effect("2.0")


# --- trouble with the file --------------------------------------------------------------------------------------------


def test_not_a_database(tmp_path: Path) -> None:
    """A file that is no database, and a folder that is not there, are refused with their path."""
    (tmp_path / "calls").write_text("no database" * 1000)
    for path in (tmp_path / "calls", tmp_path / "gone" / "calls"):
        with pytest.raises(JournalError, match="calls"):
            CallLog(path)


async def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """A call that cannot be entered is not made, and nothing stays reserved."""
    with CallLog(tmp_path / "calls") as log:
        other = sqlite3.connect(tmp_path / "calls", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        log._db.execute("PRAGMA busy_timeout = 10")
        scripted, ledger = ScriptedModel(lambda _r: "x"), Ledger(Budget(tokens=1000))
        with pytest.raises(JournalError, match="cannot write the log of model calls"):
            await call(Accounted(scripted, ledger, log), ask())
        assert (scripted.requests, ledger.reserved, ledger.spent) == ([], Usage(), Usage())
        other.execute("ROLLBACK")
        other.close()
        await call(Accounted(scripted, ledger, log), ask())
        assert ledger.spent == log.spent()


async def test_a_full_disk(tmp_path: Path) -> None:
    """SQLite's own end of a transaction is not mistaken for another error."""
    with CallLog(tmp_path / "calls") as log:
        log._db.execute("PRAGMA max_page_count = 20")
        model = Accounted(ScriptedModel(lambda _r: words(400)), Ledger(Budget()), log)

        async def fill() -> None:
            for seed in range(200):
                await call(model, ask(seed=seed, max_tokens=500))

        with pytest.raises(JournalError, match="full"):
            await fill()
        assert not log._db.in_transaction
        assert log.spent().calls > 10


async def test_text_that_utf8_cannot_hold(log: CallLog) -> None:
    """A reply with half a surrogate pair is given on and paid for, only not kept."""
    scripted = ScriptedModel(lambda _r: "a\ud800b")
    model = Accounted(scripted, Ledger(Budget()), log)
    assert (await call(model, ask()))[0].text == "a\ud800b"
    assert model.log.lost() == Usage()
    await call(model, ask())
    assert len(scripted.requests) == 2
