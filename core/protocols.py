"""The seams of the framework: what a model, an environment, a verifier and a strategy must do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from .errors import ToolError, UsageError, VerifierError
from .events import Event, Work
from .keys import derive_seed
from .people import YES_OR_NO, Answers, Approval, Question, Waiting
from .tree import TreeView
from .types import (
    JSON,
    Budget,
    Command,
    ExecResult,
    Message,
    ModelRequest,
    ModelResponse,
    Node,
    NodeId,
    Picture,
    Result,
    Semantics,
    StateCost,
    Task,
    Usage,
    Verdict,
)

if TYPE_CHECKING:
    import asyncio

    from .budget import Ledger
    from .groups import Group

# --- models -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Meter:
    """What a model call in flight has used so far.

    The client raises it while the reply streams in, so that a call that is cancelled or cut can be charged for what it cost.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cancelled_tokens: int = 0
    """What earlier, failed attempts of the call had completed."""
    finished: bool = False
    """Whether the reply came whole; what an unfinished call completed counts as cancelled."""
    attempts: int = 1
    current: Meter | None = None
    """The attempt in flight, where a layer above the client makes several; `usage` counts it in."""

    def usage(self, *, usd: float = 0.0) -> Usage:
        """The call's row in the ledger."""
        row = Usage(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens if self.finished else 0,
            cancelled_tokens=self.cancelled_tokens + (0 if self.finished else self.completion_tokens),
            calls=self.attempts,
            usd=usd,
        )
        return row if self.current is None else row + self.current.usage()

    def absorb(self) -> None:
        """Take the counts of the attempt in flight, which has ended, into this meter."""
        if self.current is None:
            return
        row, self.finished, self.current = self.current.usage(), self.current.finished, None
        self.prompt_tokens += row.prompt_tokens
        self.cached_tokens += row.cached_tokens
        self.completion_tokens += row.completion_tokens
        self.cancelled_tokens += row.cancelled_tokens
        self.attempts += row.calls


class Model(Protocol):
    """One model at one endpoint. Safe for concurrent use."""

    @property
    def name(self) -> str:
        """`provider:model`, as the user wrote it."""
        ...

    @property
    def slots(self) -> int:
        """How many requests the endpoint serves at once without making any of them wait."""
        ...

    @property
    def native_tools(self) -> bool:
        """Whether the model calls tools by the server's own tool calling rather than by a constrained JSON form."""
        ...

    async def generate(self, request: ModelRequest, meter: Meter) -> ModelResponse:
        """Return one reply; cancelling the caller's task closes the stream, which frees the server's slot.

        Raises:
            ModelTimeout, ModelUnavailable: after the retries that the implementation makes, if any.
            ModelRefused: the server will never answer this request.
        """
        ...

    async def prompt_tokens(self, request: ModelRequest) -> int:
        """An upper bound on the request's prompt tokens, exact where the server can count."""
        ...

    def price(self, usage: Usage) -> float | None:
        """US dollars for `usage`; None where the price is unknown, 0.0 for a local model."""
        ...

    async def aclose(self) -> None:
        """Give connections and the engine's lease back."""
        ...


@runtime_checkable
class Sees(Protocol):
    """What a model may be beside: one that may be shown pictures."""

    @property
    def sees(self) -> bool:
        """Whether pictures can be sent to it at all; its server may still refuse them."""
        ...


def can_see(model: Model) -> bool:
    """Whether a model may be shown pictures."""
    return isinstance(model, Sees) and model.sees


def blind(name: str) -> UsageError:
    """Return the error for pictures that a model was to be shown and does not take."""
    return UsageError(
        f"{name} takes no pictures, and was to be shown some; take a model that sees on a server, such as "
        "vllm:Qwen/Qwen2.5-VL-7B-Instruct (a Model of your own says so by `sees = True`), or leave screenshot out"
    )


# --- environments -----------------------------------------------------------------------------------------------------

Capability = Literal["forkable", "replayable", "irreversible"]


