"""Running agents: from an `Agent` and a `Task` to a `Result`, and on again after a kill."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from ..agents.agent import Agent
from ..agents.forking import Fork
from ..agents.prompting import Prompter
from ..agents.seeing import plainly
from ..core.budget import Ledger
from ..core.errors import JournalError, JournalVersionMismatch
from ..core.events import Event, Within
from ..core.observing import Observer
from ..core.protocols import Sandboxes, Strategy
from ..core.tree import Tree
from ..core.types import JSON, NO_USAGE, ROOT, Budget, Node, Result, Task
from ..models.accounts import CallLog
from ..tracing import observer
from .checks import check
from .fork import Beginning, share_states, taken_from
from .journal import Run, RunRecord, RunStore
from .open_files import room_for_a_run
from .records import differing, locked, more_than, new_record, questions_of, take_answers
from .resources import Listener, Resources
from .running import Running
from .scope import Scope, form_of
from .search import Asker
from .stored import usage
from .streaming import streamed
from .task_files import files_of, host_texts


class LocalRunner:
    """Runs agents in this process, each run in a folder of its own.

    Args:
        store: where the runs are kept; `BRANCHWISE_HOME`/runs unless given.
        observe: makes what looks on at a run; traces it, where the process is set up for that, unless given.
        asker: asks people what a run has to know, or has to have approved, while it goes on; unless given, a run that comes to that
            ends and waits. What was done on pages for good lives as long as the run does, so where several such things are to be
            done one after the other, people have to be there.
    """

    def __init__(
        self,
        store: RunStore | None = None,
        *,
        observe: Callable[[], Observer] = observer,
        asker: Asker | None = None,
    ) -> None:
        self._store = store
        self._observe = observe
        self._asker = asker

    @property
    def store(self) -> RunStore:
        """Where the runs are kept."""
        return self._store or RunStore()

    # --- what an agent asks for ---

    async def run(
        self, agent: Agent, task: Task, budget: Budget, *, seed: int | None = None, search: Strategy | None = None
    ) -> Result:
        """Run to the end."""
        return await self.begin(agent, task, budget, seed=seed, search=search)

    async def resume(
        self,
        agent: Agent,
        run_id: str,
        *,
        budget: Budget | None = None,
        answers: Mapping[str, JSON] | None = None,
    ) -> Result:
        """Go on with a run."""
        return await self.go_on(agent, run_id, budget=budget, answers=answers)

    def stream(
        self, agent: Agent, task: Task, budget: Budget, *, seed: int | None = None, search: Strategy | None = None
    ) -> AsyncGenerator[Event | Within | Result, None]:
        """Run and yield the events, then the result. A reader that is slow never slows the search."""
        return streamed(partial(self.begin, agent, task, budget, seed=seed, search=search))

    async def fork(
        self,
        agent: Agent,
        fork: Fork,
        budget: Budget | None,
        *,
        seed: int | None = None,
        search: Strategy | None = None,
    ) -> Result:
        """Begin a run at a node of another one, and take it to its end."""
        return await self.branch(agent, fork, budget, seed=seed, search=search)

    def stream_fork(
        self,
        agent: Agent,
        fork: Fork,
        budget: Budget | None,
        *,
        seed: int | None = None,
        search: Strategy | None = None,
    ) -> AsyncGenerator[Event | Within | Result, None]:
        """Like `fork`, but yield the events, then the result."""
        return streamed(partial(self.branch, agent, fork, budget, seed=seed, search=search))

    def explain(self, agent: Agent, task: Task) -> str:
        """Return the prompts of the first step. Reads the task's files; starts neither model nor sandbox."""
        form = form_of(agent, native=agent.form == "native")
        files = {} if (source := files_of(task)) is None else host_texts(source)
        prompter = Prompter(agent, task, form, files)
        tree = Tree(Node(ROOT, None, None))
        request = form.request(
            prompter.messages([tree.root], tree), prompter.offered([tree.root], tree), agent.sampling
        )
        parts = plainly(request.messages)
        parts += [f"--- tool {s.name} ---\n{s.description}\n{dict(s.parameters)}" for s in request.tools]
        if request.response_schema is not None:
            parts.append("--- form of the reply ---\n" + json.dumps(request.response_schema, indent=1))
        return "\n\n".join(parts)

    def compile(self, agent: Agent, checkpointer: Any = None) -> Any:
        """Return the agent as a LangGraph graph; see `Agent.compile`."""
        from .compiled import compiled  # LangGraph takes its time to load

        return compiled(self, agent, checkpointer)

    def draw(self, agent: Agent) -> str:
        """Return the machine that the agent runs as, as a Mermaid drawing."""
        from .compiled import drawn

        return drawn(agent)

    # --- what the command line asks for ---

    async def begin(
        self,
        agent: Agent,
        task: Task,
        budget: Budget,
        *,
        seed: int | None = None,
        search: Strategy | None = None,
        run_id: str | None = None,
        source: str | None = None,
        added: Sequence[str] = (),
        listener: Listener | None = None,
        started: Callable[[Running], None] | None = None,
    ) -> Result:
        """Begin a run and take it to its end.

        Args:
            agent: the agent.
            task: the task.
            budget: hard limits.
            seed: the run's seed; random unless given.
            search: strategy instead of the agent's.
            run_id: the new run's id; made up unless given.
            source: `file.py:name` of the agent, for a resume from the command line.
            added: the verifiers that the agent was given there, likewise.
            listener: told every batch of events.
            started: given the run's handle once it is under way.
        """
        strategy = search if search is not None else agent.strategy
        check(agent, strategy, task)
        record = new_record(agent, strategy, task, budget, seed=seed, run_id=run_id)
        record.source, record.added = source, [*added]
        run = self.store.create(record)
        return await self._go(agent, strategy, run, record, listener=listener, started=started)

    async def branch(
        self,
        agent: Agent,
        fork: Fork,
        budget: Budget | None = None,
        *,
        seed: int | None = None,
        search: Strategy | None = None,
        run_id: str | None = None,
        source: str | None = None,
        added: Sequence[str] = (),
        listener: Listener | None = None,
        started: Callable[[Running], None] | None = None,
    ) -> Result:
        """Begin a run at a node of another one, and take it to its end; the rest as `begin`.

        Args:
            agent: the agent, as it is without the changes.
            fork: from where, and what is changed.
            budget: hard limits of the new run; those of the other one unless given.
            seed: the new run's; random unless given.
            search: strategy instead of the agent's.
            run_id: the new run's id; made up unless given.
            source: `file.py:name` of the agent.
            added: the verifiers that the agent was given there.
            listener: told every batch of events.
            started: given the run's handle once it is under way.
        """
        origin = self.store.open(fork.run_id)
        other = origin.load()
        changed, task = fork.agent(agent), fork.task(Task(**other.task))
        strategy = search if search is not None else agent.strategy
        check(changed, strategy, task)
        limits = budget if budget is not None else Budget(**other.budget)
        # The same task in another guise depends on the seed: where the trajectory saw one, the seed stays.
        record = new_record(changed, strategy, task, limits, seed=seed, run_id=run_id)
        beginning = taken_from(origin, other, fork, self.store.folder / record.run_id)
        if beginning.disguised:
            record.seed = other.seed
            record.strategy = repr(strategy.fresh(other.seed))
        record.source, record.added, record.root_ref = source, [*added], other.root_ref
        record.forked = {"run": other.run_id, **fork.to_json(), "state": beginning.ref}
        record.team = repr(agent.team)
        # The record last: with it the run is there.
        share_states(origin.snapshots, beginning.folder / "snapshots")
        beginning.save()
        run = self.store.create(record)
        return await self._go(changed, strategy, run, record, listener=listener, started=started, forked=beginning)

    async def go_on(
        self,
        agent: Agent,
        run_id: str,
        *,
        budget: Budget | None = None,
        answers: Mapping[str, JSON] | None = None,
        search: Strategy | None = None,
        listener: Listener | None = None,
        started: Callable[[Running], None] | None = None,
    ) -> Result:
        """Take an earlier run to its end; see `Agent.resume`."""
        run = self.store.open(run_id)
        record = run.load()
        strategy = search if search is not None else agent.strategy
        forked = Beginning.load(run, agent)
        if others := differing(record, agent, repr(strategy.fresh(record.seed))):
            raise JournalVersionMismatch(
                f"run {record.run_id} was begun with {'; '.join(others)}: resume it with the same definition"
            )
        raised = budget is not None and more_than(budget, Budget(**record.budget))
        if budget is not None:
            record.budget = budget.model_dump(mode="json", exclude_defaults=True)
        if answers:
            take_answers(run, record, answers)
        agent = agent if forked is None else forked.fork.agent(agent)
        return await self._go(
            agent, strategy, run, record, listener=listener, started=started, raised=raised, forked=forked
        )

    def open_among(self, run_id: str, answers: Mapping[str, JSON]) -> dict[str, JSON]:
        """Return those of some answers that a run waits for: what a killed process has given before is not given again."""
        known = questions_of(self.store.open(run_id).load())
        return {question: answer for question, answer in answers.items() if question in known}

    async def _go(
        self,
        agent: Agent,
        strategy: Strategy,
        run: Run,
        record: RunRecord,
        *,
        listener: Listener | None,
        started: Callable[[Running], None] | None,
        raised: bool = False,
        forked: Beginning | None = None,
    ) -> Result:
        task, budget, looks_on = Task(**record.task), Budget(**record.budget), self._observe()
        async with AsyncExitStack() as stack:
            stack.enter_context(room_for_a_run())
            stack.enter_context(locked(run))
            ended = stack.enter_context(looks_on.running(record.run_id, agent.name, task, record.trace))
            record.trace = looks_on.mark() or record.trace
            run.take_over(record)
            log = stack.enter_context(CallLog(run.calls_path))
            lost = log.lost()
            saver = await stack.enter_async_context(run.saver())
            resources = Resources(
                run, record, log, saver, stack, budget, listener or (lambda _path, _events, _tree: None), looks_on
            )
            resources.raised, resources.forked, resources.asker = raised, forked, self._asker
            resources.stored = usage(saver.conn, record.run_id)
            if forked is not None:
                resources.stored[""] = resources.stored.get("", NO_USAGE) + forked.spent
            ledger = Ledger(budget, spent=resources.spent(""), elapsed_seconds=record.elapsed_seconds)
            supply = await resources.sandboxes(agent)
            if (source := files_of(task)) is not None and supply is not None:
                await _keep_origin(supply[0], source, record)
            run.save(record)
            scope = Scope(resources, ledger, record.seed, lost=lost, own=record.root_ref)
            if started is not None:
                started(Running(resources, ledger))
            try:
                result = await scope.work(agent, task, strategy=strategy, origin=record.root_ref)
            except (OSError, sqlite3.Error) as error:
                raise JournalError(f"run {record.run_id} cannot write its journal: {error}") from error
            record.status = result.stop_reason
            record.elapsed_seconds = ledger.elapsed_seconds
            record.process_started = None
            record.summary = result.to_json()
            run.save(record)
            ended(result)
            return result


async def _keep_origin(sandboxes: Sandboxes, source: Path, record: RunRecord) -> None:
    """Keep the task's files as the root's state, anew where they were pruned since the run began.

    Raises:
        JournalError: they are not what they were when the run began.
    """
    if record.root_ref is not None and sandboxes.snapshots.holds(record.root_ref):
        return
    ref = await sandboxes.keep(source)
    if record.root_ref not in {None, ref}:
        raise JournalError(
            f"the states of run {record.run_id} were removed, and its files in {str(source)!r} have changed since it began; "
            "put them back as they were, or begin a new run"
        )
    record.root_ref = ref
