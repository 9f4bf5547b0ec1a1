# LangGraph's signatures are partly untyped.
# pyright: reportUnknownMemberType=false
"""What the nodes of every graph around the searches work with, and how such a graph is taken to its end.

A node says by name which search or call it wants. What has a name is done once: asked for again, also by another process after
a kill, it returns what it came to. So a node needs no care of its own for being cut off anywhere and run again from its start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..agents.planning import ask_json
from ..core.budget import Bill
from ..core.errors import BranchwiseError, BudgetExceeded, ModelError, SandboxError, UsageError, VerifierError
from ..core.events import Judged, Score
from ..core.keys import derive_seed
from ..core.protocols import Meter, Model, Strategy, Verifier
from ..core.types import JSON, Budget, Message, ModelRequest, ModelResponse, Result, Sampling, Task, Verdict, WorkId
from ..models.retry import Retrying
from .checks import check

if TYPE_CHECKING:
    from ..agents.agent import Agent
    from ..agents.team import Team
    from .scope import Scope

T = TypeVar("T")


class Interrupted(Exception):
    """A search was stopped, or waits for people. LangGraph goes on with the same node when the run is resumed."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.stop_reason)
        self.result = result


@dataclass
class Stage:
    """A place in a run at which a graph of several searches takes place.

    Args:
        scope: pays for everything.
        agent: whose graph it is.
        task: what is to be done.
        strategy: of the agent's searches.
        origin: state of the sandbox that searches begin with; None without files.
    """

    scope: Scope
    agent: Agent
    task: Task
    strategy: Strategy
    origin: str | None
    results: dict[str, Result] = field(default_factory=dict[str, Result], init=False)
    """Of the searches that this process has seen end, by name."""

    async def search(
        self,
        name: str,
        task: Task | None = None,
        *,
        agent: Agent | None = None,
        origin: str | None = None,
        budget: Budget | None = None,
    ) -> Result:
        """Run the search of a name, or return what it came to.

        Args:
            name: unique within the graph.
            task: what it is to do; the graph's own task unless given.
            agent: who; the graph's own agent and strategy unless given.
            origin: state that it begins with; `self.origin` unless given.
            budget: what it may spend of the budget; all of it unless given.

        Raises:
            Interrupted: the run was stopped meanwhile, or the search waits for people.
            UsageError: that agent cannot do it.
            ModelError, SandboxError: it could not begin.
        """
        if name not in self.results:
            given, strategy = self.task if task is None else task, self.strategy
            if agent is not None:
                strategy = agent.strategy
                check(agent, strategy, given)
            result = await self.scope.within(name, budget).work(
                agent or self._searcher,
                given,
                strategy=strategy,
                origin=self.origin if origin is None else origin,
                once=True,
            )
            if result.stop_reason in {"interrupted", "waiting"}:
                raise Interrupted(result)
            self.results[name] = result
        return self.results[name]

    @property
    def _searcher(self) -> Agent:
        """The agent without what this graph does for it."""
        if self.agent.staged:
            return replace(self.agent, plan=None, final=(), rounds=0)
        return replace(self.agent, team=None)

    async def ask(
        self,
        name: str,
        messages: str | Sequence[Message],
        *,
        model: str | Model | None = None,
        sampling: Sampling | None = None,
        schema: Mapping[str, JSON] | None = None,
    ) -> ModelResponse:
        """Make one model call, tried again where the endpoint fails.

        Args:
            name: unique within the graph: the same words under another name are another sample.
            messages: what is asked; a text is one message of the user.
            model: who; the agent's own model unless given.
            sampling: how; the agent's own setting unless given. Its seed is replaced.
            schema: JSON schema of the reply, enforced by the server.

        Raises:
            ModelError: the model cannot be had.
            BudgetExceeded: not even a short reply fits into what is left.
        """
        given = (Message("user", messages),) if isinstance(messages, str) else tuple(messages)
        how = replace(sampling or self.agent.sampling, seed=derive_seed(self.scope.seed, name))
        asked = await self.model(model)
        return await asked.generate(ModelRequest(given, how, response_schema=schema), Meter())

    async def ask_json(
        self, name: str, prompt: str, schema: Mapping[str, JSON], *, model: str | Model | None = None
    ) -> dict[str, JSON] | None:
        """Return a reply of the form that a schema says, asked for twice if need be; None where there was none.

        Args:
            name: unique within the graph.
            prompt: what is asked.
            schema: form of the reply.
            model: who; the agent's own model unless given.

        Raises:
            ModelError: the model cannot be had.
            BudgetExceeded: not even a short reply fits into what is left.
        """
        reply, _ = await ask_json(await self.model(model), prompt, schema, seed=derive_seed(self.scope.seed, name))
        return reply

    async def model(self, named: str | Model | None = None) -> Model:
        """Return a model, the agent's own unless given, whose calls are paid here and tried again where they fail."""
        return Retrying(await self.scope.model(self.agent.model if named is None else named))

    async def judge(self, name: str, result: Result, verifiers: Sequence[Verifier]) -> tuple[Verdict, ...]:
        """Return what verifiers say of the choice of a search.

        One that cannot judge rejects: what nobody could check is not accepted.

        Args:
            name: unique within the graph.
            result: of a search of the agent; it must have chosen a node.
            verifiers: who is asked.
        """
        assert result.node is not None
        agent = replace(self.agent, verifiers=verifiers)
        solver = await self.scope.within(name).solver(agent, self.task, result.tree.root.env_ref)
        solver.past = self.scope.past_of(result)
        work, bill = Score(WorkId(0), result.node), Bill()
        with self.scope.resources.observer.working(work) as judged:
            try:
                verdicts = await solver.score(work, result.tree, bill)
            except (VerifierError, ModelError, SandboxError, BudgetExceeded) as error:
                verdicts = (Verdict(0.0, "outcome", name, passed=False, feedback=f"could not be checked: {error}"),)
            judged(Judged(work.id, work.node, verdicts, bill.usage))
        return verdicts

    async def together(self, *works: Awaitable[T]) -> list[T | BranchwiseError]:
        """Do several things at once; return what each came to, in order, a failure being the error.

        Raises:
            Interrupted: at least one was stopped or waits for people; all others have ended. It has the questions of all.
            UsageError: one of them cannot be done at all.
        """
        ended = await asyncio.gather(*works, return_exceptions=True)
        stopped = [item.result for item in ended if isinstance(item, Interrupted)]
        for item in ended:
            if isinstance(item, BaseException) and not isinstance(item, BranchwiseError | Interrupted):
                raise item
            if isinstance(item, UsageError) and not isinstance(item, BudgetExceeded):
                raise item
        if stopped:
            first = next((result for result in stopped if result.stop_reason == "interrupted"), stopped[0])
            raise Interrupted(replace(first, questions=tuple(q for result in stopped for q in result.questions)))
        return [item for item in ended if not isinstance(item, BaseException) or isinstance(item, BranchwiseError)]

    def share(self, part: float, among: Sequence[str] = ()) -> Budget:
        """Return a part, in (0, 1], of what is left of every limit; the deadline stays.

        Args:
            part: which part.
            among: names of the searches that share it; they get after a kill what they had before.
        """
        return self.scope.share(part, among)

    @property
    def spent(self) -> bool:
        """Whether a limit is used up."""
        return self.scope.ledger.share_left == 0.0


