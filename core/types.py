"""The data that flows through a run: tasks, messages, steps, nodes, verdicts, usage, results.

All of it is frozen and JSON-serialisable; `core.events` writes and reads it. Dataclasses carry what exists once per
node (10^5 of them must fit in memory), pydantic models what a user types in.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Protocol

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from .errors import RewardOutOfRange, UsageError
from .people import Question

if TYPE_CHECKING:
    from .tree import Tree

JSON = Any
"""A JSON value: None, bool, int, float, str, list or dict of these."""

NodeId = NewType("NodeId", int)
"""Number of a node within its run; the root is 0."""

WorkId = NewType("WorkId", int)
"""Number of a work item within its run, from 1. An expansion's new node carries the number of its work."""

ROOT = NodeId(0)


@dataclass(frozen=True, slots=True)
class Usage:
    """What something cost. Adds up; every field is >= 0."""

    prompt_tokens: int = 0
    """Prompt tokens, cached ones included."""
    cached_tokens: int = 0
    """The part of `prompt_tokens` that the server read from its prefix cache."""
    completion_tokens: int = 0
    """Tokens of calls that finished."""
    cancelled_tokens: int = 0
    """Completion tokens of calls that were cancelled, cut or lost: paid for, never dropped."""
    calls: int = 0
    """Model calls, each attempt counted."""
    verifier_calls: int = 0
    tool_calls: int = 0
    sandbox_seconds: float = 0.0
    """Time that programs ran in sandboxes and that states were kept, brought back and forked."""
    usd: float = 0.0
    nodes: int = 0
    snapshot_bytes: int = 0
    """New bytes that the states which were kept put on disk; what had been there already is not counted again."""

    @property
    def tokens(self) -> int:
        """All model tokens: prompt, completion and cancelled."""
        return self.prompt_tokens + self.completion_tokens + self.cancelled_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cancelled_tokens + other.cancelled_tokens,
            self.calls + other.calls,
            self.verifier_calls + other.verifier_calls,
            self.tool_calls + other.tool_calls,
            self.sandbox_seconds + other.sandbox_seconds,
            self.usd + other.usd,
            self.nodes + other.nodes,
            self.snapshot_bytes + other.snapshot_bytes,
        )

    def to_json(self) -> dict[str, float]:
        """The non-zero fields, and `tokens`."""
        row: dict[str, float] = {"tokens": self.tokens}
        row.update({f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)})
        return row


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One action that the model asks for."""

    id: str
    name: str
    arguments: Mapping[str, JSON]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a model that sees. Wherever a request is written down, the digest of the bytes stands for them."""

    data: Annotated[bytes, PlainSerializer(_digest)] = field(repr=False)
    """The file, as `media_type` says."""
    width: int
    """In pixels, like `height`; what a picture costs follows from the two."""
    height: int
    media_type: Literal["image/jpeg", "image/png", "image/webp"] = "image/jpeg"

    def __post_init__(self) -> None:
        if not self.data or self.width < 1 or self.height < 1:
            raise UsageError(
                f"a picture of {len(self.data)} bytes, {self.width} x {self.height} pixels; give it bytes, and a size of at least 1 x 1"
            )


