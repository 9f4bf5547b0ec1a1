"""Letting a model start searches within its own: it says what is to be done, goes on working, and joins them when it wants.

Adaptive parallel reasoning (Pan et al. 2025) by tool calls, so that it works with models that were not trained for it. A search
that was started sees the words it was started with and the files as they were then, nothing else; its parent gets its conclusion,
nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ..core.errors import ToolError, UsageError
from ..core.groups import Child, Conclusion, join
from ..core.protocols import Context
from ..core.types import Budget, Node, Step, Task, ToolCall
from ..tools.tool import Tool, tool
from ..verifiers.fence import fenced

if TYPE_CHECKING:
    from .agent import Agent

ANSWER_LIMIT_CHARS = 2_000
"""A longer answer is cut before the parent sees it."""

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
    """

    agent: Agent | None = None
    width: int = 8
    depth: int = 1
    share: float = 0.5

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
        async def join(
            ctx: Context,
            helpers: list[str] | None = None,
            wait: Literal["all", "first", "ready"] = "all",
            seconds: float = 600,
        ) -> str:
            """Wait for helpers and see what they came to.

            Args:
                helpers: their names; all of them unless given.
                wait: for all; until the first has a valid answer; or not at all.
                seconds: wait at most so long.
            """
            return await starter.join(ctx, helpers or [], wait, seconds)

        return tool(effects="pure", timeout=DAY_SECONDS)(spawn), join


@dataclass(frozen=True)
class _Asked:
    """A search that a trajectory asked for."""

    name: str
    """Of the search, unique in the tree: it begins with the number of the call's node."""
    text: str
    origin: str | None
    """State that it began with."""


@dataclass(frozen=True)
class _Starter:
    setting: Spawn
    agent: Agent

    async def spawn(self, ctx: Context, tasks: Sequence[str]) -> str:
        """Start one search for each text that the trajectory has not started yet."""
        if ctx.children is None:
            raise ToolError("no helper can be started here")
        if ctx.children.depth >= self.setting.depth:
            raise ToolError("helpers cannot start helpers of their own here; do it yourself")
        texts = [text.strip() for text in tasks]
        if not texts or not all(texts):
            raise ToolError("say what each helper is to do")
        before = asked(ctx.path)
        known = {task.text: number for number, task in enumerate(before, start=1)}
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if len(before) + len(fresh) > self.setting.width:
            raise ToolError(
                f"{len(before)} helpers were started and {len(fresh)} more are asked for; {self.setting.width} is the most"
            )
        origin = await ctx.environment.snapshot() if ctx.environment is not None else None
        part = ctx.children.share(self.setting.share / max(1, len(fresh)))
        for number, text in enumerate(fresh, start=1):
            known[text] = len(before) + number
            self._start(ctx, _Asked(f"{ctx.call}.{number}", text, origin), part)
        lines = [f"h{known[text]}: {text.splitlines()[0][:80]}" for text in dict.fromkeys(texts)]
        return "\n".join(["started; go on, and join them when you need what they found:", *lines])

    async def join(
        self, ctx: Context, names: Sequence[str], wait: Literal["all", "first", "ready"], seconds: float
    ) -> str:
        """Wait for searches of the trajectory; those that an earlier process had begun go on."""
        if ctx.children is None:
            raise ToolError("there are no helpers here")
        known = {f"h{number}": task for number, task in enumerate(asked(ctx.path), start=1)}
        if unknown := [name for name in names if name not in known]:
            raise ToolError(f"there is no helper {unknown[0]!r}; there are: {', '.join(known) or 'none'}")
        if not known:
            raise ToolError("no helpers were started; start them with spawn")
        wanted = {name: task for name, task in known.items() if not names or name in names}
        part = ctx.children.share(self.setting.share / len(wanted))
        children = {name: self._start(ctx, task, part) for name, task in wanted.items()}
        ended = await join(list(children.values()), wait, seconds)
        return "\n\n".join(_told(name, child, child in ended) for name, child in children.items())

    def _start(self, ctx: Context, task: _Asked, budget: Budget) -> Child:
        assert ctx.children is not None
        given = Task(prompt=task.text, inputs=ctx.task.inputs)
        agent = self.agent
        if ctx.children.depth + 1 >= self.setting.depth:
            agent = dataclasses.replace(agent, spawn=None)
        origin = task.origin if agent.sandbox is not None else None
        running = ctx.children.start(task.name, agent, given, origin=origin, budget=budget)
        return Child(task.name, given, judged=bool(agent.verifiers or agent.final), running=running)


def asked(path: Sequence[Node]) -> list[_Asked]:
    """Return the searches that a trajectory has started, in order; the same text twice is one search."""
    found: dict[str, _Asked] = {}
    for node in path:
        for place, call in _spawned(node.step):
            texts = dict.fromkeys(str(text).strip() for text in call.arguments["tasks"])
            for number, text in enumerate([text for text in texts if text not in found], start=1):
                found[text] = _Asked(f"{node.id}.{place}.{number}", text, node.env_ref)
    return list(found.values())


def _spawned(step: Step | None) -> list[tuple[int, ToolCall]]:
    """Return the calls of a step that did start searches, with their places among its calls."""
    if step is None:
        return []
    seen = {o.call_id: o.ok for o in step.observations}
    return [(i, c) for i, c in enumerate(step.calls) if c.name == "spawn" and seen.get(c.id, False)]


def _told(name: str, child: Child, ended: bool) -> str:
    if not ended:
        return f"{name} is still working"
    return f"{name} {_came_to(name, child.conclusion())}"


def _came_to(name: str, conclusion: Conclusion) -> str:
    """Say what a search came to so that it cannot say anything in the name of another one: these begin with a new line."""
    if conclusion.failed or conclusion.answer is None:
        reason = " ".join(conclusion.reason.split())[:REASON_LIMIT_CHARS]
        return f"failed: {reason}" if conclusion.failed else f"found no answer: {reason}"
    answer = conclusion.answer
    cut = answer if len(answer) <= ANSWER_LIMIT_CHARS else answer[:ANSWER_LIMIT_CHARS] + " … (cut)"
    told = cut if len(cut.splitlines()) <= 1 else f"\n{fenced(f'answer of {name}', cut)}"
    return f"answers{'' if conclusion.valid else ' (not accepted by its verifiers)'}: {told}"