class Process(Protocol):
    """A program that runs in a sandbox while one talks to it. For one task at a time."""

    async def send(self, data: bytes) -> None:
        """Give it standard input; what arrives after its end is dropped."""
        ...

    async def close_input(self) -> None:
        """End its standard input. Idempotent."""
        ...

    async def receive(self) -> bytes:
        """Return the next piece of its standard output, at least a byte; nothing once it has ended.

        Raises:
            SandboxLost: the sandbox died.
        """
        ...

    async def wait(self) -> ExecResult:
        """Return how it ended, every process of it gone. `stdout` holds what was not received.

        Raises:
            SandboxLost: the sandbox died; how the program ended is unknown.
        """
        ...


class Environment(Protocol):
    """One branch's live state: a work space of files and the programs run in it. Not for concurrent use."""

    capability: Capability
    isolation: str
    """What keeps the guest in, in words for the user, for example "docker: no network, all capabilities dropped"."""

    @property
    def cost(self) -> StateCost:
        """What keeping states and bringing them back has cost here since it was opened, the opening included."""
        ...

    async def exec(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout_seconds: float = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        output_limit_bytes: int = 1 << 20,
    ) -> ExecResult:
        """Run a program (a string goes to `sh -c`) and return how it ended, every process of it gone.

        Past `timeout_seconds` the whole process tree is killed and `timed_out` is set; output beyond the limit is dropped
        and `truncated` is set. Cancelling the caller kills the tree too.

        Raises:
            SandboxLost: the sandbox died; whether the command ran is unknown.
        """
        ...

    def start(
        self,
        command: Command,
        *,
        timeout_seconds: float = 60.0,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        output_limit_bytes: int = 1 << 20,
    ) -> AbstractAsyncContextManager[Process]:
        """Run a program and talk to it; leaving the block kills what still runs of it. Limits are those of `exec`.

        While it runs, the environment does nothing else: another call waits for its end.

        Raises:
            SandboxLost: the sandbox died.
        """
        ...

    async def cell(self, code: str, *, timeout_seconds: float = 60.0, output_limit_bytes: int = 1 << 20) -> ExecResult:
        """Run Python code in the environment's session, where the names of earlier cells are still there.

        The value of a last expression is shown. The session is part of the state: `snapshot`, `restore` and `fork` take it
        along, forked where the sandbox can, else by running its cells again; where that gives other output, the next
        cell's `stderr` says so. Processes that a cell starts end with it, threads stay. A cell that ends its process, or
        takes too long, has never been.

        Raises:
            SandboxLost: the sandbox died.
        """
        ...

    async def read(self, path: str, *, limit_bytes: int = 1 << 24) -> bytes:
        """Return a file's content.

        Raises:
            FileNotFoundError, IsADirectoryError: as for `open`.
            OutputLimitExceeded: the file is larger than the limit.
            UsageError: `path` leads out of the work space.
        """
        ...

    async def write(self, path: str, content: bytes) -> None:
        """Write a file, making its folders."""
        ...

    async def list(self) -> list[str]:
        """Return the paths of all files in the work space, sorted; caches of Python and pytest are left out."""
        ...

    async def snapshot(self) -> str:
        """Keep the present state and return its content address; equal states have equal addresses. Survives a kill."""
        ...

    async def restore(self, ref: str) -> None:
        """Make the state that of a snapshot."""
        ...

    async def fork(self) -> Environment:
        """Return a second environment in the same state; what happens in one never shows in the other."""
        ...

    async def close(self) -> None:
        """Give the sandbox back. Idempotent."""
        ...


class Snapshots(Protocol):
    """Where the states of a run are kept, as far as those see it who decide which of them to drop."""

    @property
    def stored_bytes(self) -> int:
        """What all states take on disk."""
        ...

    def bound(self, limit_bytes: int | None, make_room: Callable[[int], None]) -> None:
        """Keep within `limit_bytes`: before a state that does not fit is kept, `make_room` is told how many bytes are missing.

        It is called on the event loop's thread. What it cannot free makes the keeping fail with `BudgetExceeded`.
        """
        ...

    def holds(self, ref: str) -> bool:
        """Whether the state is there."""
        ...

    def alone_bytes(self, ref: str) -> int:
        """How many bytes no other state shares: what dropping this one would free."""
        ...

    def drop(self, refs: Iterable[str]) -> int:
        """Remove states and return how many bytes that freed: what other states share stays."""
        ...

    def patch(self, old: str, new: str) -> str:
        """Return what leads from one state to another as a patch in git's format."""
        ...

    def save(self, ref: str, target: Path) -> None:
        """Write a state into a new folder or archive of the host.

        Raises:
            UsageError: there is no such state, or the target is there already.
        """
        ...


