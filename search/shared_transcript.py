"""Workers that write one transcript together, each seeing what the others have written and are writing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..core.events import Expand
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import ROOT, Framing, Node, NodeId, WorkId
from .common import within
from .equivalence import names_answer
from .pieces import Pieces

NAMES = ("Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi")

RULES = (
    "{names} solve this together, at the same time, in one transcript. Each writes paragraphs of their own and sees those of the others as "
    "soon as they are written. Past steps stand under 'Past steps', what the others are writing right now under 'Work in progress "
    "(others)'. Divide the work, build on what is there, do not do what somebody else has done or is doing, and say so when "
    "somebody is wrong. Whoever is sure writes: The final answer is ..."
)

PAST = "### Past steps"
OTHERS = "### Work in progress (others)"
OWN = "### Work in progress (own)"

QUICK_CHECK = " Quick check: am I doing redundant work? (yes/no):"
"""What a worker is made to say from time to time; its answer is part of what it writes."""

FINISH = "Given the limited time, I have to give an answer right now. Considering all of the above, I have to conclude that the final answer is"
"""What the first worker is made to say when the tokens are used up."""


@dataclass
class SharedTranscript(Pieces):
    """Have `n` workers write into one transcript, until one of them names the final answer.

    Rodionov et al. (2025), Hogwild! Inference, whose workers share one key-value cache and see each other's tokens at once. Here
    every worker writes pieces of `piece_tokens` tokens, each with all that was written until the piece was begun before it: the
    common history of finished paragraphs in the order in which they were finished, the unfinished ones of the others, its own. Nobody
    waits for anybody. So what is new reaches the others a piece later, and only the history is shared in the server's prefix
    cache. Every `check_tokens` tokens a worker is made to ask itself whether it does redundant work, as in the paper.

    Models that were trained to think in such transcripts do not exist; the paper finds that reasoning models take to it, small ones may
    not. It is a strategy and not a graph: what a worker sees next is decided between two pieces of one turn, and whoever finishes first
    stops the others.

    Args:
        n: workers, 1 to 8.
        same: when answers are the same.
        piece_tokens: what a worker writes before it sees anew what the others wrote, >= 1.
        most_tokens: what all together write before an answer is forced, >= 1.
        check_tokens: how much a worker writes between two questions about redundant work, >= 1; None never asks.
    """

    name: ClassVar[str] = "shared-transcript"
    n: int = 2
    piece_tokens: int = 64
    most_tokens: int = 8192
    check_tokens: int | None = 256
    _history: list[str] = field(default_factory=list[str], init=False, repr=False)
    """Finished paragraphs of all, each with who wrote it."""
    _own: dict[int, str] = field(default_factory=dict[int, str], init=False, repr=False)
    """The unfinished paragraph of each worker that goes on."""
    _steps: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    """Number of the paragraph that each worker is at."""
    _unchecked: dict[int, int] = field(default_factory=dict[int, int], init=False, repr=False)
    """Tokens that each worker wrote since it was asked last."""
    _writers: list[int] = field(default_factory=list[int], init=False, repr=False)
    """Whose piece each one is; -1 for the forced answer."""
    _written: int = field(default=0, init=False, repr=False)
    """Tokens of all workers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("n", self.n, 1, len(NAMES))
        within("piece_tokens", self.piece_tokens, 1)
        within("most_tokens", self.most_tokens, 1)
        if self.check_tokens is not None:
            within("check_tokens", self.check_tokens, 1)

    @property
    def wanted(self) -> int:
        """The first final answer is that of all."""
        return 1

    # --- what is written ---

    def trajectories(self) -> int:
        """The first piece of every worker."""
        for worker in range(self.n):
            self._own[worker], self._steps[worker], self._unchecked[worker] = "", 1, 0
        for worker in range(self.n):
            self._write(worker)
        return 0

    def _write(self, worker: int) -> None:
        """Have a worker's next piece written."""
        if self.check_tokens is not None and self._unchecked[worker] >= self.check_tokens:
            self._unchecked[worker] = 0
            self._own[worker] = self._own[worker].rstrip() + QUICK_CHECK
        self._writers.append(worker)
        self.write([self._piece(self.transcript(worker), self.piece_tokens)])

    def _piece(self, lead: str, tokens: int | None) -> Expand:
        rules = RULES.format(names=" and ".join(NAMES[: self.n]))
        return Expand(WorkId(0), ROOT, framing=Framing(note=rules), segment_tokens=tokens, lead=lead)

    def transcript(self, worker: int) -> str:
        """Return what a worker sees before it goes on: the history, the others' unfinished paragraphs, its own."""
        others = [
            f"{self._header(other)} {text}…" for other, text in sorted(self._own.items()) if other != worker and text
        ]
        blocks = [PAST, *self._history, OTHERS, *others, OWN, f"{self._header(worker)} {self._own[worker]}".rstrip()]
        return "\n\n".join(blocks)

    def _header(self, worker: int) -> str:
        return f"**{NAMES[worker]} [{self._steps[worker]}]:**"

    # --- what came of it ---

    def finishes(self, node: Node) -> bool:
        """Whether a piece ends with the final answer: a turn that ends without one ends a paragraph."""
        lead = self.piece(self._number[node.id]).lead
        text = "" if node.step is None else node.step.text.removeprefix(lead)
        forced = self._writers[self._number[node.id]] < 0
        return super().finishes(node) and (forced or names_answer(self._own_text(node) + text))

    def to_verify(self, node: Node) -> bool:
        """A paragraph is nothing to verify, the answer is."""
        return node.id in self._finished

    def _own_text(self, node: Node) -> str:
        return self._own.get(self._writers[self._number[node.id]], "")

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:
        """Take a piece into the transcript and have the worker go on; one that nothing came of leaves."""
        worker = self._writers[number]
        if worker < 0 or self._done:
            return
        step = None if node is None else view[node].step
        if node is None or step is None or step.kind == "thought":
            del self._own[worker]
        else:
            tokens = max(1, view[node].usage.completion_tokens)
            self._written += tokens
            self._unchecked[worker] += tokens
            ends = step.kind == "answer"
            self._take(worker, step.text.removeprefix(self.piece(number).lead), ends=ends)
        if worker in self._own and self._written < self.most_tokens:
            self._write(worker)

    def _take(self, worker: int, text: str, *, ends: bool) -> None:
        """Put the paragraphs that a worker has finished into the history."""
        *finished, unfinished = (self._own[worker] + text + ("\n\n" if ends else "")).split("\n\n")
        for paragraph in filter(None, map(str.strip, finished)):
            self._history.append(f"{self._header(worker)} {paragraph}")
            self._steps[worker] += 1
        self._own[worker] = unfinished.lstrip()

    def all_over(self, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Force an answer where the workers were stopped without one."""
        said = self._history or any(self._own.values())
        if self._done or not said or self._writers[-1] < 0:
            return
        worker = min(self._own, default=0)
        own = self._own.get(worker, "")
        self._own[worker] = f"{own}\n\n{FINISH}".lstrip()
        self._writers.append(-1)
        self.write([self._piece(self.transcript(worker), None)])

    def why_over(self, view: TreeView) -> str:  # noqa: ARG002 - the protocol's signature
        """Say how much was written by how many."""
        return f"{self.n} workers wrote {len(self._history)} paragraphs, {self._written} tokens"

    def choice(self, view: TreeView) -> Appraisal:
        """Return the final answer that was named first, or forced."""
        if self._finished:
            return Appraisal(self._finished[0], source=f"the transcript of {self.n} workers")
        return self.cut_off(view)
