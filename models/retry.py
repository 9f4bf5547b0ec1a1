"""Retries: which failures are tried again, when, and that every attempt is paid for."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import tenacity

from ..core.around import AroundModel
from ..core.errors import BudgetExceeded, JournalError, ModelTimeout, ModelUnavailable, UsageError
from ..core.protocols import Meter, Model
from ..core.types import ModelRequest, ModelResponse


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try again.

    Waits grow by half of chance: the n-th is uniform in [b/2, b] with b = min(cap, first * 2^(n-1)), so that calls that
    failed together do not come back together. A server's `Retry-After` is kept to, up to its own cap.
    """

    attempts: int = 5
    """Attempts in all, the first one included."""
    total_seconds: float = 300.0
    """No attempt is begun later than this after the first."""
    first_wait_seconds: float = 0.5
    wait_cap_seconds: float = 20.0
    retry_after_cap_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise UsageError(f"RetryPolicy(attempts={self.attempts}): must be at least 1; 1 means no retry")
        for name in ("total_seconds", "first_wait_seconds", "wait_cap_seconds", "retry_after_cap_seconds"):
            if getattr(self, name) < 0:
                raise UsageError(f"RetryPolicy({name}={getattr(self, name)}): must not be negative")


class Retrying(AroundModel):
    """A model that tries again when its server is unavailable or silent, and only then.

    Each attempt goes to `inner` with a meter of its own; the caller's meter counts all of them, failed attempts' tokens as
    cancelled. A layer that reserves budget belongs inside, so that every attempt is reserved and settled by itself.

    Args:
        inner: makes one attempt per call.
        policy: how often and how long.
        rng: where the jitter comes from.
    """

    def __init__(self, inner: Model, policy: RetryPolicy | None = None, rng: random.Random | None = None) -> None:
        self.inner = inner
        self.policy = policy or RetryPolicy()
        self._rng = rng or random.Random()  # noqa: S311 - jitter needs no secrecy

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return one reply after as many attempts as it takes and the policy allows.

        Raises:
            ModelUnavailable, ModelTimeout: the last attempt's, when no more are allowed.
            ModelError: any other one at once.
        """
        meter.attempts = 0
        policy = self.policy
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((ModelUnavailable, ModelTimeout)),
            stop=tenacity.stop_after_attempt(policy.attempts) | tenacity.stop_before_delay(policy.total_seconds),
            wait=self._wait_seconds,
            sleep=asyncio.sleep,
            reraise=True,
        )
        return await retrying(self._attempt, request, meter)

    async def _attempt(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        meter.current = Meter()
        try:
            reply = await self.inner.generate(request, meter.current)
        except (BudgetExceeded, UsageError, JournalError):
            meter.current = None  # refused before the model was asked
            raise
        except BaseException:
            meter.absorb()
            raise
        meter.absorb()
        return reply

    def _wait_seconds(self, state: tenacity.RetryCallState) -> float:
        policy = self.policy
        bound = min(policy.wait_cap_seconds, policy.first_wait_seconds * 2.0 ** (state.attempt_number - 1))
        wait = self._rng.uniform(bound / 2, bound)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_seconds if isinstance(error, ModelUnavailable) else None
        return wait if asked is None else max(wait, min(asked, policy.retry_after_cap_seconds))
