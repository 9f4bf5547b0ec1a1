"""Running tool calls: for the first time, and once more to make a state again that was dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal, Protocol

from ..core.budget import Bill, Ledger
from ..core.errors import (
    BudgetExceeded,
    ModelError,
    SandboxError,
    ToolArgumentsInvalid,
    ToolError,
    ToolNotFound,
    UsageError,
)
from ..core.observing import UNOBSERVED, Observer
from ..core.people import APPROVAL, Answers, Approval, Question, Waiting
from ..core.protocols import Context, Environment
from ..core.types import Node, Observation, Step, Task, ToolCall, Usage
from ..tools.tool import Tool
from .limited import ToolAccount, ToolLog

Approve = Literal["external", "all", "never"]
"""Which actions a person has to approve."""

Refusable = tuple[ToolCall, str | None]
"""A call, and why it is refused where it is."""


class EffectLog(ToolLog, Protocol):
    """Remembers which external effects were begun and what they returned; see `models.accounts.CallLog`."""

    def begin_effect(self, key: str) -> str | None:
        """Enter an effect that is about to happen; return what it returned where it happened already.

        Raises:
            ToolError: it was begun by a process that died: whether it happened is unknown.
        """
        ...

    def end_effect(self, key: str, result: str) -> None:
        """Enter what the effect returned."""
        ...

    def forget_effect(self, key: str) -> None:
        """Take an effect back that did not begin after all."""
        ...


class People(EffectLog, Answers, Protocol):
    """Both: what was done, and what people said."""


class Actor:
    """One run's tools, under the run's budget.

    Args:
        tools: the agent's tools.
        task: the task.
        ledger: what pays for the calls.
        effects: log of external effects.
        observer: looks on at every call.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        task: Task,
        ledger: Ledger,
        effects: EffectLog,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self.unstable: set[str] = set()
        """Tools that once did something else when they were run again: what they did cannot be made again."""
        self._tools = {tool.name: tool for tool in tools}
        self._task = task
        self._ledger = ledger
        self._effects = effects
        self._observer = observer
        self._accounts = {t.name: ToolAccount(t, ledger, effects) for t in tools if t.limits is not None}

    async def call(self, key: str, call: ToolCall, ctx: Context, bill: Bill) -> Observation:
        """Run one call. What goes wrong in it is for the model to see; what goes wrong around it ends the branch."""
        account = self._accounts.get(call.name)
        ctx.call, ctx.spawned, ctx.asked = key, 0, 0
        timeout_seconds = 0.0
        try:
            timeout_seconds = self._timeout_seconds(call.name)
            # Charged before it runs: it may wait for searches within this one, and these must not wait for what it holds.
            ledger = self._ledger if account is None else account.ledger
            (await ledger.reserve(Usage(tool_calls=1))).settle(Usage(tool_calls=1))
            bill.add(Usage(tool_calls=1))
            with nullcontext() if account is None else account.paying(ctx):
                return Observation(call.id, await self._observed(key, call, ctx, bill, timeout_seconds))
        except BudgetExceeded as error:
            if account is None or not account.used_up(error):
                raise
            return Observation(
                call.id,
                f"{call.name} is used up: its limit of {error.allowed:g} {error.limit} is reached. Go on without it.",
                ok=False,
            )
        except (ModelError, SandboxError, Waiting):
            raise
        except TimeoutError:
            return Observation(call.id, f"{call.name} was stopped after {timeout_seconds:g} s", ok=False)
        except (ToolError, UsageError) as error:
            return Observation(call.id, str(error), ok=False)
        except Exception as error:  # noqa: BLE001 - a user's tool may raise anything; the model gets to see it
            return Observation(call.id, f"{call.name} failed: {type(error).__name__}: {error}", ok=False)

    def _timeout_seconds(self, name: str) -> float:
        """Return how long a call may take; 0 where there is no such tool."""
        if name in self._accounts:
            return self._accounts[name].timeout_seconds
        return self._tools[name].timeout_seconds if name in self._tools else 0.0

    async def _observed(self, key: str, call: ToolCall, ctx: Context, bill: Bill, timeout_seconds: float) -> str:
        tool = self._tools.get(call.name)
        with self._observer.acting(call, None if tool is None else tool.effects, bill) as returned:
            known = replace(_named(call.name, self._tools), timeout_seconds=timeout_seconds)
            result = await self._run(key, known, call, ctx)
            returned(result)
        return result

    async def _run(self, key: str, tool: Tool, call: ToolCall, ctx: Context) -> str:
        if tool.effects != "external":
            return await tool.run(ctx, call.arguments)
        known = self._effects.begin_effect(key)
        if known is not None:
            return known
        try:
            result = await tool.run(ctx, call.arguments)
        except ToolArgumentsInvalid as error:
            self._effects.end_effect(key, str(error))
            raise
        except Waiting:
            self._effects.forget_effect(key)
            raise
        self._effects.end_effect(key, result)
        return result

    # --- once more ---

    def can_redo(self, step: Step) -> bool:
        """Whether taking a step once more leads to the same state, as far as is known."""
        return step.held or all(
            call.name in self._tools and self._tools[call.name].effects != "external" and call.name not in self.unstable
            for call in step.calls
        )

    def approved(self, key: str, calls: Sequence[ToolCall], people: Answers, approve: Approve) -> list[Refusable]:
        """Return the calls as people let them be done: edited perhaps, or refused with a reason.

        Args:
            key: names the step.
            calls: what the model wants to do.
            people: what they have answered.
            approve: which actions they are asked about.

        Raises:
            Waiting: they have not answered yet.
        """
        let: list[Refusable] = []
        open_questions: list[Question] = []
        for index, call in enumerate(calls):
            tool = self._tools.get(call.name)
            if tool is None or not _concerns(tool, approve):
                let.append((call, None))
                continue
            name = f"{key}.{index}.approve"
            if (answer := people.answer(name)) is None:
                about = (f"May {call.name} be called?", APPROVAL, call.name, call.arguments)
                open_questions.append(Question(people.question_id(name), "approve", *about))
                continue
            approval = Approval.read(answer)
            edited = call if approval.arguments is None else replace(call, arguments=approval.arguments)
            let.append((edited, None if approval.approved else approval.reason or "no reason was given"))
        if open_questions:
            raise Waiting(*open_questions)
        return let

    def reaches_out(self, calls: Sequence[ToolCall]) -> bool:
        """Whether one of the calls has effects outside of the sandbox."""
        return any(call.name in self._tools and self._tools[call.name].effects == "external" for call in calls)

    async def redo(self, before: Sequence[Node], step: Step, environment: Environment, bill: Bill) -> None:
        """Take a step once more, in an environment in the state that it was first taken in.

        Raises:
            SandboxError: it must not be taken twice, or does not do the same.
        """
        if not self.can_redo(step):
            raise SandboxError(
                f"the state after node {before[-1].id} is gone, and its actions ({', '.join(c.name for c in step.calls)}) "
                "cannot be done again: they have effects outside of the sandbox, or are not the same every time"
            )
        ctx = Context(self._task, environment, before)
        for index, call in enumerate(step.calls):
            await self.call(f"again.{before[-1].id}.{index}", call, ctx, bill)


def _concerns(tool: Tool, approve: Approve) -> bool:
    """Whether people are asked before a tool runs; one that asks by itself asks for more than its arguments say."""
    return approve == "all" or (approve == "external" and tool.effects == "external" and not tool.asks_first)


def _named(name: str, tools: Mapping[str, Tool]) -> Tool:
    if name not in tools:
        raise ToolNotFound(f"there is no tool {name!r}; there are: {', '.join(tools)}")
    return tools[name]
