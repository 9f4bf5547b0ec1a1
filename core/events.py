"""The journal's alphabet: everything that can happen in a search, as a closed set of frozen records.

A run *is* its sequence of events. The tree (`core.tree`), a strategy's state and the ledger are folds over it, which is
what makes a killed run resumable: replay the events, re-issue the work that was started and never finished.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, from_json

from .errors import JournalVersionMismatch, RewardOutOfRange
from .people import Question
from .types import NO_USAGE, Framing, Node, NodeId, StopReason, Usage, Verdict, WorkId

JOURNAL_VERSION = 2
"""Raised with every change of the records below that older code cannot read."""


# --- work: the only things a strategy may ask for -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expand:
    """Take one more step from `node`: sample a turn, run its tool calls in a fork of the node's environment."""

    id: WorkId
    node: NodeId
    temperature: float | None = None
    """Overrides the agent's sampling temperature."""
    framing: Framing | None = None
    """What the model is shown beside the trajectory; None for nothing."""
    segment_tokens: int | None = None
    """Sample at most so many tokens of the turn; if it is not over then, the node's step is "partial", and expanding that node
    goes on with the same turn. None: to the turn's end."""
    lead: str = ""
    """Text that the turn goes on with before the model does, as if it had said it, for example "Final answer:"."""
    closing: str = ""
    """A tag, such as "Thread": sampling stops at "</Thread>". Where that tag stands open in the turn so far, the step is "partial" and
    its text ends with it closed; else the turn is over. Empty: the turn is not watched for one."""
    max_tokens: int | None = None
    """Overrides the agent's limit of sampled tokens for this turn."""
    external: Literal["run", "hold", "release"] = "run"
    """What becomes of calls to tools with external effects: `run`; `hold`: a turn with such a call is not acted on, the node's
    step is `held`; `release`: act on the held step of this node, which samples nothing."""


@dataclass(frozen=True, slots=True)
class Score:
    """Have the agent's verifiers judge `node`."""

    id: WorkId
    node: NodeId
    verifiers: tuple[str, ...] = ()
    """Ask these by name, though they have judged the node, or an equal state, before. Empty: all of them, none twice."""
    among: tuple[NodeId, ...] = ()
    """The nodes that verifiers of scope "set" are to compare; they are asked only by name."""


@dataclass(frozen=True, slots=True)
class Prune:
    """Close `node`: it will not be expanded. Done at once."""

    id: WorkId
    node: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the work `target` if it is still in flight. Done at once."""

    id: WorkId
    node: NodeId
    target: WorkId
    reason: str


Work = Expand | Score | Prune | Cancel


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkStarted:
    """The work was admitted: an `Expand` or `Score` is in flight now, a `Prune` or `Cancel` is done with this."""

    work: Work


@dataclass(frozen=True, slots=True)
class Expanded:
    """An expansion finished with a new node."""

    work: WorkId
    node: Node
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """The verifiers gave their verdicts on a node. A node may be judged more than once."""

    work: WorkId
    node: NodeId
    verdicts: tuple[Verdict, ...]
    usage: Usage = NO_USAGE
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The work could not be done. The branch is closed, the tree goes on."""

    work: WorkId
    node: NodeId
    """The node that was to be expanded or judged."""
    error: str
    """Name of the exception's class."""
    message: str
    usage: Usage = NO_USAGE
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The work was stopped before it finished; what it had used is charged."""

    work: WorkId
    node: NodeId
    reason: str
    usage: Usage = NO_USAGE
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Denied:
    """The budget did not admit the work, or the rest of it."""

    work: WorkId
    node: NodeId
    limit: str
    """The limit that was reached, and whose it was where not the whole run's."""
    usage: Usage = NO_USAGE
    """What the work had cost before."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The work waits for a person. It is begun again when the run goes on, and finds the answer if there is one."""

    work: WorkId
    node: NodeId
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """A node was closed, for example because an equal one exists."""

    node: NodeId
    reason: str


@dataclass(frozen=True, slots=True)
class Spawned:
    """A search within this one began, or went on after a kill."""

    name: str
    agent: str
    task: str
    """Its prompt."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A search within this one ended. What it cost is in its own journal."""

    name: str
    reason: str
    """Why it stopped, or what broke it."""
    answer: str | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """The run went on in a new process."""

    lost: Usage = NO_USAGE
    """What calls in flight at the kill had reserved: charged, for their true cost is unknown and a hard budget must not be
    overshot."""
    elapsed_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Selected:
    """The search ended with this node as its best."""

    node: NodeId
    by: str
    """What selected it."""
    confidence: float | None = None
    """Probability that it is right, where the strategy has an estimate."""
    confidence_source: str = ""
    """How that was estimated."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The verifiers accepted this node; the search stops."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Abstained:
    """The search ended with no answer worth giving."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """No work is in flight any more and none will be started."""

    reason: StopReason
    detail: str
    elapsed_seconds: float
    """Wall-clock seconds of the run so far, over all its processes."""


Event = (
    WorkStarted
    | Expanded
    | Judged
    | Failed
    | Cancelled
    | Denied
    | Asked
    | Pruned
    | Spawned
    | Joined
    | Resumed
    | Selected
    | Accepted
    | Abstained
    | Stopped
)


@dataclass(frozen=True, slots=True)
class Within:
    """An event of a search inside of a run, as listeners get it; each search has a journal of its own."""

    path: str
    """Names of the searches from the run's own, left out, to the one that it happened in, joined by "/"."""
    event: Event


# --- JSON: an event is [name, fields], a work item likewise; fields at their default are left out ----------------------


def _adapters(union: Any) -> dict[str, TypeAdapter[Any]]:
    return {record.__name__: TypeAdapter(record) for record in get_args(union)}


_WORK = _adapters(Work)
_EVENT = _adapters(Event)


def _dump(record: Work | Event, adapters: dict[str, TypeAdapter[Any]]) -> bytes:
    name = type(record).__name__
    if isinstance(record, WorkStarted):
        body = _dump(record.work, _WORK)
    else:
        try:
            body = adapters[name].dump_json(record, exclude_defaults=True)
        except PydanticSerializationError:
            # Half a surrogate pair, which a model can write as an escape: no UTF-8 text can hold it.
            plain = adapters[name].dump_python(record, mode="json", exclude_defaults=True)
            body = json.dumps(plain, ensure_ascii=False).encode(errors="replace")
    return b'["%b",%b]' % (name.encode(), body)


def _load(row: Any, adapters: dict[str, TypeAdapter[Any]]) -> Any:
    name, body = row
    if name == WorkStarted.__name__:
        return WorkStarted(_load(body, _WORK))
    return adapters[name].validate_python(body)


def encode(events: Sequence[Event]) -> str:
    """Return `events` as one JSON array of `[name, fields]`.

    Total: what JSON cannot hold (half a surrogate pair, a number that is not finite) is written as "?" or null.
    """
    return (b"[" + b",".join(_dump(event, _EVENT) for event in events) + b"]").decode()


def decode(text: str) -> list[Event]:
    """Return the events that `encode` wrote.

    Raises:
        JournalVersionMismatch: the text holds something that this version does not know.
    """
    try:
        return [_load(row, _EVENT) for row in from_json(text)]
    except (KeyError, TypeError, ValueError, RewardOutOfRange) as error:
        raise JournalVersionMismatch(
            f"the journal holds a record that this version (journal version {JOURNAL_VERSION}) cannot read: {error}; "
            "use the version of Branchwise that wrote it"
        ) from error
