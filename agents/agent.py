"""`Agent`: what a user defines, and the door to running it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from ..core.errors import UsageError
from ..core.events import Event, Within
from ..core.protocols import Memory, Model, SandboxSpec, Selector, Strategy, Variant, Verifier
from ..core.types import JSON, Budget, Recall, Result, Sampling, Task
from ..search import BestOfN
from ..tools.tool import Tool, check_limits, flatten
from ..verifiers.combining import check_together
from .acting import Approve
from .forking import Fork
from .planner import Planner
from .spawning import Spawn
from .team import Team

T = TypeVar("T")

FormName = Literal["auto", "native", "json", "text"]
ContextSetting = Literal["none", "list", "files"] | Sequence[str]


@dataclass(frozen=True)
class Agent:
    """A solver with tools and verifiers, and the strategy by which its trajectories are searched.

    Without `search` the agent runs once, like any other; `search=` is the only line that changes to search.

    Args:
        name: what runs and views call it.
        instructions: what it is and how it should work; becomes part of the system prompt.
        model: `provider:model` (`embedded:...`, `vllm:...`, `openai:...`) or a `Model`.
        tools: functions decorated with `@tool`, and toolsets.
        verifiers: judges of what it does; a trajectory that all of them accept ends the search.
        search: strategy; None runs one trajectory.
        select: chooses among the answers where the verifiers accepted none; the strategy's own choice unless given.
        variants: other ways of putting the task, for strategies that ask in several ways.
        memory: what was learnt in earlier runs, for strategies that look things up there.
        sandbox: where its tools work; needed by tools that use `ctx.sandbox` and by verifiers that run code.
        spawn: lets the model start searches of its own and join them.
        team: several searches and calls that make one answer, instead of one search.
        plan: a planner that may divide the task before the search; the parts are searches of their own.
        final: verifiers that judge the choice at the end. They had better not be those that guide the search.
        rounds: how often to search again, with what was said, where the choice was not accepted.
        limits: what it may spend wherever it works: as the run's own agent, within the run's budget, and in every search that it
            is given within another one.
        approve: which actions a person has to approve before they are done: those with `external` effects, all, or none.
        sampling: how the model is sampled.
        form: how the model says what it does. `native` uses the server's tool calling, `json` one JSON object per turn
            that the server's grammar enforces (for small models), `text` plain text without tools, which alone can be
            sampled in segments, `auto` native or json, what the model is known to do well.
        context: what the first message shows of the task's files: nothing, their `list`, all `files`, or the files that one
            of some patterns matches, such as `["*.py", "src/*.py"]`; a `*` stays within its folder.
        thought: what its turns say before they name a tool, where the form is enforced.
        example: a solved task as turns of the form that is enforced; where one is, the system prompt ends with it. Small models do what
            they see there.
        outline: show signatures and docstrings of Python files instead of their code, and name the functions that the
            verifiers' first feedback mentions; helps small models to find the place and keeps them from copying a bug.
        window: turns that prompts show with all that they saw, the last ones; of earlier ones the first line of what they saw. None:
            all of them. For tools that show the whole state each time, such as pages.
        distinct: show the model what other trajectories did next from the same place, so that it does something else: without that a
            small model does the same again. What the prompt says then depends on what was there first.
        screenshot: show the model beside its text a picture of the page as it is now, with its references; for models that see.
        recall: what prompts show of the memory at every step, whatever the strategy asks for.
        slots: model calls in flight at once; the endpoint's own number unless given.
    """

    name: str
    model: str | Model
    instructions: str = ""
    tools: Sequence[Any] = ()
    verifiers: Sequence[Verifier] = ()
    search: Strategy | None = None
    select: Selector | None = None
    variants: Sequence[Variant] = ()
    memory: Memory | None = None
    sandbox: SandboxSpec | None = None
    spawn: Spawn | None = None
    team: Team | None = None
    plan: Planner | None = None
    final: Sequence[Verifier] = ()
    rounds: int = 0
    limits: Budget | None = None
    approve: Approve = "external"
    sampling: Sampling = field(default_factory=Sampling)
    form: FormName = "auto"
    context: ContextSetting = "list"
    thought: str = "one or two sentences"
    example: str = ""
    outline: bool = False
    window: int | None = None
    distinct: bool = False
    screenshot: bool = False
    recall: Recall | None = None
    slots: int | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("an agent needs a name: Agent(name='coder', ...)")
        if isinstance(self.model, str) and ":" not in self.model:
            raise UsageError(
                f"model={self.model!r} names no provider; write for example 'embedded:{self.model}' or 'openai:{self.model}'"
            )
        if (self.slots is not None and self.slots < 1) or self.rounds < 0:
            raise UsageError(
                f"slots={self.slots}, rounds={self.rounds}; at least one model call must be allowed at once, and 0 rounds or more"
            )
        if self.window is not None and self.window < 1:
            raise UsageError(f"window={self.window}; prompts must show what 1 turn saw at least, or None for all")
        if self.recall is not None and self.memory is None:
            raise UsageError(
                f"agent {self.name!r} has recall=... and no memory; give it one: Agent(memory=bw.memory.Store())"
            )
        if isinstance(self.context, str) and self.context not in ("none", "list", "files"):
            raise UsageError(
                f"context={self.context!r}; allowed are 'none', 'list', 'files' or patterns of files, such as ['*.py']"
            )
        self._check_kinds()
        check_together(f"agent {self.name!r}", self.verifiers)
        if flatten(self.tools) and self.form == "text":
            raise UsageError(f"agent {self.name!r} has tools and form='text', in which none can be called; take 'auto'")
        if getattr(self.select, "needs_logprobs", False) and self.sampling.logprobs is None:
            raise UsageError(
                f"select={self.select!r} needs log-probabilities; ask for them: Agent(sampling=bw.Sampling(logprobs=0))"
            )
        if (asked := getattr(self.search, "variants", 0)) > len(self.variants):
            raise UsageError(
                f"search={self.search!r} asks for {asked} variants of the task, and agent {self.name!r} has "
                f"{len(self.variants)}; give it more: Agent(variants=[...])"
            )

    def _check_kinds(self) -> None:
        for verifier in (*self.verifiers, *self.final):
            if not hasattr(verifier, "judge"):
                raise UsageError(f"{verifier!r} is no verifier; decorate the function with @branchwise.verifier")
        if self.limits is not None:
            check_limits(f"agent {self.name!r}", self.limits)
        team: Any = self.team
        if team is not None and not isinstance(team, Team):
            raise UsageError(f"team={self.team!r} is no team; take one of branchwise.teams")

    @property
    def toolbox(self) -> tuple[Tool, ...]:
        """All tools, toolsets unpacked; those for searches within the search last."""
        return flatten(self.tools) + (self.spawn.tools(self) if self.spawn is not None else ())

    @property
    def strategy(self) -> Strategy:
        """The strategy as configured: `search`, or one trajectory."""
        return self.search if self.search is not None else BestOfN(n=1)

    @property
    def staged(self) -> bool:
        """Whether there is more to a run than one search: a plan, a last judgement, or further rounds."""
        return self.plan is not None or bool(self.final) or self.rounds > 0

    # --- running ---

    async def run(
        self,
        task: str | Task,
        *,
        files: str | Path | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        search: Strategy | None = None,
    ) -> Result:
        """Search for an answer to `task` and return the best that the budget allowed.

        Args:
            task: what is to be done.
            files: folder or archive (tar, zip) that is copied into the sandbox; never changed itself.
            budget: hard limits; none unless given.
            seed: makes the strategy's choices and the samples' seeds repeatable; random unless given.
            search: overrides the agent's own strategy for this run.

        Raises:
            UsageError: the agent or the task cannot work as given.
            ModelError, SandboxError, CatalogError: model or sandbox could not be had at the start. Failures later on end
                branches, not the run.
        """
        return await _runner().run(self, _task(task, files), budget or Budget(), seed=seed, search=search)

    def run_sync(self, task: str | Task, **options: Any) -> Result:
        """`run` for callers without an event loop; takes the same options."""
        return _block_on(self.run(task, **options))

    def stream(
        self,
        task: str | Task,
        *,
        files: str | Path | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        search: Strategy | None = None,
    ) -> AsyncGenerator[Event | Within | Result, None]:
        """Like `run`, but yield every event as it happens and the `Result` last.

        Leaving the loop early stops the run, which can be resumed; `contextlib.aclosing` waits until it has stopped.
        """
        return _runner().stream(self, _task(task, files), budget or Budget(), seed=seed, search=search)

    async def resume(
        self, run_id: str, *, budget: Budget | None = None, answers: Mapping[str, JSON] | None = None
    ) -> Result:
        """Go on with a run that was killed, interrupted, ran out of budget, or waits for people.

        Args:
            run_id: id of the run, or a unique beginning of it.
            budget: new limits, counted from the run's beginning; those it was begun with unless given.
            answers: what people answered, by the ids of `Result.questions`.

        Raises:
            UsageError: no such run, or it is running in another process.
            JournalVersionMismatch: it was begun by another version or for another agent.
        """
        return await _runner().resume(self, run_id, budget=budget, answers=answers)

    async def fork(
        self,
        run_id: str,
        node: int | str | None = None,
        *,
        instructions: str | None = None,
        model: str | Model | None = None,
        prompt: str | None = None,
        action: Mapping[str, JSON] | None = None,
        budget: Budget | None = None,
        seed: int | None = None,
        search: Strategy | None = None,
    ) -> Result:
        """Begin a new run at a node of an earlier one, or of one that goes on, with something changed.

        The trajectory to the node and its state are taken over, and nothing of it is paid again. The earlier run stays as it is,
        and the new one needs it no more; it is resumed with the same agent, like any.

        Args:
            run_id: id of the earlier run, or a unique beginning of it.
            node: where; the chosen node unless given. A node of a search within the run is its path and number: "try1/3".
            instructions: the agent's from here on.
            model: the agent's from here on.
            prompt: the task's, as if it had been so from the beginning.
            action: done at the node in place of what the model did there: `{"tool": ..., "arguments": {...}}`.
            budget: hard limits of the new run; those of the earlier one unless given.
            seed: of the new run; random unless given.
            search: strategy instead of the agent's own.

        Raises:
            UsageError: there is no such node, nothing can follow on it, or the changes cannot be made.
        """
        fork = Fork(run_id, node, instructions, model, prompt, action)
        return await _runner().fork(self, fork, budget, seed=seed, search=search)

    def stream_fork(
        self,
        run_id: str,
        node: int | str | None = None,
        *,
        budget: Budget | None = None,
        seed: int | None = None,
        search: Strategy | None = None,
        **changes: Any,
    ) -> AsyncGenerator[Event | Within | Result, None]:
        """Like `fork`, but yield every event as it happens and the `Result` last."""
        return _runner().stream_fork(self, Fork(run_id, node, **changes), budget, seed=seed, search=search)

    def compile(self, checkpointer: Any = None) -> Any:
        """Return the agent as a LangGraph `CompiledStateGraph`, to be invoked, or put into another graph as a node or subgraph.

        Its input has `task`, and if wanted `files`, `budget`, `seed`, or `fork` with what `fork` takes; its output what `Result` has.
        Stream mode "custom" yields the run's events. Where people are asked it interrupts with the questions and the JSON schema of
        the answers; `Command(resume={question id: answer})` goes on. It is asynchronous: call `ainvoke` or `astream`.

        With a checkpointer, or in a graph that has one, a graph that was killed goes on with the same run.

        Args:
            checkpointer: LangGraph's, as `StateGraph.compile` takes it.
        """
        return _runner().compile(self, checkpointer)

    def draw(self) -> str:
        """Return the machine that the agent runs as, as a Mermaid drawing: its team, its stages, or one search."""
        return _runner().draw(self)

    def explain(self, task: str | Task = "…", *, files: str | Path | None = None) -> str:
        """Return every prompt that would be sent for the first step, as text."""
        return _runner().explain(self, _task(task, files))


class Runner(Protocol):
    """What runs agents; `branchwise.graphs` provides it."""

    async def run(
        self, agent: Agent, task: Task, budget: Budget, *, seed: int | None, search: Strategy | None
    ) -> Result:
        """Run to the end."""
        ...

    def stream(
        self, agent: Agent, task: Task, budget: Budget, *, seed: int | None, search: Strategy | None
    ) -> AsyncGenerator[Event | Within | Result, None]:
        """Run and yield the events."""
        ...

    async def resume(
        self, agent: Agent, run_id: str, *, budget: Budget | None, answers: Mapping[str, JSON] | None
    ) -> Result:
        """Go on with a run."""
        ...

    async def fork(
        self, agent: Agent, fork: Fork, budget: Budget | None, *, seed: int | None, search: Strategy | None
    ) -> Result:
        """Begin a run at a node of another one."""
        ...

    def stream_fork(
        self, agent: Agent, fork: Fork, budget: Budget | None, *, seed: int | None, search: Strategy | None
    ) -> AsyncGenerator[Event | Within | Result, None]:
        """The same, yielding the events."""
        ...

    def compile(self, agent: Agent, checkpointer: Any) -> Any:
        """Return a graph."""
        ...

    def draw(self, agent: Agent) -> str:
        """Return a drawing."""
        ...

    def explain(self, agent: Agent, task: Task) -> str:
        """Show the prompts."""
        ...


_installed: list[Runner] = []


def install_runner(runner: Runner) -> None:
    """Set what runs agents from now on, in place of `branchwise.graphs.LocalRunner()`."""
    _installed[:] = [runner]


def _runner() -> Runner:
    if not _installed:
        # Agents stand below the machines that run them, and describing one should not load those.
        install_runner(import_module("..graphs", __package__).LocalRunner())
    return _installed[0]


def _task(task: str | Task, files: str | Path | None) -> Task:
    if isinstance(task, Task):
        if files is not None:
            raise UsageError("give files in the Task or beside it, not both")
        return task
    if not task.strip():
        raise UsageError("the task is empty; say what is to be done")
    return Task(prompt=task, files=None if files is None else str(files))


def _block_on(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    coroutine.close()
    raise UsageError("run_sync was called inside an event loop; use `await agent.run(...)` there")