class Sandboxes(Protocol):
    """A supply of environments for one run. Safe for concurrent use."""

    isolation: str

    @property
    def snapshots(self) -> Snapshots:
        """Where the states are kept."""
        ...

    async def open(self, ref: str | None = None) -> Environment:
        """Return an environment in the state `ref` (None: an empty work space). The caller closes it.

        Raises:
            SandboxStartFailed: none could be started; the message says what to do.
        """
        ...

    async def keep(self, folder: Path) -> str:
        """Keep a folder or an archive of the host as a snapshot and return its address.

        Raises:
            UsageError: no such folder or archive, one that is not to be trusted, or larger than the sandbox allows.
        """
        ...

    def diff(self, old: str, new: str) -> tuple[dict[str, bytes], list[str]]:
        """Return the files that are new or changed from snapshot `old` to `new`, and the paths that are gone."""
        ...

    async def aclose(self) -> None:
        """Remove every sandbox of this supply. Snapshots stay."""
        ...


@runtime_checkable
class Portrays(Protocol):
    """A supply whose environments can be seen."""

    def keep_pictures(self, folder: Path) -> None:
        """Keep a small picture of every state in a folder from now on, called by the state's address."""
        ...

    async def screen(self, ref: str | None) -> Picture | None:
        """Return a picture of what the state `ref` shows, with marks that a model can name: the same one every time.

        None where no picture can be taken.
        """
        ...


@runtime_checkable
class Shows(Protocol):
    """What a supply may be beside: one whose environments show something before the first step, such as a page."""

    async def first_look(self, ref: str | None) -> str:
        """Return what an environment in the state `ref` shows, as text for a model: data, never instructions.

        Raises:
            SandboxError: there is nothing to be had.
        """
        ...


class SandboxSpec(Protocol):
    """How a user says which sandboxes an agent gets; `sandboxes.Docker(...)` and `sandboxes.Local(...)` are such."""

    async def start(self, run_id: str, store: Path) -> Sandboxes:
        """Return a supply whose snapshots live in the folder `store`.

        Raises:
            SandboxStartFailed: no engine answers; the message says what to do.
        """
        ...


# --- memory -----------------------------------------------------------------------------------------------------------

