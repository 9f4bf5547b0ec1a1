"""Simulated tool use: chains of calls with known transition probabilities, and call graphs with latencies on a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import UsageError
from ..testing import ScriptedModel
from ..types import ModelRequest, ModelResponse, Observation, Step, ToolCall, Usage
from .steps import uniform

Rng = random.Random

END = "end"
"""What follows the last call of a chain."""


@dataclass(frozen=True)
class ToolChain:
    """Chains of tool calls, each tool drawn by those before it, arguments often copied from earlier outputs.

    Args:
        tools: how many there are, named "tool 0" and so on.
        order: how many of the last calls decide what comes next, 1 or 2.
        copied: chance that an argument is the output of an earlier call, in [0, 1].
        ends: chance that a chain ends after any call, in (0, 1].
        sharpness: how much the likeliest next tool stands out; 0 makes all alike.
        seed: decides the transition probabilities.
    """

    tools: int = 6
    order: int = 1
    copied: float = 0.7
    ends: float = 0.15
    sharpness: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise UsageError(f"order={self.order!r} must be 1 or 2")

    def chances(self, past: Sequence[str]) -> dict[str, float]:
        """Return the probability of every next tool, and of the end, after the calls `past`."""
        known = tuple(past[-self.order :])
        rng = Rng(int(uniform(self.seed, "chain", known) * 2**53))
        weights = [rng.expovariate(1.0) ** self.sharpness for _ in range(self.tools)]
        going_on = 1 - self.ends if past else 1.0
        chances = {f"tool {n}": going_on * weight / sum(weights) for n, weight in enumerate(weights)}
        return {**chances, END: 1 - going_on}

    def trajectory(self, seed: int, longest: int = 12) -> list[Step]:
        """Return a chain as the steps of a trajectory, one call each, with what came back.

        Outputs are "value N"; an argument is one of them or a fresh "input N".
        """
        steps: list[Step] = []
        while len(steps) < longest and (step := self.following(steps, seed)) is not None:
            steps.append(step)
        return steps

    def following(self, past: Sequence[Step], seed: int) -> Step | None:
        """Return the next step of chain `seed`, None where it ends."""
        rng = Rng(f"{self.seed} {seed} step {len(past)}")
        chances = self.chances([step.calls[0].name for step in past])
        name = rng.choices(list(chances), list(chances.values()))[0]
        if name == END:
            return None
        outputs = [step.observations[0].text for step in past]
        source = rng.choice(outputs) if outputs and rng.random() < self.copied else f"input {rng.randrange(1000)}"
        call = ToolCall(f"call {len(past)}", name, {"source": source})
        return Step("tool", "", (call,), (Observation(call.id, f"value {seed}.{len(past)}"),))

    def model(self) -> ScriptedModel:
        """Return a model that calls tools natively as the chain goes, and answers "done" at its end."""

        def script(request: ModelRequest) -> ModelResponse:
            calls = [call for message in request.messages for call in message.tool_calls]
            seen = [message.content for message in request.messages if message.role == "tool"]
            past = [Step("tool", "", (c,), (Observation(c.id, text),)) for c, text in zip(calls, seen, strict=True)]
            step = self.following(past, request.sampling.seed or 0)
            return ModelResponse("done" if step is None else "", Usage(), tool_calls=() if step is None else step.calls)

        return ScriptedModel(script, name="simulated:tools")


@dataclass(frozen=True, slots=True)
class TimedCall:
    """A call of a graph.

    Args:
        seconds: how long it takes, >= 0.
        needs: calls whose results it needs.
    """

    seconds: float
    needs: tuple[str, ...] = ()


@dataclass
class CallGraph:
    """Calls that need each other's results, on a virtual clock: who starts what decides when all is done.

    Args:
        calls: the calls by name, each after those that it needs.
        slots: calls in flight at once; None for no limit.

    Raises:
        UsageError: a call needs one that does not stand before it.
    """

    calls: Mapping[str, TimedCall]
    slots: int | None = None
    now_seconds: float = field(default=0.0, init=False)
    """The clock."""
    done: dict[str, float] = field(default_factory=dict[str, float], init=False)
    """When each call ended."""
    flying: dict[str, float] = field(default_factory=dict[str, float], init=False)
    """When each call in flight will end."""

    def __post_init__(self) -> None:
        before: set[str] = set()
        for name, call in self.calls.items():
            if missing := set(call.needs) - before:
                raise UsageError(f"call {name!r} needs {sorted(missing)}, which must stand before it")
            before.add(name)

    @classmethod
    def drawn(cls, seed: int, calls: int = 12, *, needs: float = 0.3, spread: float = 0.5) -> CallGraph:
        """Return a random graph: lognormal latencies around a second, each earlier call needed with a probability.

        Args:
            seed: which one.
            calls: how many.
            needs: chance that a call needs an earlier one.
            spread: standard deviation of the latency's logarithm.
        """
        rng = Rng(f"{seed} calls")
        names = [f"call {number}" for number in range(calls)]
        return cls(
            {
                name: TimedCall(rng.lognormvariate(0.0, spread), tuple(n for n in names[:i] if rng.random() < needs))
                for i, name in enumerate(names)
            }
        )

    @property
    def work_seconds(self) -> float:
        """What all calls take one after the other."""
        return sum(call.seconds for call in self.calls.values())

    @property
    def critical_path_seconds(self) -> float:
        """What they take at least, however many run at once."""
        ends: dict[str, float] = {}
        for name, call in self.calls.items():
            ends[name] = call.seconds + max((ends[need] for need in call.needs), default=0.0)
        return max(ends.values(), default=0.0)

    @property
    def ready(self) -> list[str]:
        """Calls that can start: what they need is there, and they have not been started."""
        return [
            name
            for name, call in self.calls.items()
            if name not in self.done and name not in self.flying and all(need in self.done for need in call.needs)
        ]

    @property
    def room(self) -> int:
        """How many calls may be started now."""
        return len(self.calls) if self.slots is None else self.slots - len(self.flying)

    def start(self, name: str) -> None:
        """Start a call.

        Raises:
            UsageError: it cannot start: it was started, needs what is not there, or no slot is free.
        """
        if name not in self.ready or self.room < 1:
            raise UsageError(f"{name!r} cannot start now; ready are {self.ready}, slots free: {self.room}")
        self.flying[name] = self.now_seconds + self.calls[name].seconds

    def finish(self) -> str:
        """Let the clock go on to the end of the next call; return its name.

        Raises:
            UsageError: none is in flight.
        """
        if not self.flying:
            raise UsageError("no call is in flight; start one of those that are ready")
        name = min(self.flying, key=lambda one: (self.flying[one], one))
        self.now_seconds = self.done[name] = self.flying.pop(name)
        return name
