"""How the fake server behaves and what it counts: latencies, faults, answers, statistics."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from ..core.types import JSON, TokenLogprob, ToolCall

Fault = Literal["error_500", "too_many_429", "hang", "cut", "garbage"]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the server takes.

    The wait for the first token is lognormal, exp(N(ln median, sigma)); sigma 0 makes it fixed. Each further token takes
    `per_token_seconds`; at 0 they are sent at once.
    """

    median_seconds: float = 0.0
    sigma: float = 0.0
    per_token_seconds: float = 0.0

    def draw(self, rng: random.Random) -> float:
        """Return one wait for the first token, in seconds."""
        if self.median_seconds <= 0:
            return 0.0
        return math.exp(rng.gauss(math.log(self.median_seconds), self.sigma))


@dataclass(frozen=True, slots=True)
class Faults:
    """Share of the requests that meet each fault; the shares add up to at most 1."""

    error_500: float = 0.0
    too_many_429: float = 0.0
    hang: float = 0.0
    """Says nothing for `hang_seconds`, then hangs up."""
    cut: float = 0.0
    """Hangs up in the middle of the reply."""
    garbage: float = 0.0
    """Sends what is not JSON."""
    retry_after: str | None = None
    """The `Retry-After` header of a 429."""
    hang_seconds: float = 60.0

    def draw(self, rng: random.Random) -> Fault | None:
        """Return what befalls a request."""
        lot = rng.random()
        kinds: tuple[Fault, ...] = ("error_500", "too_many_429", "hang", "cut", "garbage")
        for kind in kinds:
            lot -= getattr(self, kind)
            if lot < 0:
                return kind
        return None

    @classmethod
    def evenly(cls, share: float, *, hang_seconds: float = 60.0) -> Faults:
        """Return faults where `share` of the requests meet a 500, a 429, a hang or a cut, each equally often."""
        quarter = share / 4
        return cls(quarter, quarter, quarter, quarter, retry_after="0", hang_seconds=hang_seconds)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the fake model says."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    """None: what follows from the rest; empty: the stream ends without one."""
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(slots=True)
class Stats:
    """What happened so far. A request is counted under its key: a hash of all that decides the reply but `max_tokens`."""

    started: Counter[str] = field(default_factory=Counter[str])
    finished: Counter[str] = field(default_factory=Counter[str])
    aborted: Counter[str] = field(default_factory=Counter[str])
    """The client went away before the end."""
    faults: Counter[str] = field(default_factory=Counter[str])
    """By kind."""
    completion_tokens: int = 0
    """Sent, those of cut and aborted replies included."""
    in_flight: int = 0
    max_in_flight: int = 0
    first: float | None = None
    last: float = 0.0
    area: float = 0.0
    """Requests in flight integrated over time."""

    @property
    def mean_in_flight(self) -> float:
        """Mean number of requests in flight from the first one's start to the last change."""
        return 0.0 if self.first is None or self.last <= self.first else self.area / (self.last - self.first)

    def enter(self, key: str, now: float) -> None:
        """A request came."""
        self._advance(now)
        self.started[key] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def leave(self, now: float) -> None:
        """A request ended."""
        self._advance(now)
        self.in_flight -= 1

    def _advance(self, now: float) -> None:
        if self.first is None:
            self.first = now
        else:
            self.area += self.in_flight * (now - self.last)
        self.last = now

    def to_json(self) -> dict[str, JSON]:
        """The counts as JSON."""
        return {
            "started": dict(self.started),
            "finished": dict(self.finished),
            "aborted": dict(self.aborted),
            "faults": dict(self.faults),
            "requests": self.started.total(),
            "completion_tokens": self.completion_tokens,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "mean_in_flight": round(self.mean_in_flight, 4),
            "seconds": 0.0 if self.first is None else round(self.last - self.first, 6),
        }