@dataclass(frozen=True, slots=True)
class Screen:
    """Stands for a picture of the page that an environment in some state shows; a run puts that in before a model is asked."""

    state: str | None
    """Content address of the state; None for the one that trajectories begin with."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message. `tool_call_id` is set where `role` is "tool".

    Raises:
        UsageError: a message that is not the user's has pictures, which servers do not take.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    pictures: tuple[Picture | Screen, ...] = ()
    """Shown after the text, for models that see."""

    def __post_init__(self) -> None:
        if self.pictures and self.role != "user":
            raise UsageError(f"pictures belong into messages of the user, and this one is of role {self.role!r}")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What a model is told about a tool. `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample a reply. None leaves the server's default."""

    max_tokens: int = 1024
    temperature: float = 0.8
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    """Number of alternatives (0-20) to report for each token; None asks for no log-probabilities."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request for one reply (never n > 1: a server cannot cancel one of n)."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: tuple[ToolSpec, ...] = ()
    """Offered by native tool calling; leave empty where the form is constrained by `response_schema`."""
    response_schema: Mapping[str, JSON] | None = None
    """JSON schema that the reply's text must satisfy, enforced by the server while it samples."""
    prefix: str = ""
    """Beginning of the reply, which the server goes on from; the response's text is only what comes after it."""

    def __post_init__(self) -> None:
        if self.prefix and (self.tools or self.response_schema is not None):
            raise UsageError(
                f"a reply that begins with {self.prefix[:40]!r} was to be continued with tools or a schema; servers go on with "
                "plain text only: leave them out"
            )


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Log-probability (natural log, after the server's temperature and truncation unless it says otherwise)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """One reply."""

    text: str
    usage: Usage
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"] = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a program ended in a sandbox. A failing program is data, not an error."""

    exit_code: int
    """Exit status; -N where signal N ended it."""
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    truncated: bool = False
    """True where output beyond the cap was dropped."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with status 0."""
        return self.exit_code == 0 and not self.timed_out


@dataclass(frozen=True, slots=True)
class StateCost:
    """What it cost to keep states of a work space and to bring them back. Adds up; every field is >= 0."""

    seconds: float = 0.0
    """Waiting for a sandbox to be free is not in it."""
    files: int = 0
    """Files of the states."""
    new_files: int = 0
    """The part of them that had not been kept before."""
    new_bytes: int = 0
    """What the new ones put on disk."""

    def __add__(self, other: StateCost) -> StateCost:
        return StateCost(
            self.seconds + other.seconds,
            self.files + other.files,
            self.new_files + other.new_files,
            self.new_bytes + other.new_bytes,
        )

    def __sub__(self, other: StateCost) -> StateCost:
        return StateCost(
            self.seconds - other.seconds,
            self.files - other.files,
            self.new_files - other.new_files,
            self.new_bytes - other.new_bytes,
        )


@dataclass(frozen=True, slots=True)
class StatesReport:
    """What became of a run's states, as far as this process has seen: kept, brought back, dropped, made again."""

    kept: int = 0
    opened: int = 0
    """How often a state was brought back into a sandbox."""
    keep_ms: float = 0.0
    """Median."""
    open_ms: float = 0.0
    """Median."""
    new_files: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0
    """On disk now, of all processes of the run."""
    dropped: int = 0
    """States dropped to keep within `Budget.snapshot_bytes`."""
    dropped_bytes: int = 0
    replayed: int = 0
    """Dropped states that were made again by their actions."""

    def to_json(self) -> dict[str, JSON]:
        """All of it."""
        return {f.name: round(value, 2) if isinstance(value := getattr(self, f.name), float) else value
                for f in fields(self)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Python:
    """A Python program for a sandbox's warm interpreter, which starts it several times faster than `python3` would.

    It runs as `__main__` in a fresh process that is forked from an interpreter with much of the standard library loaded,
    the one that `python3` names in the sandbox. Where the program itself leaves, with `sys.exit` or by an exception, the
    exit status and the traceback are Python's own.
    """

    code: str
    args: tuple[str, ...] = ()
    """`sys.argv[1:]`."""
    keep: bool = False
    """Whether the text comes often and is no secret: sandboxes then keep it compiled, and any guest may find it."""


Command = Sequence[str] | str | Python
"""A program and its arguments; a line for `sh -c`; or a program in Python."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What came back from one tool call."""

    call_id: str
    text: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Recall:
    """What a strategy wants of the agent's memory for one step: entries that are like the task, or like the last step."""

    k: int = 2
    """At most so many."""
    floor: float = 0.0
    """Entries that are less alike are left out, in [0, 1]: what does not fit does harm."""
    ceiling: float = 1.0
    """Entries that are more alike are left out too: they are the same task, and would give its answer away."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a strategy has the task put to the model for one step. The step remembers it, so later steps are asked alike."""

    shown: tuple[NodeId, ...] = ()
    """Other nodes whose attempts the prompt shows, in this order, each with what the verifiers said of it."""
    note: str = ""
    """What the strategy says to the model after that, for example that it should improve on the best attempt."""
    variant: int | None = None
    """Which of the agent's `variants` of the task a trajectory sees. Only its first step says so."""
    recall: Recall | None = None
    """What is looked up in the agent's memory."""
    recalled: tuple[str, ...] = ()
    """What was found there; filled in when the step is taken."""


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the solver: what it said, what it did, what it saw.

    `kind` is "tool" (calls were made), "answer" (`text` is the final answer), "thought" (text only), "invalid" (the turn
    could not be used; the observation says why) or "partial" (the turn is not over: the next step goes on with it).
    """

    kind: Literal["tool", "answer", "thought", "invalid", "partial"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    observations: tuple[Observation, ...] = ()
    model: str = ""
    logprob: float | None = None
    """Sum of the log-probabilities of the turn's tokens, where they were asked for."""
    framing: Framing | None = None
    """What the model was shown beside the trajectory when it took this step."""
    held: bool = False
    """Whether its calls were not acted on, because one of them has effects outside: the search has not committed itself to it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which page an environment shows and how it got there, for people. The words are the page's: data of a stranger."""

    title: str = ""
    address: str = ""
    action: str = ""
    """What the step did to the page last, and to what; empty where it only looked."""


@dataclass(frozen=True, slots=True)
class Node:
    """A trajectory prefix: its parent's plus one step. Status and verdicts are kept by the `Tree`."""

    id: NodeId
    parent: NodeId | None
    step: Step | None
    env_ref: str | None = None
    """Content address of the environment's state after the step: equal states have equal references."""
    depth: int = 0
    usage: Usage = NO_USAGE
    answer: str | None = None
    """Set where the trajectory ends here."""
    place: Place | None = None
    """The page that the step led to, where its environment has pages."""


NodeStatus = Literal["live", "done", "pruned"]

Semantics = Literal["value", "step", "outcome", "preference", "violation", "likelihood"]

Integrity = Literal["host-io", "split", "in-process"]
"""How well a verdict by execution is protected from the code it judges.

`host-io`: expected values and comparison never leave the host. `split`: judging code runs apart from the judged code and
exchanges plain data. `in-process`: both share a process (an ordinary test runner); a hostile candidate can forge it.
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's opinion about a node.

    Raises:
        RewardOutOfRange: `value` or one of `ranking` is not within [0, 1], or a value of `per_constraint` is not finite.
    """

    value: float
    """In [0, 1]; higher is better."""
    semantics: Semantics
    verifier: str
    """Name of the verifier."""
    passed: bool | None = None
    """Whether it accepts the node; None where it only scores."""
    feedback: str = ""
    """Words for the model or the reader."""
    per_constraint: Mapping[str, float] | None = None
    calls: int = 1
    """How many judgements went into it; 0 for one that was copied from an equal state."""
    usage: Usage = NO_USAGE
    integrity: Integrity | None = None
    ranking: Mapping[NodeId, float] | None = None
    """Where nodes were compared: what each is worth beside the others, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 1.0:
            raise RewardOutOfRange(
                f"verifier {self.verifier!r} gave {self.value!r}; values lie in [0, 1]: scale the score before returning it"
            )
        for node, value in (self.ranking or {}).items():
            if not 0.0 <= value <= 1.0:
                raise RewardOutOfRange(
                    f"verifier {self.verifier!r} gave {value!r} to node {node}; values lie in [0, 1]"
                )
        for name, value in (self.per_constraint or {}).items():
            if not math.isfinite(value):
                raise RewardOutOfRange(f"verifier {self.verifier!r} gave {value!r} for {name!r}; give a finite number")


DEFAULT_SNAPSHOT_BYTES = 8 << 30


class Budget(BaseModel):
    """Hard limits over everything that a run does. None means no limit.

    A call reserves before it is made and settles after, so no limit but `seconds` is ever overshot; `seconds` stops
    work in flight at the deadline.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int | None = Field(default=None, gt=0, description="model tokens: prompt, completion and cancelled")
    completion_tokens: int | None = Field(default=None, gt=0, description="sampled tokens, cancelled ones included")
    calls: int | None = Field(default=None, gt=0, description="model calls, each attempt counted")
    verifier_calls: int | None = Field(default=None, gt=0)
    tool_calls: int | None = Field(default=None, gt=0)
    sandbox_seconds: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(
        default=None, gt=0, description="wall clock, pauses between kill and resume not counted"
    )
    usd: float | None = Field(default=None, gt=0, description="money; a model whose price is unknown is refused")
    nodes: int | None = Field(default=None, gt=0, description="nodes of the search tree beside the root")
    snapshot_bytes: int | None = Field(
        default=DEFAULT_SNAPSHOT_BYTES,
        gt=0,
        description="disk space for the states of the sandbox; those that can be made again are dropped to stay within it",
    )


class Task(BaseModel):
    """What is to be done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(min_length=1)
    files: str | None = None
    """Folder or archive whose content is the sandbox's work space at the root of the tree."""
    inputs: Mapping[str, JSON] = Field(default_factory=dict)
    """Further data for the agent's tools and verifiers."""


StopReason = Literal["accepted", "exhausted", "budget", "interrupted", "waiting", "failed"]
"""Why a search ended: an answer was accepted; nothing was left to expand; a limit was reached; somebody stopped it; too
many work items failed in a row; people have to answer first ("waiting")."""


class FinalState(Protocol):
    """The files of a chosen node, where they are kept."""

    def patch(self) -> str:
        """Return the changes to the task's files as a patch."""
        ...

    def save(self, target: Path) -> None:
        """Write the files into a new folder or archive."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    answer: str | None
    """The chosen trajectory's answer; None where it gave none."""
    accepted: bool
    """Whether the verifiers accepted the chosen node."""
    abstained: bool
    """Whether nothing was worth answering with."""
    confidence: float | None
    """Probability that the answer is right."""
    confidence_source: str
    """How `confidence` was estimated."""
    verdicts: tuple[Verdict, ...]
    """Those of the chosen node."""
    stop_reason: StopReason
    stop_detail: str
    """The reason in words, for example which limit was reached."""
    usage: Usage
    seconds: float
    node: NodeId | None
    """The chosen node of `tree`."""
    tree: Tree
    run_id: str
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Content of the chosen node's files that are new or differ from the task's, by path relative to the work space."""
    deleted: tuple[str, ...] = ()
    """Paths of the task's files that the chosen node no longer has."""
    state: FinalState | None = field(default=None, repr=False, compare=False)
    """The chosen node's files as they are kept on disk; None for an agent without a sandbox."""
    states: StatesReport = StatesReport()
    """What keeping states cost and what became of them."""
    questions: tuple[Question, ...] = ()
    """What people have to answer before the run can go on; `agent.resume(run_id, answers={question.id: ...})`."""
    report: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    """Of an agent with stages: its plan, its attempts, and whether the last word was independent. Of a team: what it says of itself. Of a
    search that shows attempts to the next ones: what became of them (`revisions`)."""

    def patch(self) -> str:
        """Return the changes to the task's files as a patch that `git apply` takes: also of binary files, modes and links.

        Raises:
            UsageError: the agent has no sandbox, or nothing was chosen.
            SandboxError: the kept files were removed or damaged since.
        """
        return self._kept().patch()

    def save(self, target: str | Path) -> None:
        """Write all files of the chosen node into a new folder, or into an archive where the name ends like one (.tar.gz, .zip …).

        Raises:
            UsageError: the agent has no sandbox, nothing was chosen, or the target is there already.
            SandboxError: the kept files were removed or damaged since.
        """
        self._kept().save(Path(target))

    def _kept(self) -> FinalState:
        if self.state is None:
            raise UsageError(f"run {self.run_id} has no files: the agent has no sandbox, or nothing was chosen")
        return self.state

    def to_json(self) -> dict[str, JSON]:
        """A summary without the tree's steps."""
        return {
            "run_id": self.run_id,
            "answer": self.answer,
            "accepted": self.accepted,
            "abstained": self.abstained,
            "confidence": self.confidence,
            "confidence_source": self.confidence_source,
            "stop_reason": self.stop_reason,
            "stop_detail": self.stop_detail,
            "seconds": round(self.seconds, 3),
            "usage": self.usage.to_json(),
            "node": self.node,
            "nodes": len(self.tree) - 1,
            "verdicts": [
                {
                    "verifier": v.verifier,
                    "value": v.value,
                    "passed": v.passed,
                    "integrity": v.integrity,
                    "feedback": v.feedback,
                }
                for v in self.verdicts
            ],
            "changed_files": sorted(self.files),
            "deleted_files": sorted(self.deleted),
            "states": self.states.to_json(),
            **({"questions": [question.to_json() for question in self.questions]} if self.questions else {}),
            **({"report": dict(self.report)} if self.report else {}),
        }
