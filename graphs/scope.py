"""One search of a run: the run's own, or one within it with a share of its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..agents.agent import Agent
from ..agents.forms import Form, JsonForm, NativeForm, TextForm
from ..agents.past import Past
from ..agents.prompting import Prompter
from ..agents.seeing import Seeing
from ..agents.solver import Solver
from ..core.budget import Ledger
from ..core.errors import UsageError
from ..core.events import Resumed
from ..core.keys import derive_seed
from ..core.protocols import AsksModels, Model, Sandboxes, Strategy
from ..core.tree import Tree
from ..core.types import NO_USAGE, ROOT, Budget, Node, Result, StopReason, Task, Usage
from ..models.accounts import Accounted
from ..models.retry import Retrying
from .children import ScopeChildren
from .fork import FIRST_SEARCHES, Beginning
from .judges import all_parts, comparing, open_judges
from .outcome import outcome
from .resources import Resources
from .retention import Kept, Retention
from .search import Search
from .task_files import first_look, texts

UNLIMITED = Budget(snapshot_bytes=None)

_PUT_ASIDE: frozenset[StopReason] = frozenset({"interrupted", "waiting"})
_CUT_SHORT: frozenset[StopReason] = frozenset({"interrupted", "waiting", "budget"})


@dataclass
class Scope:
    """A place in a run at which one search takes place: its name, what it may spend, and what the run has for it.

    What happens in it is a thread of its own in the run's journal, so a search within a killed run goes on where it was when
    the same scope is entered again.

    Args:
        resources: what all searches of the run share.
        ledger: what may be spent here.
        seed: what chance depends on here.
        path: names from the run's own search, left out, to this one, joined by "/".
        lost: what calls that a kill cut off are charged with.
        level: how many searches that something in a search started it is within.
        own: state of the task's own files, which verifiers go back to and changes are told against, wherever a search begins.
    """

    resources: Resources
    ledger: Ledger
    seed: int
    path: str = ""
    lost: Usage = NO_USAGE
    level: int = 0
    own: str | None = None
    _names: set[str] = field(default_factory=set[str], init=False, repr=False)

    @property
    def thread(self) -> str:
        """Name of the search's thread in the journal."""
        run_id = self.resources.record.run_id
        return f"{run_id}/{self.path}" if self.path else run_id

    def within(
        self, name: str, budget: Budget | None = None, *, deeper: bool = False, payer: Ledger | None = None
    ) -> Scope:
        """Return the scope of a search within this one. The same name is the same search again, after a kill.

        Args:
            name: unique among those within this scope.
            budget: what it may spend of this scope's budget; all of it unless given. Its seconds count anew in every process.
            deeper: whether something in this scope's search starts it, not a graph around the searches.
            payer: a part of this scope's ledger that pays for it, with limits of its own.

        Raises:
            UsageError: the name was taken, or has a "/" in it.
        """
        if "/" in name or name in self._names:
            raise UsageError(
                f"a search within {self.path or 'the run'!r} cannot be called {name!r}: taken, or not allowed"
            )
        self._names.add(name)
        path = f"{self.path}/{name}" if self.path else name
        spent = self.resources.spent(path)
        if payer is not None:
            payer.recall(spent)
        ledger = (payer or self.ledger).child(budget or UNLIMITED, spent=spent, whose=f"search {path!r}")
        return Scope(
            self.resources, ledger, derive_seed(self.seed, name), path, level=self.level + deeper, own=self.own
        )

    async def model(self, named: str | Model, calls: int | None = None) -> Accounted:
        """Return a model whose calls are paid from this scope's ledger.

        Args:
            named: the model.
            calls: how many of the run's calls may be at its endpoint at once, unless another search said so before.
        """
        resources = self.resources
        model = await resources.model(named)
        gate = resources.gate(model, calls or model.slots)
        return Accounted(
            model,
            self.ledger,
            resources.log,
            gate=gate,
            live=resources.meters,
            path=self.path,
            observer=resources.observer,
        )

    async def work(
        self, agent: Agent, task: Task, *, strategy: Strategy, origin: str | None = None, once: bool = False
    ) -> Result:
        """Do what the agent is: one search, a team, or the graph of its stages around either.

        Args:
            agent: the agent.
            task: what is to be done.
            strategy: of its searches.
            origin: state of the sandbox to begin with.
            once: for one search, see `search`.
        """
        if agent.limits is not None:
            return await self._limited(agent).work(
                replace(agent, limits=None), task, strategy=strategy, origin=origin, once=once
            )
        if not agent.staged and agent.team is None:
            return await self.search(agent, task, strategy=strategy, origin=origin, once=once)
        from .solve import Solve  # LangGraph takes its time to load
        from .stage import Stage, run_team

        team = Solve() if agent.staged or agent.team is None else agent.team
        return await run_team(team, Stage(self, agent, task, strategy, origin))

    def _limited(self, agent: Agent) -> Scope:
        """Return this place with the agent's own limits within what may be spent here."""
        ledger = self.ledger.child(
            agent.limits or UNLIMITED,
            spent=self.ledger.spent,
            elapsed_seconds=self.ledger.elapsed_seconds,
            whose=f"agent {agent.name!r}",
        )
        return replace(self, ledger=ledger)

    async def search(
        self,
        agent: Agent,
        task: Task,
        *,
        strategy: Strategy | None = None,
        origin: str | None = None,
        once: bool = False,
    ) -> Result:
        """Search for an answer to `task`, or go on where an earlier process was.

        Args:
            agent: the agent.
            task: what is to be done.
            strategy: instead of the agent's.
            origin: state of the sandbox to begin with.
            once: where an earlier process came to its end, return that result; else an ended search goes on.
        """
        strategy = comparing(agent, strategy if strategy is not None else agent.strategy).fresh(self.seed)
        model = agent.model if isinstance(agent.model, str) else agent.model.name
        with self.resources.observer.searching(
            self.path, agent=agent.name, model=model, strategy=strategy.name, task=task
        ) as found:
            result = await self._search(agent, task, strategy, origin, once=once)
            found(result)
        return result

    async def _search(self, agent: Agent, task: Task, strategy: Strategy, origin: str | None, *, once: bool) -> Result:
        resources = self.resources
        # A few calls more than the endpoint serves at once: one that waits there takes a slot the moment it falls free,
        # while the reply is still on its way. A few expansions more than calls: while one runs its tools, another calls.
        model = await resources.model(agent.model)
        spare = max(1, model.slots // 4)
        calls = agent.slots or model.slots + spare
        accounted = await self.model(model, calls)
        supply = await resources.sandboxes(agent)
        sandboxes, retention = supply if supply is not None else (None, None)
        solver = await self._solver(agent, task, accounted, sandboxes, origin)
        forked = self._forked
        if forked is not None:
            solver.past = await forked.settled(solver)
            resources.record.forked["state"] = forked.ref
        search = Search(
            strategy,
            solver,
            self.ledger,
            Node(ROOT, None, None, origin if forked is None else forked.ref),
            slots=calls + spare,
            listener=lambda events, tree: resources.listener(self.path, events, tree),
            replayed=solver.remember,
            resumed=Resumed(self.lost, self.ledger.elapsed_seconds),
            selector=agent.select,
            answered=resources.answered,
            asker=resources.asker,
            observer=resources.observer,
            unended=_CUT_SHORT if resources.raised else _PUT_ASIDE,
        )
        solver.children = children = ScopeChildren(self, search.report)
        try:
            tree = await self._run(search, solver, retention, once=once)
            waits = tree.stopped is not None and tree.stopped.reason == "waiting"
            asked = await children.settle() if waits else ()
        finally:
            await children.close()
        result = await outcome(tree, self.ledger, solver, retention, run_id=self.thread, origin=self.own)
        known = {question.id for question in result.questions}
        return replace(result, questions=result.questions + tuple(q for q in asked if q.id not in known))

    @property
    def _forked(self) -> Beginning | None:
        """What the search here goes on from, where the run was forked from another one."""
        return self.resources.forked if self.path in FIRST_SEARCHES else None

    def past_of(self, result: Result) -> Past | None:
        """Return what a search of the run went on from, where the run was forked from another one."""
        forked, run_id = self.resources.forked, self.resources.record.run_id
        path = result.run_id.removeprefix(run_id).removeprefix("/")
        return forked.past if forked is not None and path in FIRST_SEARCHES else None

    def share(self, part: float, among: Sequence[str] = ()) -> Budget:
        """Return a part, in (0, 1], of what is left of every limit here; the deadline stays.

        Args:
            part: which part.
            among: searches within this one that share it: what earlier processes spent on them counts as left, so that they get
                after a kill what they had before.
        """
        paths = [f"{self.path}/{name}" if self.path else name for name in among]
        return self.ledger.share(part, sum((self.resources.spent(path) for path in paths), NO_USAGE))

    async def solver(self, agent: Agent, task: Task, origin: str | None) -> Solver:
        """Return what works for an agent here, paid from this scope's ledger.

        Args:
            agent: the agent.
            task: the task.
            origin: state of the task's own files.
        """
        accounted = await self.model(agent.model)
        supply = await self.resources.sandboxes(agent)
        return await self._solver(agent, task, accounted, None if supply is None else supply[0], origin)

    async def _solver(
        self, agent: Agent, task: Task, accounted: Accounted, sandboxes: Sandboxes | None, origin: str | None
    ) -> Solver:
        form = form_of(agent, native=accounted.native_tools)
        files, look = await texts(sandboxes, origin, agent), await first_look(sandboxes, origin)
        prompter = Prompter(agent, task, form, files, self.seed, look)
        judges = await open_judges(agent, accounted, self.model)
        return Solver(
            agent,
            task,
            Seeing(Retrying(accounted), sandboxes),
            prompter,
            form,
            self.ledger,
            sandboxes,
            self.resources.log.effects(self.path),
            self.seed,
            self.own,
            {name: Seeing(judge, sandboxes) for name, judge in judges.items()},
            self.resources.observer,
        )

    async def _run(self, search: Search, solver: Solver, retention: Retention | None, *, once: bool) -> Tree:
        """Take the search to its end; its states are kept within the run's limit meanwhile."""
        from .machine import run_search

        kept = self._kept(search, solver, retention)
        self.resources.searches[self.path] = search
        if self.resources.interrupted:
            search.interrupt()
        try:
            return await run_search(search, self.resources.machine, self.thread, once=once)
        finally:
            if retention is not None and kept is not None and self.path:
                chosen = search.tree.selected
                retention.end(kept, None if chosen is None else search.tree[chosen].env_ref)

    def _kept(self, search: Search, solver: Solver, retention: Retention | None) -> Kept | None:
        states = solver.states
        if retention is None or states is None:
            return None
        kept = Kept(lambda: search.tree, search.strategy, solver.can_redo, states.in_use.keys)
        retention.add(kept)
        return kept


def form_of(agent: Agent, *, native: bool) -> Form:
    """Return the form in which an agent's model says what it does; `native`: whether the model calls tools by itself."""
    if agent.form == "text":
        return TextForm()
    if agent.form == "native" or (agent.form == "auto" and native):
        return NativeForm()
    # Where every state is judged by execution the search knows when it is done; a model need not say so.
    judged = any(
        v.scope == "state" and not isinstance(v, AsksModels) and not getattr(v, "reads_answers", False)
        for v in all_parts(agent.verifiers)
    )
    return JsonForm(may_answer=not judged)
