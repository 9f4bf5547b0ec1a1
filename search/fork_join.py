"""Threads within one text: the model outlines what can be done side by side, threads do it, and the text goes on with all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Event, Expand, Expanded, Work
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.turns import begun, closes, is_open, text_of
from ..core.types import ROOT, Framing, Node, NodeId, WorkId
from .common import MAX_FAILURES, within
from .sampled import Sampled
from .voting import Vote, answered

BLOCK, OUTLINES, THREAD = "Parallel", "Outlines", "Thread"

FORMAT = """Where parts of the work do not depend on each other, have them done side by side. Write a block in exactly this form:

<Parallel>
<Outlines>
<Outline> 1: what the first thread is to do </Outline>
<Outline> 2: what the second thread is to do </Outline>
</Outlines>
<Thread> 1: the first part, worked out </Thread>
<Thread> 2: the second part, worked out </Thread>
</Parallel>

Then go on with what the threads found. No thread knows of the others. Where nothing can be divided go on without such a block."""
"""Said to the model beneath the task; it stops being asked to write the threads by itself once its outlines end."""

NOTHING = " (nothing came of this thread)"

_OUTLINE = re.compile(r"<Outline>\s*(\d+)\s*[:.]\s*(.*?)\s*</Outline>", re.DOTALL)


@dataclass(slots=True)
class Fork:
    """The threads of one block."""

    outlines: list[str]
    due: list[int]
    """Places of those that are to be begun."""
    flying: dict[WorkId, int] = field(default_factory=dict[WorkId, int])
    done: dict[int, NodeId | None] = field(default_factory=dict[int, NodeId | None])
    """Where each ended; None for one that nothing came of."""


@dataclass
class ForkJoin(Sampled):
    """Let the model divide its work into threads in the middle of a turn, sample them side by side, and go on with all of them.

    Lian et al. (2025), ThreadWeaver. The text is sampled until its outlines end; each outline is a thread that goes on from the same text
    with `<Thread> i:`, until it ends itself; then the text goes on from what one model would have written one after the other, the
    threads in their order, byte for byte. So threads see all that stands before the block and nothing of each other. An
    outline that is malformed or has a single entry is gone on from without threads. Several blocks may follow each other.

    The time it takes is that of the text and of the longest thread of each block (`critical_path_tokens`), not of all of them; nothing is
    saved but time. The paper trains its model; others are told the form (`FORMAT`). Not a graph of searches, as the spawning of helpers is
    (`Agent(spawn=...)`): threads go on with the parent's very text, and end up in it.

    Args:
        n: texts side by side, >= 1; most votes win.
        same: when answers are the same.
        most: threads of a block at most, >= 2; more are taken for malformed.
        blocks: blocks of a text at most, >= 0.
        thread_tokens: longest thread, >= 1; None: what is left of the turn.
        depth: longest trajectory in steps, >= 1; a block is one.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "fork-join"
    n: int = 1
    most: int = 8
    blocks: int = 8
    thread_tokens: int | None = None
    depth: int = field(default=64, kw_only=True)
    _forks: dict[NodeId, Fork] = field(default_factory=dict[NodeId, Fork], init=False, repr=False)
    """Blocks whose threads are not all done, by the end of their outlines."""
    _joined: dict[NodeId, str] = field(default_factory=dict[NodeId, str], init=False, repr=False)
    """What the text goes on with behind the outlines: nothing where they are malformed."""
    _count: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    """Blocks of each text so far."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("most", self.most, 2)
        within("blocks", self.blocks, 0)
        if self.thread_tokens is not None:
            within("thread_tokens", self.thread_tokens, 1)

    @property
    def in_segments(self) -> bool:
        """Turns are cut at their outlines."""
        return True

    @property
    def speculative(self) -> bool:
        """Threads go side by side."""
        return True

    # --- what to do next ---

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Begin a text: to the end of its outlines, or to its own."""
        return Expand(work, ROOT, framing=Framing(note=FORMAT), closing=self._closing(number))

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:
        """Go on behind a block."""
        return Expand(work, node, lead=self._joined.get(node, ""), closing=self._closing(number))

    def _closing(self, number: int) -> str:
        return OUTLINES if self._count.get(number, 0) < self.blocks else ""

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Threads first: texts wait for them."""
        due = [(node, place) for node, fork in self._forks.items() for place in fork.due][:slots]
        works: list[Work] = [
            Expand(
                WorkId(first + i),
                node,
                lead=thread_lead(place),
                closing=THREAD,
                segment_tokens=self.thread_tokens,
            )
            for i, (node, place) in enumerate(due)
        ]
        return works + super().expansions(view, slots - len(works), WorkId(first + len(works)))

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:
        """Take what was begun out of what is due."""
        if isinstance(work, Expand) and work.node in self._forks:
            fork = self._forks[work.node]
            place = next(place for place in fork.due if work.lead == thread_lead(place))
            fork.due.remove(place)
            fork.flying[work.id] = place
        else:
            super().started(work, view)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """Try a thread again, until too many failed."""
        if (fork := self._forks.get(node)) is None:
            super().undone(work, node, view)
            return
        place = fork.flying.pop(work)
        if view.failures(node) < MAX_FAILURES * len(fork.outlines):
            fork.due.append(place)
            fork.due.sort()
        else:
            self._done(node, place, None, view)

    def _tell(self, event: Event, view: TreeView) -> None:
        super()._tell(event, view)
        if not isinstance(event, Expanded) or event.node.parent is None:
            return
        node, parent = event.node, event.node.parent
        if (fork := self._forks.get(parent)) is not None and event.work in fork.flying:
            del self._unjudged[node.id]  # a part of a turn is nothing to verify
            self._done(parent, fork.flying.pop(event.work), node.id, view)
        elif node.step is not None and node.step.kind == "partial":
            del self._unjudged[node.id]
            self._fork(node, view)

    def _fork(self, node: Node, view: TreeView) -> None:
        """Begin the threads of a text that stopped behind its outlines; go on where there are none to begin."""
        number = self._number[node.id]
        if node.depth >= self.depth:
            self._end(number, node.id, view)
            return
        text = text_of(begun(view.path(node.id)))
        ended = text.endswith(closes(OUTLINES))
        self._count[number] = self._count.get(number, 0) + ended
        found = outlines(text, self.most) if ended else []
        if found:
            self._forks[node.id] = Fork(found, list(range(1, len(found) + 1)))
        else:
            self._tips[node.id] = None

    def _done(self, node: NodeId, place: int, end: NodeId | None, view: TreeView) -> None:
        """Note the end of a thread; the last one lets the text go on."""
        fork = self._forks[node]
        fork.done[place] = end
        if len(fork.done) == len(fork.outlines):
            del self._forks[node]
            threads = [_thread(place, fork.done[place], view) for place in sorted(fork.done)]
            self._joined[node] = "".join([*threads, f"\n{closes(BLOCK)}"])
            self._tips[node] = None

    # --- choosing ---

    def choice(self, view: TreeView) -> Appraisal:
        """Return the answer that most texts came to."""
        return Vote(self.same).among(answered(view), view)


def thread_lead(place: int) -> str:
    """Return what a thread begins with."""
    return f"\n<{THREAD}> {place}:"


def _thread(place: int, end: NodeId | None, view: TreeView) -> str:
    """Return a thread as the text has it."""
    step = None if end is None else view[end].step
    text = thread_lead(place) + NOTHING if step is None else step.text
    return text + closes(THREAD) if is_open(text, THREAD) else text


def outlines(text: str, most: int) -> list[str]:
    """Return what the threads of the block at a text's end are to do; nothing where it is malformed or has a single thread.

    Args:
        text: a turn so far, to the end of its outlines.
        most: threads at most.
    """
    opened = text.rfind(f"<{OUTLINES}>")
    if opened < 0 or not is_open(text, BLOCK):
        return []
    found = _OUTLINE.findall(text, opened)
    numbers = [int(number) for number, _ in found]
    wanted = [str(what) for _, what in found]
    well = numbers == list(range(1, len(found) + 1)) and all(wanted) and 2 <= len(found) <= most
    return wanted if well else []


def critical_path_tokens(view: TreeView, node: NodeId) -> int:
    """Return how many tokens were sampled one after the other until a node: of threads side by side the longest counts.

    Their share of all tokens of the text, taken from 1, is what threads save of its time.
    """
    path = view.path(node)
    total = 0
    for before, here in zip([None, *path], path, strict=False):
        total += here.usage.completion_tokens
        threads: Sequence[NodeId] = () if before is None else _threads(view, before.id, here.id)
        total += max((view[thread].usage.completion_tokens for thread in threads), default=0)
    return total


def _threads(view: TreeView, node: NodeId, but: NodeId) -> Sequence[NodeId]:
    children = (view[child] for child in view.children(node) if child != but)
    return [c.id for c in children if c.step is not None and c.step.text.startswith(f"\n<{THREAD}>")]
