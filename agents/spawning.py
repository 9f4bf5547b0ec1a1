"""Letting a model start searches within its own: it says what is to be done, goes on working, and joins them when it wants.

Adaptive parallel reasoning (Pan et al. 2025) by tool calls, so that it works with models that were not trained for it. A search
that was started sees the words it was started with and the files as they were then, nothing else; its parent gets its conclusion,
nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ..core.errors import ToolError, UsageError
from ..core.groups import Child, Conclusion, Until, join
from ..core.protocols import Context
from ..core.types import Budget, Task
from ..tools.tool import RESULT_LIMIT_CHARS, Tool, tool
from ..verifiers.fence import fenced
from .helpers import STOPPED, UNDER_WAY, Asked, Helpers
from .redundancy import SameWork, first_alike

if TYPE_CHECKING:
    from .agent import Agent

ANSWER_LIMIT_CHARS = 2_000
"""A longer answer is cut before the parent sees it."""

LEAST_ANSWER_CHARS = 60

FENCE_CHARS = 140
"""What stands around an answer at most."""

REASON_LIMIT_CHARS = 200

DAY_SECONDS = 86_400.0
"""Joining is bounded by the budget and the model's own deadline, not by a tool's."""


@dataclass(frozen=True)
class Spawn:
    """What a model may start: `Agent(spawn=Spawn(width=8))` gives it the tools `spawn` and `join`.

    Args:
        agent: what is started; the agent itself, which may then start others down to `depth`, unless given.
        width: searches that one trajectory may start, >= 1.
        depth: how deep searches may be within one another, >= 1.
        share: part of what is left of the budget that those of one call may spend together, in (0, 1].
        alike: says whether two texts ask for the same work, so that what a helper of the trajectory is at, or has done, is not done again in
            other words: a function of both, or a verifier that compares two, `verifiers.Alike(verifiers.WISHES)` for one that
            asks the model. The same words are never done twice.
    """

    agent: Agent | None = None
    width: int = 8
    depth: int = 1
    share: float = 0.5
    alike: SameWork | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1 or not 0 < self.share <= 1:
            raise UsageError(
                f"Spawn(width={self.width}, depth={self.depth}, share={self.share}): width and depth must be at least 1, "
                "share more than 0 and at most 1"
            )

    def tools(self, parent: Agent) -> tuple[Tool, ...]:
        """Return the tools of an agent that may start searches."""
        starter = _Starter(self, self.agent if self.agent is not None else parent)

        async def spawn(ctx: Context, tasks: list[str]) -> str:
            """Start helpers that work at the same time, one for each task. Each sees only the words of its task.

            Args:
                tasks: what each helper is to do, complete in itself.
            """
            return await starter.spawn(ctx, tasks)

        # In the schema, where a grammar that is enforced sees to it that small models keep to it.
        spawn.__annotations__["tasks"] = Annotated[list[str], Field(min_length=1, max_length=self.width)]

        @tool(effects="pure", timeout=DAY_SECONDS)
        async def join(  # noqa: PLR0917 - the model gives them by name
            ctx: Context,
            helpers: list[str] | None = None,
            wait: Literal["all", "first", "ready"] = "all",
            enough: int = 0,
            seconds: float = 600,
            stop_rest: bool = False,
        ) -> str:
            """Wait for helpers and see what they came to.

            Args:
                helpers: their names; all of them unless given.
                wait: for all; until the first has a valid answer; or not at all.
                enough: more than 0: wait only until so many have valid answers.
                seconds: wait at most so long.
                stop_rest: stop those that are still working then.
            """
            until: Until = enough if enough > 0 else wait
            return await starter.join(ctx, helpers or [], until, seconds, stop_rest=stop_rest)

        return tool(effects="pure", timeout=DAY_SECONDS)(spawn), join


@dataclass(frozen=True)
class _Starter:
    setting: Spawn
    agent: Agent

    async def spawn(self, ctx: Context, tasks: Sequence[str]) -> str:
        """Start one search for each text that no helper of the trajectory is at yet."""
        if ctx.children is None:
            raise ToolError("no helper can be started here")
        if ctx.children.depth >= self.setting.depth:
            raise ToolError("helpers cannot start helpers of their own here; do it yourself")
        texts = list(dict.fromkeys(text.strip() for text in tasks))
        if not texts or not all(texts):
            raise ToolError("say what each helper is to do")
        helpers = Helpers.of(ctx.path)
        same = await self._under_way(ctx, texts, helpers)
        origin = await ctx.environment.snapshot() if ctx.environment is not None else None
        new = helpers.take(texts, same, ctx.call, origin)
        if len(helpers.started) > self.setting.width:
            raise ToolError(
                f"{len(helpers.started) - len(new)} helpers were started and {len(new)} more are asked for; "
                f"{self.setting.width} is the most"
            )
        part = ctx.children.share(self.setting.share / max(1, len(new)))
        for task in new:
            self._start(ctx, task, part)
        told = UNDER_WAY + ", ".join(f"{place} is h{helper}" for place, helper in same.items()) + "; " if same else ""
        lines = [f"h{helpers.known[text]}: {text.splitlines()[0][:80]}" for text in texts]
        return "\n".join([f"{told}started; go on, and join them when you need what they found:", *lines])

    async def _under_way(self, ctx: Context, texts: Sequence[str], helpers: Helpers) -> dict[int, int]:
        """Return the places, from 1, of texts that ask for the work of a helper in other words, with that helper's number."""
        if self.setting.alike is None:
            return {}
        at_work = [(task.text, number) for number, task in enumerate(helpers.started, start=1)]
        same: dict[int, int] = {}
        for place, text in enumerate(texts, start=1):
            if text in helpers.known:
                continue
            twin = await first_alike(self.setting.alike, ctx, text, [other for other, _ in at_work])
            if twin is None:
                at_work.append((text, len({number for _, number in at_work}) + 1))
            else:
                same[place] = at_work[twin][1]
        return same

    async def join(self, ctx: Context, names: Sequence[str], until: Until, seconds: float, *, stop_rest: bool) -> str:
        """Wait for searches of the trajectory; those that an earlier process had begun go on."""
        if ctx.children is None:
            raise ToolError("there are no helpers here")
        helpers = Helpers.of(ctx.path)
        known = {f"h{number}": task for number, task in enumerate(helpers.started, start=1)}
        if unknown := [name for name in names if name not in known]:
            raise ToolError(f"there is no helper {unknown[0]!r}; there are: {', '.join(known) or 'none'}")
        if not known:
            raise ToolError("no helpers were started; start them with spawn")
        wanted = {name: task for name, task in known.items() if not names or name in names}
        going = {name: task for name, task in wanted.items() if int(name[1:]) not in helpers.stopped}
        part = ctx.children.share(self.setting.share / len(wanted))
        children = {name: self._start(ctx, task, part) for name, task in going.items()}
        ended = await join(list(children.values()), until, seconds)
        rest = [name for name, child in children.items() if child not in ended] if stop_rest else []
        for name in rest:
            await ctx.children.cancel(children[name].name)
        ends = {name: children[name] if name in children and name not in rest else None for name in wanted}
        text = _joined(ends, ended, rest, ANSWER_LIMIT_CHARS)
        if len(text) > RESULT_LIMIT_CHARS:  # or the middle would be cut out, with some helpers' whole answers
            text = _joined(ends, ended, rest, max(LEAST_ANSWER_CHARS, RESULT_LIMIT_CHARS // len(ends) - FENCE_CHARS))
        return text

    def _start(self, ctx: Context, task: Asked, budget: Budget) -> Child:
        assert ctx.children is not None
        given = Task(prompt=task.text, inputs=ctx.task.inputs)
        agent = self.agent
        if ctx.children.depth + 1 >= self.setting.depth:
            agent = dataclasses.replace(agent, spawn=None)
        origin = task.origin if agent.sandbox is not None else None
        running = ctx.children.start(task.name, agent, given, origin=origin, budget=budget)
        return Child(task.name, given, judged=bool(agent.verifiers or agent.final), running=running)


def _joined(children: Mapping[str, Child | None], ended: Sequence[Child], rest: Sequence[str], limit: int) -> str:
    """Return what a join says of helpers; None for one that was stopped. Of an answer at most `limit` characters."""
    told = [_told(name, child, ended, limit) for name, child in children.items()]
    return "\n\n".join([*([STOPPED + ", ".join(rest)] if rest else []), *told])


def _told(name: str, child: Child | None, ended: Sequence[Child], limit: int) -> str:
    if child is None:
        return f"{name} was stopped"
    return f"{name} {_came_to(name, child.conclusion(), limit)}" if child in ended else f"{name} is still working"


def _came_to(name: str, conclusion: Conclusion, limit: int) -> str:
    """Say what a search came to so that it cannot say anything in the name of another one: these begin with a new line."""
    if conclusion.failed or conclusion.answer is None:
        reason = " ".join(conclusion.reason.split())[:REASON_LIMIT_CHARS]
        return f"failed: {reason}" if conclusion.failed else f"found no answer: {reason}"
    answer = conclusion.answer
    cut = answer if len(answer) <= limit else answer[:limit] + " … (cut)"
    told = cut if len(cut.splitlines()) <= 1 else f"\n{fenced(f'answer of {name}', cut)}"
    return f"answers{'' if conclusion.valid else ' (not accepted by its verifiers)'}: {told}"
