"""Running agents: from an `Agent` and a `Task` to a `Result`, and on again after a kill."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..agents.agent import Agent
from ..agents.forms import Form, JsonForm, NativeForm, TextForm
from ..agents.prompting import Prompter
from ..agents.solver import Solver
from ..core.budget import Ledger
from ..core.errors import JournalError, JournalVersionMismatch, UsageError
from ..core.events import Event, Resumed
from ..core.protocols import AsksModels, Committing, Recalling, Sandboxes, Strategy
from ..core.tree import Tree
from ..core.types import ROOT, Budget, Node, Result, Task, Usage
from ..models.accounts import Accounted, CallLog
from ..models.retry import Retrying
from .journal import Run, RunRecord, RunStore, new_run_id, new_seed
from .judges import all_parts, comparing, open_judges, open_model
from .outcome import outcome
from .retention import Retention
from .search import Search
from .task_files import files_of, host_texts, texts

Listener = Callable[[Sequence[Event], Tree], None]


@dataclass
class Running:
    """A run under way: what a live view looks at, and the handle to stop it."""

    run_id: str
    search: Search
    accounted: Accounted
    strategy: Strategy

    @property
    def tree(self) -> Tree:
        """The tree so far."""
        return self.search.tree

    @property
    def ledger(self) -> Ledger:
        """Budget, spent and reserved."""
        return self.search.ledger

    @property
    def calls_in_flight(self) -> int:
        """Model calls at the server now."""
        return len(self.accounted.live)

    @property
    def tokens_in_flight(self) -> int:
        """Tokens that the calls in flight have sampled so far."""
        return sum(meter.completion_tokens for meter in self.accounted.live.values())

    def interrupt(self) -> None:
        """Stop soon with the best so far; the run can be resumed."""
        self.search.interrupt()


class LocalRunner:
    """Runs agents in this process, each run in a folder of its own.

    Args:
        store: where the runs are kept; `BRANCHWISE_HOME`/runs unless given.
    """

    def __init__(self, store: RunStore | None = None) -> None:
        self._store = store

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

    async def resume(self, agent: Agent, run_id: str, *, budget: Budget | None = None) -> Result:
        """Go on with a run."""
        return await self.go_on(agent, run_id, budget=budget)

    async def stream(
        self, agent: Agent, task: Task, budget: Budget, *, seed: int | None = None, search: Strategy | None = None
    ) -> AsyncGenerator[Event | Result, None]:
        """Run and yield the events, then the result. A reader that is slow never slows the search."""
        queue: asyncio.Queue[Event | Result | BaseException] = asyncio.Queue()
        running: list[Running] = []

        def take(events: Sequence[Event], _tree: Tree) -> None:
            for event in events:
                queue.put_nowait(event)

        async def work() -> None:
            try:
                result = await self.begin(
                    agent, task, budget, seed=seed, search=search, listener=take, started=running.append
                )
                queue.put_nowait(result)
            except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
                queue.put_nowait(error)

        background = asyncio.create_task(work())
        try:
            while True:
                item = await queue.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if isinstance(item, Result):
                    return
        finally:
            for run in running:
                run.interrupt()
            if not background.done() and not running:
                background.cancel()
            with suppress(asyncio.CancelledError):
                await background

    def explain(self, agent: Agent, task: Task) -> str:
        """Return the prompts of the first step. Reads the task's files; starts neither model nor sandbox."""
        form = _form(agent, native=agent.form == "native")
        files = {} if (source := files_of(task)) is None else host_texts(source)
        prompter = Prompter(agent, task, form, files)
        tree = Tree(Node(ROOT, None, None))
        request = form.request(prompter.messages([tree.root], tree), prompter.specs, agent.sampling)
        parts = [f"--- {message.role} ---\n{message.content}" for message in request.messages]
        parts += [f"--- tool {s.name} ---\n{s.description}\n{dict(s.parameters)}" for s in request.tools]
        if request.response_schema is not None:
            parts.append("--- form of the reply ---\n" + json.dumps(request.response_schema, indent=1))
        return "\n\n".join(parts)

    # --- what the command line asks for ---

    async def begin(
        self,
        agent: Agent,
        task: Task,
        budget: Budget,
        *,
        seed: int | None = None,
        search: Strategy | None = None,
        source: str | None = None,
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
            source: `file.py:name` of the agent, for a resume from the command line.
            listener: told every batch of events.
            started: given the run's handle once it is under way.
        """
        strategy = search if search is not None else agent.strategy
        _check(agent, strategy, task)
        seed = new_seed() if seed is None else seed
        record = RunRecord(
            run_id=new_run_id(),
            agent=agent.name,
            task=task.model_dump(mode="json"),
            budget=budget.model_dump(mode="json", exclude_defaults=True),
            seed=seed,
            strategy=repr(strategy.fresh(seed)),
            selector=repr(agent.select),
            model=agent.model if isinstance(agent.model, str) else agent.model.name,
            source=source,
        )
        run = self.store.create(record)
        return await self._go(agent, strategy, run, record, listener=listener, started=started)

    async def go_on(
        self,
        agent: Agent,
        run_id: str,
        *,
        budget: Budget | None = None,
        search: Strategy | None = None,
        listener: Listener | None = None,
        started: Callable[[Running], None] | None = None,
    ) -> Result:
        """Take an earlier run to its end; see `Agent.resume`."""
        run = self.store.open(run_id)
        record = run.load()
        strategy = search if search is not None else agent.strategy
        began = (record.agent, record.strategy, record.selector)
        if began != (agent.name, repr(strategy.fresh(record.seed)), repr(agent.select)):
            raise JournalVersionMismatch(
                f"run {record.run_id} was begun by agent {record.agent!r} with {record.strategy}, select={record.selector}; "
                f"this is {agent.name!r} with {strategy!r}, select={agent.select!r}: resume it with the same definition"
            )
        if budget is not None:
            record.budget = budget.model_dump(mode="json", exclude_defaults=True)
        return await self._go(agent, strategy, run, record, listener=listener, started=started)

    async def _go(
        self,
        agent: Agent,
        strategy: Strategy,
        run: Run,
        record: RunRecord,
        *,
        listener: Listener | None,
        started: Callable[[Running], None] | None,
    ) -> Result:
        from .machine import run_search, search_graph  # LangGraph takes its time to load

        task, budget = Task(**record.task), Budget(**record.budget)
        async with AsyncExitStack() as stack:
            stack.enter_context(_locked(run))
            run.take_over(record)
            log = stack.enter_context(CallLog(run.calls_path))
            lost = log.lost()
            model = await open_model(agent.model, stack)
            sandboxes = await _open_sandboxes(agent, run, stack)
            if (source := files_of(task)) is not None and sandboxes is not None:
                await _keep_origin(sandboxes, source, record)
            run.save(record)
            saver = await stack.enter_async_context(run.saver())
            graph = search_graph().compile(checkpointer=saver)  # pyright: ignore[reportUnknownMemberType]  # partly untyped

            ledger = Ledger(budget, elapsed_seconds=record.elapsed_seconds)
            # A few calls more than the endpoint serves at once: one that waits there takes a slot the moment it falls free,
            # while the reply is still on its way. A few expansions more than calls: while one runs its tools, another calls.
            spare = max(1, model.slots // 4)
            calls = agent.slots or model.slots + spare
            accounted = Accounted(model, ledger, log, asyncio.Semaphore(calls))
            form = _form(agent, native=model.native_tools)
            prompter = Prompter(agent, task, form, await texts(sandboxes, record.root_ref, agent), record.seed)
            judges = await open_judges(agent, accounted, stack)
            solver = Solver(
                agent, task, Retrying(accounted), prompter, form, ledger, sandboxes, log, record.seed, judges
            )
            search = Search(
                comparing(agent, strategy).fresh(record.seed),
                solver,
                ledger,
                Node(ROOT, None, None, record.root_ref),
                slots=calls + spare,
                listener=listener or (lambda _events, _tree: None),
                replayed=lambda tree: _after_replay(tree, solver, ledger, log),
                resumed=Resumed(lost, record.elapsed_seconds),
                selector=agent.select,
            )
            retention = _retained(search, solver, budget)
            if started is not None:
                started(Running(record.run_id, search, accounted, strategy))
            try:
                tree = await run_search(search, graph, record.run_id)
            except (OSError, sqlite3.Error) as error:
                raise JournalError(f"run {record.run_id} cannot write its journal: {error}") from error
            result = await outcome(tree, ledger, solver, retention, record)
            record.status = result.stop_reason
            record.elapsed_seconds = ledger.elapsed_seconds
            record.process_started = None
            record.summary = result.to_json()
            run.save(record)
            return result


def _after_replay(tree: Tree, solver: Solver, ledger: Ledger, log: CallLog) -> None:
    """Charge what earlier processes spent: model calls as the log has them, everything else as the journal has it."""
    calls, other = log.spent(), tree.usage
    ledger.charge(
        Usage(
            calls.prompt_tokens,
            calls.cached_tokens,
            calls.completion_tokens,
            calls.cancelled_tokens,
            calls.calls,
            other.verifier_calls,
            other.tool_calls,
            other.sandbox_seconds,
            calls.usd,
            len(tree) - 1,
            other.snapshot_bytes,
        )
    )
    solver.remember(tree)


def _check(agent: Agent, strategy: Strategy, task: Task) -> None:
    """Refuse combinations that cannot work, before anything is started.

    Raises:
        UsageError: with what to change.
    """
    if isinstance(strategy, Recalling) and strategy.recalls and agent.memory is None:
        raise UsageError(
            f"{strategy.name} looks things up in the agent's memory, and agent {agent.name!r} has none; give it one: "
            "Agent(memory=bw.memory.Store('memory.sqlite'))"
        )
    commits = isinstance(strategy, Committing) and strategy.commits
    if (
        strategy.speculative
        and not commits
        and (external := [t.name for t in agent.toolbox if t.effects == "external"])
    ):
        raise UsageError(
            f"tool {external[0]!r} has external effects, and {strategy.name} runs branches that it may throw away; use it "
            "without search, with one that commits itself (search.CommitSearch), or split the action off"
        )
    if agent.sandbox is None:
        needy = [t.name for t in agent.toolbox if t.wants_context and t.effects == "sandbox"]
        needy += [v.name for v in all_parts(agent.verifiers) if v.scope == "state" and not isinstance(v, AsksModels)]
        if needy:
            raise UsageError(
                f"{needy[0]!r} works in a sandbox and agent {agent.name!r} has none; give it one: "
                "Agent(sandbox=bw.sandboxes.Docker())"
            )
        if task.files is not None:
            raise UsageError(f"the task has files but agent {agent.name!r} has no sandbox to put them into")
    if agent.select is not None and (sets := [v.name for v in agent.verifiers if v.scope == "set"]):
        raise UsageError(
            f"verifier {sets[0]!r} compares the answers and chooses among them, and so does select={agent.select!r}; leave one out"
        )
    if (files := files_of(task)) is not None and not files.exists():
        raise UsageError(f"files={task.files!r} is no folder or archive")


def _form(agent: Agent, *, native: bool) -> Form:
    if agent.form == "text":
        return TextForm()
    if agent.form == "native" or (agent.form == "auto" and native):
        return NativeForm()
    # Where every state is judged by execution the search knows when it is done; a model need not say so.
    judged = any(v.scope == "state" and not isinstance(v, AsksModels) for v in all_parts(agent.verifiers))
    return JsonForm(may_answer=not judged)


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


async def _open_sandboxes(agent: Agent, run: Run, stack: AsyncExitStack) -> Sandboxes | None:
    if agent.sandbox is None:
        return None
    sandboxes = await agent.sandbox.start(run.folder.name, run.snapshots)
    stack.push_async_callback(sandboxes.aclose)
    return sandboxes


def _retained(search: Search, solver: Solver, budget: Budget) -> Retention | None:
    """Have the run's states kept within the budget's limit."""
    states = solver.states
    if solver.sandboxes is None or states is None:
        return None
    limit = budget.snapshot_bytes
    retention = Retention(
        solver.sandboxes.snapshots,
        limit or 0,
        tree=lambda: search.tree,
        strategy=search.strategy,
        can_redo=solver.can_redo,
        in_use=states.in_use.keys,
    )
    solver.sandboxes.snapshots.bound(limit, retention.make_room)
    return retention


@contextmanager
def _locked(run: Run) -> Generator[IO[str]]:
    """Hold the run for this process; the kernel lets it go if the process dies.

    Raises:
        UsageError: another process is running it.
    """
    with (run.folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UsageError(f"run {run.folder.name} is going on in process {file.read().strip() or '?'}") from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield file