async def run_graph(graph: Any, stage: Stage, name: str) -> Any:
    """Take a graph to its end, from the beginning or from where an earlier process was; return its last state.

    Args:
        graph: an uncompiled `StateGraph` with `Stage` as its context.
        stage: where.
        name: of its thread in the journal, unique at this place.

    Raises:
        Interrupted: the run was stopped meanwhile, or waits for people.
    """
    compiled = graph.compile(checkpointer=stage.scope.resources.saver)
    config: Any = {"configurable": {"thread_id": f"{stage.scope.thread}#{name}"}, "recursion_limit": 10_000}
    saved = await compiled.aget_state(config)
    # None lets LangGraph finish the super-step in which an earlier process was killed.
    return await compiled.ainvoke(None if saved.next else {}, config=config, context=stage, durability="sync")


async def run_team(team: Team, stage: Stage) -> Result:
    """Let a team do what is to be done at a place."""
    ledger = stage.scope.ledger
    try:
        state = await run_graph(team.graph(), stage, team.name)
    except Interrupted as stopped:
        result = stopped.result
    else:
        result = await team.result(state, stage)
    return replace(result, usage=ledger.spent, seconds=ledger.elapsed_seconds, run_id=stage.scope.thread)


def state_after(result: Result, before: str | None) -> str | None:
    """Return the state of the sandbox that a search chose, or the one before it where it chose none."""
    ref = None if result.node is None else result.tree[result.node].env_ref
    return before if ref is None else ref