EntryKind = Literal["task", "step"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something worth remembering: a solved task, or a step that led on."""

    cue: str
    """What it is found by: the task, or the step before."""
    text: str
    """What is shown of it: how the task was solved, or the step that came next. Data for a model, never instructions."""
    kind: EntryKind = "task"
    evidence: str = ""
    """Why it may be believed, for example the run and its verdict."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that a memory found."""

    entry: Entry
    likeness: float
    """How much its cue is like the context, in [0, 1]; 1 for the same."""


class Memory(Protocol):
    """What was learnt in earlier runs. Safe for concurrent use."""

    async def query(self, context: str, k: int, kind: EntryKind | None = None) -> Sequence[Found]:
        """Return at most `k` entries whose cues are like `context`, the most alike first."""
        ...

    async def write(self, entry: Entry) -> None:
        """Remember something. What is known already is not kept twice."""
        ...


# --- verifiers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a verifier judges: a trajectory and the state it led to."""

    task: Task
    path: Sequence[Node]
    """From the root to the judged node."""
    origin_ref: str | None
    """Snapshot of the task's own files, before the agent touched them."""
    open: Callable[[str | None], AbstractAsyncContextManager[Environment]]
    """Opens a fresh environment in a snapshot's state, closed on leaving the block."""
    diff: Callable[[str, str], tuple[dict[str, bytes], list[str]]]
    """`Sandboxes.diff`."""
    model: Model | None = None
    """The agent's model, metered and under the run's budget, for verifiers that ask one."""
    view: TreeView | None = None
    """The whole tree, for verifiers that compare; None where a candidate is judged outside of a search."""
    among: tuple[NodeId, ...] = ()
    """The nodes that are to be compared."""
    seed: int = 0
    """For what is drawn while judging, such as a model's sample: another one each time that a node is judged."""
    models: Mapping[str, Model] = field(default_factory=dict[str, Model])
    """The models that verifiers have for themselves, by name, under the run's budget likewise."""
    charged: Callable[[Verifier, Candidate], Awaitable[Verdict]] | None = None
    """Has a verifier judge and charges the run for it; None where nothing is charged."""
    conversation: Callable[[Sequence[Node]], Sequence[Message]] | None = None
    """Returns the messages in which a trajectory came about, the turn that is not over last; None outside of a run."""

    @property
    def node(self) -> Node:
        """The judged node."""
        return self.path[-1]

    @property
    def answer(self) -> str | None:
        """The final answer, where the trajectory gave one."""
        return self.node.answer

    def rivals(self) -> list[Node]:
        """Return the nodes to compare; where none are named, all with an answer in the order of their arrival."""
        if self.view is None:
            return [self.node] if self.answer is not None else []
        if self.among:
            return [self.view[node] for node in self.among]
        return [node for node in self.view if node.answer is not None and self.view.status(node.id) != "pruned"]

    def at(self, node: NodeId) -> Candidate:
        """Return another node of the tree as a candidate."""
        assert self.view is not None
        return replace(self, path=self.view.path(node))

    def again(self, number: int) -> Candidate:
        """Return the same candidate with a seed of its own, for a further judgement."""
        return replace(self, seed=derive_seed(self.seed, number))

    async def ask(self, verifier: Verifier) -> Verdict:
        """Have a verifier judge that another one is composed of; it is charged like any other."""
        return await (verifier.judge(self) if self.charged is None else self.charged(verifier, self))

    def asks(self, model: str | Model | None = None) -> Model:
        """Return the model that a verifier asks: the agent's own unless it has one for itself.

        Raises:
            VerifierError: there is none.
        """
        found = self.model if model is None else self.models.get(model if isinstance(model, str) else model.name)
        if found is None:
            raise VerifierError(
                f"no model {model or ''} is there to judge with; a run has its agent's and those of its verifiers"
            )
        return found


class Verifier(Protocol):
    """Judges trajectories. Any object with these members will do."""

    @property
    def name(self) -> str:
        """Shown beside its verdicts."""
        ...

    @property
    def semantics(self) -> Semantics:
        """What its values mean."""
        ...

    @property
    def scope(self) -> Literal["state", "answer", "set", "probe"]:
        """`state`: judges every node's environment, `answer`: only trajectories that gave an answer.

        `set`: compares several nodes (`Candidate.rivals`) and says in `Verdict.ranking` what each is worth; asked only where
        work names it. `probe`: tells a strategy something of a node, likewise only where work names it.
        """
        ...

    async def judge(self, candidate: Candidate) -> Verdict:
        """Return a verdict.

        Raises:
            VerifierError: it could not judge; the node stays unjudged.
        """
        ...


@runtime_checkable
class Composed(Protocol):
    """What a verifier is beside that is made of others. It has them judge by `Candidate.ask`; only they are charged."""

    @property
    def parts(self) -> Sequence[Verifier]:
        """The others."""
        ...


@runtime_checkable
class AsksModels(Protocol):
    """What a verifier is beside that asks models."""

    @property
    def own_models(self) -> Sequence[str | Model]:
        """Those that it has for itself; a run opens them under its own budget. Not the agent's."""
        ...


# --- strategies -------------------------------------------------------------------------------------------------------


class Strategy(Protocol):
    """Decides what to try next. Pure: no I/O, no clock; everything it knows comes from `tell`.

    The object that a user configures is a template; `fresh` makes the one that serves a run. Rules that the search
    machine relies on and `tests/search/test_contract.py` checks for every strategy:

    - `ask` changes nothing: asked twice without a `tell` in between, it returns the same work.
    - `tell` takes events in any order of completion.
    - A strategy rebuilt by telling it the journal is equal to the one that was killed.
    """

    name: ClassVar[str]

    @property
    def speculative(self) -> bool:
        """Whether it runs branches that may be thrown away; tools with external effects are refused then."""
        ...

    def fresh(self, seed: int) -> Self:
        """Return an equally configured strategy that knows nothing yet."""
        ...

    def ask(self, view: TreeView, slots: int) -> Sequence[Work]:
        """Return at most `slots` work items, best first, numbered from `view.next_work`.

        None at all: nothing to do until more is told, or, with nothing in flight, nothing to do any more.
        """
        ...

    def tell(self, events: Sequence[Event], view: TreeView) -> None:
        """Take in what happened; `view` is the tree after `events`."""
        ...

    def select(self, view: TreeView) -> int | None:
        """Return the best node so far, None where no node is worth answering with."""
        ...


@runtime_checkable
class Committing(Protocol):
    """What a strategy may be beside: one that commits itself step by step, and is safe for tools with effects outside.

    It expands with `Expand.external="hold"`, and releases a held step only once it has given up all other branches.
    """

    @property
    def commits(self) -> bool:
        """Whether it does so."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """What a strategy may be beside: one whose framings look things up in the agent's memory."""

    @property
    def recalls(self) -> bool:
        """Whether it does so."""
        ...


@runtime_checkable
class Segmenting(Protocol):
    """What a strategy may be beside: one that has turns sampled in segments, which only turns in plain text can be."""

    @property
    def in_segments(self) -> bool:
        """Whether it does so."""
        ...


@dataclass(frozen=True, slots=True)
class Appraisal:
    """A choice with what it is worth."""

    node: NodeId | None
    """None: abstain."""
    confidence: float | None = None
    """Probability that the best node is right, also where it is not good enough to answer with."""
    source: str = ""
    """How `confidence` was estimated; where there is no node, why."""


@runtime_checkable
class Appraiser(Protocol):
    """What a strategy may be beside: one that knows how far verdicts can be trusted."""

    def accepts(self, node: NodeId, view: TreeView) -> bool:
        """Whether the node is accepted and the search over. Otherwise the first verdicts that pass decide."""
        ...

    def appraise(self, view: TreeView, accepted: NodeId | None = None) -> Appraisal:
        """Return the choice that `select` makes, or the accepted node, and what it is worth."""
        ...


@runtime_checkable
class Explains(Protocol):
    """What a strategy may be beside: one that can say why it wants nothing more."""

    def why_over(self, view: TreeView) -> str:
        """Return the reason in words; empty where there is none but that all is done."""
        ...


@runtime_checkable
class Selector(Protocol):
    """Chooses the answer among those of a finished search; `Agent(select=...)`. Pure, like a strategy.

    Where the verifiers accepted a node the search ends with that one, and no selector is asked.
    """

    name: ClassVar[str]
    """Recorded with its choice."""

    def choose(self, view: TreeView) -> Appraisal:
        """Return the best node, and how probable it is that it is right where that is known. No node: abstain."""
        ...


class Variant(Protocol):
    """Another way of putting a task whose answers can be mapped back: options shuffled, names exchanged, examples before it.

    Methods that ask in several ways and take what the answers agree on use an agent's `variants`.
    """

    @property
    def name(self) -> str:
        """What views call it."""
        ...

    def put(self, task: Task, seed: int) -> Task:
        """Return the task as this variant puts it. `seed` is the run's; the same gives the same."""
        ...

    def back(self, answer: str, task: Task, seed: int) -> str:
        """Return what an answer to `put(task, seed)` means as an answer to `task`."""
        ...


# --- tools ------------------------------------------------------------------------------------------------------------

Effects = Literal["pure", "sandbox", "external"]
"""What a tool may change: nothing; the branch's own sandbox; the world. Speculative branches never run `external` tools."""


class Children(Protocol):
    """The searches within the one that a tool call belongs to. They end with it at the latest."""

    @property
    def depth(self) -> int:
        """How many searches this one is within."""
        ...

    def share(self, part: float) -> Budget:
        """Return a part, in (0, 1], of what is left of every limit; the deadline stays."""
        ...

    def start(
        self,
        name: str,
        agent: Any,
        task: Task,
        *,
        origin: str | None = None,
        budget: Budget | None = None,
        payer: Ledger | None = None,
    ) -> asyncio.Future[Result]:
        """Start a search; one of this name that goes on or has ended is not started again. Wait for it with `asyncio.wait`.

        A run that is resumed calls this with the same name again, and the search goes on where it was.

        Args:
            name: unique among the searches within this one.
            agent: an `Agent`.
            task: what is to be done.
            origin: state of the sandbox to begin with.
            budget: what it may spend of this search's budget; all of it unless given.
            payer: a part of this search's ledger that pays for it; the ledger itself unless given.

        Raises:
            UsageError: the agent cannot work here.
        """
        ...

    async def cancel(self, name: str) -> None:
        """Stop a search and wait until it is gone; nothing where there is none of this name."""
        ...


@dataclass(slots=True)
class Context:
    """What a tool gets beside its arguments (`ctx: bw.Context` as its first parameter)."""

    task: Task
    environment: Environment | None = None
    path: Sequence[Node] = ()
    """Nodes from the root to the one that is being expanded."""
    notes: dict[str, JSON] = field(default_factory=dict[str, JSON])
    """Scratch space of the turn, shared by its tool calls."""
    children: Children | None = None
    """Where searches within this one are started; None where an action is only done again to bring a state back."""
    call: str = ""
    """Names the call within its search; the same after a kill."""
    spawned: int = 0
    """How many searches the call has started."""
    people: Answers | None = None
    """What people have answered; None where nobody can be asked."""
    asked: int = 0
    """How many questions the call has asked."""
    compare: Callable[[Verifier, str, str], Awaitable[Verdict]] | None = None
    """Has a verifier that compares judge two texts, paid by the run; None where there is no run."""
    unasked: bool = False
    """Whether nobody wants to be asked before something with effects outside is done: `Agent(approve="never")`."""

    async def ask(self, question: str, schema: Mapping[str, JSON] | None = None) -> JSON:
        """Ask a person and return the answer.

        Until there is one the tool call is put aside, and the run, once nothing else is to be done, ends with `stop_reason`
        "waiting". The call begins again from its start then: what it did before it asked, it does twice.

        Args:
            question: what is asked.
            schema: JSON schema of the answer; a text unless given.

        Raises:
            UsageError: there is no run, so nobody can be asked.
        """
        return self._asked(lambda name: Question(name, "ask", question, schema or {"type": "string"}))

    async def approval(self, tool: str, arguments: Mapping[str, JSON]) -> None:
        """Have a person approve what the call is about to do, where anybody wants to be asked; it waits like `ask`.

        For tools that know better than their arguments what they are about to do (`Tool.asks_first`).

        Args:
            tool: the tool's name.
            arguments: what the person is shown: what will be done, from what is so and not from what a model says of it.

        Raises:
            ToolError: the person did not allow it.
            UsageError: there is no run, so nobody can be asked.
        """
        if self.unasked:
            return
        text = f"May {tool} be called?"
        answer = self._asked(lambda name: Question(name, "approve", text, YES_OR_NO, tool, arguments))
        approval = Approval.read(answer)
        if approval.approved and approval.arguments is not None:
            raise ToolError(f"a person wants this done otherwise: {dict(approval.arguments)}")
        if not approval.approved:
            raise ToolError(f"a person did not allow this: {approval.reason or 'no reason was given'}")

    def _asked(self, question: Callable[[str], Question]) -> JSON:
        """Return the answer to a question, which is made with its name."""
        if self.people is None:
            raise UsageError("nobody can be asked here: the call is not part of a run, or only repeats an action")
        self.asked += 1
        key = f"{self.call}.ask{self.asked}"
        if (answer := self.people.answer(key)) is None:
            raise Waiting(question(self.people.question_id(key)))
        return answer

    def group(self, budget: Budget | None = None) -> Group:
        """Return a group of searches that this tool call starts, to be used with `async with`.

        Args:
            budget: what each of them may spend unless told otherwise; all that is left here unless given.

        Raises:
            UsageError: there is no run in which they could take place.
        """
        from .groups import Group

        return Group(self, budget)

    @property
    def sandbox(self) -> Environment:
        """The branch's sandbox.

        Raises:
            UsageError: the agent has none.
        """
        if self.environment is None:
            raise UsageError("this agent has no sandbox; give it one: Agent(sandbox=bw.sandboxes.Docker())")
        return self.environment
