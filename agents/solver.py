"""The solver: takes one turn from a node, and has nodes judged. The search machine's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..core.budget import Bill, Ledger
from ..core.errors import (
    UsageError,
)
from ..core.events import Expand, Expanded, Score
from ..core.keys import derive_seed
from ..core.observing import UNOBSERVED, Observer
from ..core.protocols import AsksModels, Candidate, Children, Composed, Context, Meter, Model, Sandboxes, Verifier
from ..core.tree import Tree, TreeView
from ..core.types import (
    ROOT,
    Node,
    NodeId,
    Observation,
    Place,
    Sampling,
    Step,
    Task,
    ToolCall,
    Usage,
    Verdict,
    WorkId,
)
from .acting import Actor, People, Refusable
from .agent import Agent
from .billing import Billed
from .forms import Form, Turn
from .past import Past
from .prompting import Prompter
from .recalling import always, recalled
from .segments import segment
from .states import States

HELD = "Not done yet: this has effects outside, and is done when the search commits itself to it."
"""What the trajectory shows of a call that was held back."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a step's calls."""

    observations: tuple[Observation, ...]
    env_ref: str | None
    """The state after them."""
    place: Place | None = None
    over: bool = False
    """Whether the environment has come to an end by itself: nothing can be done in it any more."""

    def node(self, number: NodeId, parent: Node, step: Step, usage: Usage, answer: str | None = None) -> Node:
        """Return the step's node; what ended by itself has an answer, if an empty one."""
        if self.over and answer is None:
            answer = ""
        return Node(number, parent.id, step, self.env_ref, parent.depth + 1, usage, answer, self.place)


