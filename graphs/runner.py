"""Running agents: from an `Agent` and a `Task` to a `Result`, and on again after a kill."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from ..agents.agent import Agent
from ..agents.forking import Fork
from ..agents.prompting import Prompter
from ..core.budget import LIMITS, Ledger
from ..core.errors import JournalError, JournalVersionMismatch, UsageError
from ..core.events import Event, Within
from ..core.observing import Observer
from ..core.people import Approval
from ..core.protocols import Sandboxes, Strategy
from ..core.tree import Tree
from ..core.types import JSON, NO_USAGE, ROOT, Budget, Node, Result, Task
from ..models.accounts import CallLog
from ..tracing import observer
from .checks import check
from .fork import Beginning, share_states, taken_from
from .journal import Run, RunRecord, RunStore, new_run_id, new_seed
from .resources import Listener, Resources
from .scope import Scope, form_of
from .search import Search
from .stored import usage
from .streaming import streamed
from .task_files import files_of, host_texts


@dataclass(frozen=True)
class Running:
    """A run under way: what a live view looks at, and the handle to stop it."""

    resources: Resources
    ledger: Ledger
    """Budget, spent and reserved."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.resources.record.run_id

    @property
    def search(self) -> Search | None:
        """The run's own search; within a run of several the one that began last of those that go on, or the last of all."""
        searches = self.resources.searches
        if "" in searches:
            return searches[""]
        going = [search for search in searches.values() if search.tree.stopped is None]
        known = going or list(searches.values())
        return known[-1] if known else None

    @property
    def searches_in_flight(self) -> int:
        """How many searches of the run go on."""
        return sum(search.tree.stopped is None for search in self.resources.searches.values())

    @property
    def in_flight(self) -> int:
        """Work items in flight, over all searches."""
        return sum(search.in_flight for search in self.resources.searches.values())

    @property
    def calls_in_flight(self) -> int:
        """Model calls at the server now."""
        return len(self.resources.meters)

    @property
    def tokens_in_flight(self) -> int:
        """Tokens that the calls in flight have sampled so far."""
        return sum(meter.completion_tokens for meter in self.resources.meters.values())

    def interrupt(self) -> None:
        """Stop soon with the best so far; the run can be resumed."""
        self.resources.interrupt()


class LocalRunner:
    """Runs agents in this process, each run in a folder of its own.

    Args:
        store: where the runs are kept; `BRANCHWISE_HOME`/runs unless given.
        observe: makes what looks on at a run; traces it, where the process is set up for that, unless given.
    """

    def __init__(self, store: RunStore | None = None, *, observe: Callable[[], Observer] = observer) -> None:
        self._store = store
        self._observe = observe

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
            source: `file.py:name` of the agent, for a resume from the command line.
            added: the verifiers that the agent was given there, likewise.
            listener: told every batch of events.
            started: given the run's handle once it is under way.
        """
        strategy = search if search is not None else agent.strategy
        check(agent, strategy, task)
        record = _record(agent, strategy, task, budget, new_seed() if seed is None else seed)
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
        record = _record(changed, strategy, task, limits, new_seed() if seed is None else seed)
        beginning = taken_from(origin, other, agent, fork, self.store.folder / record.run_id)
        if beginning.disguised:
            record.seed = other.seed
            record.strategy = repr(strategy.fresh(other.seed))
        record.source, record.added, record.root_ref = source, [*added], other.root_ref
        record.forked = {"run": other.run_id, **fork.to_json(), "state": beginning.ref}
        record.team = repr(agent.team)
        run = self.store.create(record)
        share_states(origin.snapshots, run.snapshots)
        beginning.save()
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
        if differing := _differing(record, agent, repr(strategy.fresh(record.seed))):
            raise JournalVersionMismatch(
                f"run {record.run_id} was begun with {'; '.join(differing)}: resume it with the same definition"
            )
        raised = budget is not None and _more(budget, Budget(**record.budget))
        if budget is not None:
            record.budget = budget.model_dump(mode="json", exclude_defaults=True)
        if answers:
            _take_answers(run, record, answers)
        agent = agent if forked is None else forked.fork.agent(agent)
        return await self._go(
            agent, strategy, run, record, listener=listener, started=started, raised=raised, forked=forked
        )

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
            stack.enter_context(_locked(run))
            ended = stack.enter_context(looks_on.running(record.run_id, agent.name, task, record.trace))
            record.trace = looks_on.mark() or record.trace
            run.take_over(record)
            log = stack.enter_context(CallLog(run.calls_path))
            lost = log.lost()
            saver = await stack.enter_async_context(run.saver())
            resources = Resources(
                run, record, log, saver, stack, budget, listener or (lambda _path, _events, _tree: None), looks_on
            )
            resources.raised, resources.forked = raised, forked
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


def _record(agent: Agent, strategy: Strategy, task: Task, budget: Budget, seed: int) -> RunRecord:
    """Return the record of a new run."""
    return RunRecord(
        run_id=new_run_id(),
        agent=agent.name,
        task=task.model_dump(mode="json"),
        budget=budget.model_dump(mode="json", exclude_defaults=True),
        seed=seed,
        strategy=repr(strategy.fresh(seed)),
        selector=repr(agent.select),
        team=repr(agent.team),
        variants=[variant.name for variant in agent.variants],
        model=agent.model if isinstance(agent.model, str) else agent.model.name,
    )


def _differing(record: RunRecord, agent: Agent, strategy: str) -> list[str]:
    """Return what a run was begun with where the agent is another now."""
    now = {
        "agent": agent.name,
        "strategy": strategy,
        "selector": repr(agent.select),
        "team": repr(agent.team),
        "variants": [variant.name for variant in agent.variants],
    }
    return [f"{name} {getattr(record, name)}, not {it}" for name, it in now.items() if getattr(record, name) != it]


def _more(new: Budget, old: Budget) -> bool:
    """Whether one budget allows more of something than another one."""
    pairs = [(getattr(new, name), getattr(old, name)) for name in (*LIMITS, "seconds")]
    return any(before is not None and (now is None or now > before) for now, before in pairs)


def _take_answers(run: Run, record: RunRecord, answers: Mapping[str, JSON]) -> None:
    """Keep what people answered where the run will find it.

    Raises:
        UsageError: a question is not open, or the answer is none to it.
    """
    rows: list[dict[str, JSON]] = record.summary.get("questions", [])
    kinds = {str(row["id"]): str(row["kind"]) for row in rows}
    for question, answer in answers.items():
        if question not in kinds:
            raise UsageError(
                f"run {record.run_id} has no question {question!r}; open are: {', '.join(kinds) or 'none'}"
            )
        if kinds[question] == "approve":
            Approval.read(answer)
        if answer is None:
            raise UsageError(f"None is no answer to question {question!r}")
    with _locked(run), CallLog(run.calls_path) as log:
        for question, answer in answers.items():
            log.give_answer(question, answer)


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
