"""Which failures are tried again, when, and that all attempts are paid for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from branchwise.core.errors import (
    BudgetExceeded,
    ModelError,
    ModelOutputInvalid,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    UsageError,
)
from branchwise.core.protocols import Meter
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, ModelResponse, Usage
from branchwise.models import Retrying, RetryPolicy
from branchwise.models.fake_server import FakeServer, Faults
from branchwise.models.registry import connect

Ask = Callable[..., ModelRequest]
Until = Callable[[Callable[[], bool]], Awaitable[None]]
QUICK = RetryPolicy(first_wait_seconds=0.001, wait_cap_seconds=0.002)


def failing(*errors: Exception) -> Callable[[ModelRequest], str | Exception]:
    """A script that fails so often and then replies."""
    left = list(errors)
    return lambda _: left.pop(0) if left else "fine"


async def test_unavailable_and_slow_models_are_tried_again(ask: Ask) -> None:
    """Each attempt is counted, with its prompt."""
    inner = ScriptedModel(failing(ModelUnavailable("gone"), ModelTimeout("slow")))
    meter = Meter()
    response = await Retrying(inner, QUICK).generate(ask(), meter)
    prompt = await inner.prompt_tokens(ask())
    assert response.text == "fine"
    assert meter.usage() == Usage(prompt_tokens=3 * prompt, completion_tokens=1, calls=3)
    assert meter.finished


@pytest.mark.parametrize("error", [ModelRefused("no", status=400), ModelOutputInvalid("what"), UsageError("wrong")])
async def test_other_errors_are_final(ask: Ask, error: Exception) -> None:
    """Trying again would not help."""
    inner = ScriptedModel(failing(error))
    with pytest.raises(type(error)):
        await Retrying(inner, QUICK).generate(ask(), Meter())
    assert len(inner.requests) == 1


async def test_attempts_are_bounded(ask: Ask) -> None:
    """The last error is raised as it is."""
    errors = [ModelUnavailable(f"failure {number}") for number in range(9)]
    inner, meter = ScriptedModel(failing(*errors)), Meter()
    with pytest.raises(ModelUnavailable, match="failure 2"):
        await Retrying(inner, RetryPolicy(3, first_wait_seconds=0.0)).generate(ask(), meter)
    assert meter.usage().calls == 3


async def test_total_time_is_bounded(ask: Ask) -> None:
    """No wait that ends after the limit is begun."""
    inner = ScriptedModel(failing(*[ModelUnavailable("busy", retry_after_seconds=30)] * 3))
    async with asyncio.timeout(5):
        with pytest.raises(ModelUnavailable):
            await Retrying(inner, RetryPolicy(total_seconds=1)).generate(ask(), Meter())
    assert len(inner.requests) == 1


async def test_retry_after_is_kept_to(ask: Ask) -> None:
    """It is waited at least as long as the server asked."""
    inner = ScriptedModel(failing(ModelUnavailable("busy", retry_after_seconds=0.2)))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await Retrying(inner, QUICK).generate(ask(), Meter())
    assert loop.time() - begun >= 0.2


async def test_tokens_of_failed_attempts_are_cancelled_ones(ask: Ask) -> None:
    """What a cut stream had brought was paid for."""

    class Cut(ScriptedModel):
        async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
            if not self.requests:
                self.requests.append(request)
                meter.prompt_tokens, meter.completion_tokens = 10, 4
                raise ModelUnavailable("cut")
            return await super().generate(request, meter)

    meter = Meter()
    await Retrying(Cut(lambda _: "fine"), QUICK).generate(ask(), meter)
    assert meter.usage().cancelled_tokens == 4
    assert meter.usage().completion_tokens == 1


async def test_an_attempt_refused_by_the_budget_is_not_counted(ask: Ask) -> None:
    """It never reached the model."""
    error = BudgetExceeded("tokens", allowed=10, spent=10, asked=5)
    meter = Meter()
    with pytest.raises(BudgetExceeded):
        await Retrying(ScriptedModel(failing(ModelUnavailable("x"), error)), QUICK).generate(ask(), meter)
    assert meter.usage().calls == 1


async def test_a_cancelled_call_keeps_its_counts(ask: Ask, until: Until) -> None:
    """While it is in flight and after."""
    inner = ScriptedModel(lambda _: "x" * 400, latency_seconds=lambda _: 60)
    meter = Meter()
    call = asyncio.create_task(Retrying(inner).generate(ask(), meter))
    await until(lambda: inner.in_flight == 1)
    live = meter.usage()
    call.cancel()
    await asyncio.wait([call])
    assert live == meter.usage()
    assert (live.calls, live.cancelled_tokens) == (1, 32)


async def test_waits_grow_with_jitter(ask: Ask) -> None:
    """Uniform between half the bound and the bound, from the given randomness."""
    waits: list[float] = []
    retrying = Retrying(
        ScriptedModel(failing(*[ModelUnavailable("x")] * 4)),
        RetryPolicy(first_wait_seconds=0.01, wait_cap_seconds=0.04),
        random.Random(0),
    )
    counted = retrying._wait_seconds
    retrying._wait_seconds = lambda state: waits.append(counted(state)) or waits[-1]  # type: ignore[method-assign, func-returns-value]
    await retrying.generate(ask(), Meter())
    for wait, bound in zip(waits, (0.01, 0.02, 0.04, 0.04), strict=True):
        assert bound / 2 <= wait <= bound


async def test_calls_get_through_a_faulty_server(ask: Ask) -> None:
    """40 % of the attempts fail in four ways; every call ends, and the server finished each request once."""
    async with FakeServer(faults=Faults.evenly(0.4, hang_seconds=0.01), seed=3) as server:
        model = Retrying(
            await connect("vllm:fake", base_url=server.base_url), RetryPolicy(12, first_wait_seconds=0.001)
        )
        outcomes = await asyncio.gather(
            *(model.generate(ask(f"request {number}"), Meter()) for number in range(60)), return_exceptions=True
        )
        await model.aclose()
    assert [outcome for outcome in outcomes if isinstance(outcome, ModelError)] == []
    assert server.stats.faults.total() > 20
    assert set(server.stats.finished.values()) == {1}
    assert len(server.stats.finished) == 60


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"total_seconds": -1}, {"wait_cap_seconds": -1}])
def test_impossible_policies_are_refused(wrong: dict[str, int]) -> None:
    """With the field and the value."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