@dataclass
class Solver:
    """One run's solver: the agent's model, tools, verifiers and sandboxes, under the run's budget.

    Args:
        agent: the agent.
        task: the task.
        model: the agent's model, already accounted and retrying.
        prompter: renders messages.
        form: the form of a turn.
        ledger: what pays for tools, verifiers and sandbox time.
        sandboxes: supply of environments; None for an agent without a sandbox.
        effects: log of external effects, and of what people have answered.
        seed: the run's seed.
        own: state of the task's own files, before anything touched them; a search may begin with another one.
        judges: the models that verifiers have for themselves, by name, likewise accounted and retrying.
        observer: looks on at tools and verifiers.
        children: where tool calls start searches within this one.
        past: the trajectory that the search goes on from, where it was forked.
    """

    agent: Agent
    task: Task
    model: Model
    prompter: Prompter
    form: Form
    ledger: Ledger
    sandboxes: Sandboxes | None
    effects: People
    seed: int
    own: str | None = None
    judges: Mapping[str, Model] = field(default_factory=dict[str, Model])
    observer: Observer = UNOBSERVED
    children: Children | None = None
    past: Past | None = None
    _judged: dict[tuple[str, str], Verdict] = field(default_factory=dict[tuple[str, str], Verdict])
    """Verdicts by verifier and environment state: an equal state is not judged again."""
    _judging: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict[tuple[str, str], asyncio.Lock])
    actor: Actor = field(init=False)
    states: States | None = field(init=False)

    def __post_init__(self) -> None:
        self.actor = Actor(self.agent.toolbox, self.task, self.ledger, self.effects, self.observer)
        self.states = None if self.sandboxes is None else States(self.sandboxes, self.ledger)

    # --- one more step ---

    async def expand(self, work: Expand, tree: Tree, bill: Bill) -> Node:
        """Sample a turn after `work.node`, run its calls in a fork of the node's environment, and return the new node."""
        parent = tree[work.node]
        path, view = self._whole(tree.path(work.node)), self._view(tree)
        if work.external == "release":
            return await self._release(work, path, parent, bill)
        framing = always(work.framing, self.agent.recall)
        work = replace(work, framing=await recalled(framing, path, view, self.task, self.agent.memory))
        with await self.ledger.reserve(Usage(nodes=1)) as room:
            turn, logprob = await self._turn(work, path, view, bill)
            done = Done((), parent.env_ref)
            held = work.external == "hold" and self.actor.reaches_out(turn.calls)
            calls = [] if held else self._let(work, turn.calls)
            # A step that acts counts from here on: it may wait for searches within, which must not wait for what it holds.
            room.settle(Usage(nodes=1))
            bill.add(room.actual)
            if held:
                done = replace(done, observations=tuple(Observation(call.id, HELD) for call in turn.calls))
            elif turn.calls:
                done = await self._act(work, calls, path, bill)
            elif turn.problem is not None:
                done = replace(done, observations=(Observation("", turn.problem, ok=False),))
        made = turn.calls if held else tuple(call for call, _ in calls)
        step = Step(_kind(turn), turn.text, made, done.observations, self.model.name, logprob, work.framing, held)
        answer = turn.answer
        if answer is not None and (variant := self.prompter.variant(path, work.framing)) is not None:
            answer = variant.back(answer, self.task, self.seed)
        return done.node(NodeId(work.id), parent, step, bill.usage, answer)

    async def _release(self, work: Expand, path: Sequence[Node], parent: Node, bill: Bill) -> Node:
        """Act on a held step; the new node's step is the same with what came of it."""
        step = path[-1].step
        if step is None or not step.held:
            raise UsageError(f"node {work.node} was to be released, and its step is not held; release held steps only")
        calls = self._let(work, step.calls)
        (await self.ledger.reserve(Usage(nodes=1))).settle(Usage(nodes=1))
        bill.add(Usage(nodes=1))
        done = await self._act(work, calls, path, bill)
        step = replace(step, calls=tuple(call for call, _ in calls), observations=done.observations, held=False)
        return done.node(NodeId(work.id), parent, step, bill.usage)

    async def redone(self, number: NodeId, step: Step, path: Sequence[Node]) -> Node:
        """Act on a step that a person has changed; the new node has what came of it.

        Args:
            number: of the new node.
            step: the step, its calls not done yet.
            path: the trajectory that it follows on.
        """
        bill = Bill()
        calls = [(call, None) for call in step.calls]
        done = await self._act(Expand(WorkId(0), ROOT), calls, path, bill, alone=True)
        step = replace(step, observations=done.observations)
        return done.node(number, path[-1], step, bill.usage)

    def _whole(self, path: list[Node]) -> list[Node]:
        """Return a path of the tree with what led to its root."""
        return path if self.past is None else self.past.whole(path)

    def _view(self, tree: Tree) -> TreeView:
        return tree if self.past is None else self.past.view(tree)

    async def _turn(self, work: Expand, path: Sequence[Node], tree: TreeView, bill: Bill) -> tuple[Turn, float | None]:
        """Return the model's turn, or as much of it as is asked for, and its tokens' log-probability where the server gave it."""
        messages = self.prompter.messages(path, tree, work.framing)
        request = self.form.request(messages, self.prompter.offered(path, tree), self._sampling(work))
        part = segment(work, path, request, self.form)
        meter = Meter()
        try:
            response = await self.model.generate(part.requested(request), meter)
        finally:
            usage = meter.usage()
            bill.add(replace(usage, usd=self.model.price(usage) or 0.0))
        logprob = sum(token.logprob for token in response.logprobs) if response.logprobs else None
        return part.read(response, self.form), logprob

    def _sampling(self, work: Expand) -> Sampling:
        sampling = replace(self.agent.sampling, seed=derive_seed(self.seed, work.id))
        if work.max_tokens is not None:
            sampling = replace(sampling, max_tokens=work.max_tokens)
        return sampling if work.temperature is None else replace(sampling, temperature=work.temperature)

    # --- tools ---

    def _let(self, work: Expand, calls: Sequence[ToolCall]) -> list[Refusable]:
        """Return the calls as people let them be done.

        Raises:
            Waiting: they have not answered yet. Nothing was done, and nothing is charged but the model's turn.
        """
        return self.actor.approved(str(work.id), calls, self.effects, self.agent.approve)

    async def _act(
        self, work: Expand, calls: Sequence[Refusable], path: Sequence[Node], bill: Bill, *, alone: bool = False
    ) -> Done:
        """Return what came of calls. `alone`: they start no searches and ask nobody."""
        env_ref, place, over = path[-1].env_ref, None, False
        await self.ensure_state(path, bill)
        async with self._environment(env_ref, bill) as environment:
            unasked = self.agent.approve == "never"
            ctx = Context(self.task, environment, path, compare=partial(self._compare, bill), unasked=unasked)
            if not alone:
                ctx.children, ctx.people = self.children, self.effects
            observations = [
                await self.actor.call(f"{work.id}.{index}", call, ctx, bill)
                if refusal is None
                else Observation(call.id, f"a person did not allow this: {refusal}", ok=False)
                for index, (call, refusal) in enumerate(calls)
            ]
            if environment is not None:
                env_ref, place, over = await environment.snapshot(), environment.place, await environment.over()
        return Done(tuple(observations), env_ref, place, over)

    # --- verdicts ---

    async def score(self, work: Score, tree: Tree, bill: Bill) -> tuple[Verdict, ...]:
        """Return the verdicts of every verifier that applies to the node, or of those that are to be asked again."""
        candidate = self._candidate(work, tree, bill)
        verdicts: list[Verdict] = []
        for number, verifier in enumerate(self.agent.verifiers):
            if not _applies(verifier, candidate, work):
                continue
            mine = candidate.again(number)
            verdicts.append(
                await (self._ask(verifier, mine, bill) if work.verifiers else self._judge(verifier, mine, bill))
            )
        return tuple(verdicts)

    async def _judge(self, verifier: Verifier, candidate: Candidate, bill: Bill) -> Verdict:
        env_ref = candidate.node.env_ref
        if verifier.scope != "state" or env_ref is None or _reads(verifier):
            return await self._ask(verifier, candidate, bill)
        key = (verifier.name, env_ref)
        async with self._judging.setdefault(key, asyncio.Lock()):
            if (known := self._judged.get(key)) is not None:
                return replace(known, calls=0, usage=Usage())
            verdict = await self._ask(verifier, candidate, bill)
            self._judged[key] = verdict
            return verdict

    async def _ask(self, verifier: Verifier, candidate: Candidate, bill: Bill) -> Verdict:
        for node in candidate.among:
            await self.ensure_state(candidate.at(node).path, bill)
        await self.ensure_state(candidate.path, bill)
        return await candidate.ask(verifier)

    async def _compare(self, bill: Bill, verifier: Verifier, one: str, other: str) -> Verdict:
        """Have a verifier compare two texts that are no nodes of the tree."""
        tree = Tree(Node(ROOT, None, None))
        pair = (NodeId(1), NodeId(2))
        for node, text in zip(pair, (one, other), strict=True):
            tree.apply(Expanded(WorkId(node), Node(node, ROOT, Step("thought", text), depth=1)))
        candidate = self._candidate(Score(WorkId(0), pair[1], (verifier.name,), pair), tree, bill)
        return await replace(candidate, seed=derive_seed(self.seed, f"{one}\n{other}")).ask(verifier)

    def _candidate(self, work: Score, tree: Tree, bill: Bill) -> Candidate:
        async def charged(verifier: Verifier, candidate: Candidate) -> Verdict:
            with self.observer.judging(verifier, bill) as judged:
                verdict = await self._charged(verifier, candidate, bill)
                judged(verdict)
            return verdict

        view = self._view(tree)
        path = view.path(work.node)
        return Candidate(
            self.task,
            path,
            self.own,
            lambda ref: self._environment(ref, bill, needed=True),
            self.sandboxes.diff if self.sandboxes is not None else _no_diff,
            Billed(self.model, bill),
            view,
            work.among,
            derive_seed(self.seed, work.id),
            {name: Billed(model, bill) for name, model in self.judges.items()},
            charged,
            lambda path: self.prompter.conversation(path, view),
        )

    async def _charged(self, verifier: Verifier, candidate: Candidate, bill: Bill) -> Verdict:
        if isinstance(verifier, Composed):
            return await verifier.judge(candidate)
        with await self.ledger.reserve(Usage(verifier_calls=1)) as held:
            held.actual = Usage(verifier_calls=1)
            bill.add(held.actual)
            return await verifier.judge(candidate)

    def remember(self, tree: Tree) -> None:
        """Take the verdicts of a resumed run as known."""
        for node in tree:
            if node.env_ref is not None:
                for verdict in tree.verdicts(node.id):
                    if verdict.calls:
                        self._judged.setdefault((verdict.verifier, node.env_ref), verdict)

    # --- states ---

    @asynccontextmanager
    async def _environment(self, ref: str | None, bill: Bill, *, needed: bool = False) -> AsyncGenerator[Any]:
        if self.states is None:
            if needed:
                raise UsageError(f"agent {self.agent.name!r} has no sandbox; give it one: Agent(sandbox=...)")
            yield None
            return
        async with self.states.open(ref, bill) as environment:
            yield environment

    async def ensure_state(self, path: Sequence[Node], bill: Bill) -> None:
        """See that the state of the path's last node is there; one that was dropped is made again.

        Raises:
            SandboxError: its actions led to another state this time.
        """
        if self.states is not None:
            await self.states.ensure(path, self.actor, bill)

    def can_redo(self, step: Step) -> bool:
        """Whether taking a step once more leads to the same state, as far as is known: only then may its state be dropped."""
        return self.actor.can_redo(step)


def _applies(verifier: Verifier, candidate: Candidate, work: Score) -> bool:
    """Whether a verifier is asked: by name, or because it judges such nodes and has not been left out."""
    if verifier.scope in {"set", "probe"} or work.verifiers:
        named = verifier.name in work.verifiers
        return named and (verifier.scope != "answer" or candidate.answer is not None)
    return verifier.scope == "state" or candidate.answer is not None


def _reads(verifier: Verifier) -> bool:
    """Whether a verifier may read the trajectory, so that equal states are no reason for equal verdicts."""
    parts = verifier.parts if isinstance(verifier, Composed) else ()
    return isinstance(verifier, AsksModels) or any(map(_reads, parts))


def _kind(turn: Turn) -> Any:
    if turn.problem is not None:
        return "invalid"
    if turn.partial:
        return "partial"
    if turn.answer is not None:
        return "answer"
    return "tool" if turn.calls else "thought"


def _no_diff(old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
    raise UsageError(f"no sandbox, so no snapshots to compare: {old}, {new}")
