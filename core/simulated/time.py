"""Taking a strategy through a world whose trajectories take their time: a virtual clock, cancellation, every token charged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..events import (
    Cancel,
    Cancelled,
    Event,
    Expand,
    Expanded,
    Judged,
    Prune,
    Pruned,
    Score,
    WorkStarted,
)
from ..protocols import Appraisal, Appraiser, Selector, Strategy
from ..tree import Tree
from ..types import ROOT, Node, NodeId, Step, Usage, Verdict, WorkId
from .answers import AnswerWorld, Draw, Rng
from .judges import AnswerJudge

PairJudge = Callable[[Sequence[Node], Sequence[Node], Rng], Verdict]
"""Says how alike two trajectories are."""


@dataclass
class TimedSearch:
    """The search machine in virtual time, which runs in tokens: every slot samples one token per tick. Judging takes no time.

    Work in flight ends in the order of its time, and of its number where times are equal. Work that is cancelled is charged
    for what it had sampled, and for `overshoot_tokens` more, which the server samples before it notices.

    Args:
        strategy: a fresh one.
        world: the problem.
        judge: judges nodes; None where there is no verifier.
        selector: chooses in the strategy's place.
        slots: expansions in flight at once.
        overshoot_tokens: what a cancelled trajectory samples after it was cancelled, at most to its end.
        seed: decides what is drawn; the k-th trajectory comes to the same under every strategy.
        compare: judges pairs of nodes, where the strategy names who is to; the `judge` is asked otherwise.
    """

    strategy: Strategy
    world: AnswerWorld
    judge: AnswerJudge | None = None
    selector: Selector | None = None
    slots: int = 8
    overshoot_tokens: int = 0
    seed: int = 0
    compare: PairJudge | None = None
    tree: Tree = field(default_factory=lambda: Tree(Node(ROOT, None, None)), init=False)
    now_tokens: int = field(default=0, init=False)
    """The clock."""
    cancelled: list[WorkId] = field(default_factory=list[WorkId], init=False)
    """Expansions that were stopped."""
    verifier_calls: int = field(default=0, init=False)
    events: list[Event] = field(default_factory=list[Event], init=False)
    _flights: dict[WorkId, tuple[int, Draw]] = field(default_factory=dict[WorkId, tuple[int, Draw]], init=False)
    """When each expansion in flight began, and what it comes to."""
    _begun: int = field(default=0, init=False, repr=False)
    """Expansions so far."""

    def run(self) -> Appraisal:
        """Search to the end; return the choice."""
        while self._fill():
            self._finish()
            if any(self.tree.passed(event.node) for event in self.events[-1:] if isinstance(event, Judged)):
                break
        return self.choice()

    def choice(self) -> Appraisal:
        """Return what is chosen now."""
        if self.selector is not None:
            return self.selector.choose(self.tree)
        if isinstance(self.strategy, Appraiser):
            return self.strategy.appraise(self.tree)
        node = self.strategy.select(self.tree)
        return Appraisal(None if node is None else NodeId(node))

    @property
    def right(self) -> bool:
        """Whether the choice is right."""
        node = self.choice().node
        answer = None if node is None else self.tree[node].answer
        return answer is not None and self.world.right(answer)

    def _fill(self) -> bool:
        """Start what the strategy wants; return whether anything is in flight."""
        while works := self.strategy.ask(self.tree, self.slots - len(self._flights)):
            for work in works:
                self._take(WorkStarted(work))
                match work:
                    case Expand():
                        self._begun += 1
                        rng = Rng(f"{self.seed} trajectory {self._begun}")
                        self._flights[work.id] = (self.now_tokens, self.world.draw(work, self.tree, rng))
                    case Prune(_, node, reason):
                        self._take(Pruned(node, reason))
                    case Cancel(_, _, target, reason):
                        self._cancel(target, reason)
                    case Score():
                        pass
        return bool(self.tree.in_flight)

    def _finish(self) -> None:
        """End what ends next: judging at once, else the trajectory whose time comes first."""
        scores = (work for work in self.tree.in_flight.values() if isinstance(work, Score))
        if (score := next(scores, None)) is not None:
            self._take(self._judged(score))
            return
        (when, number) = min((begun + draw.tokens, number) for number, (begun, draw) in self._flights.items())
        self.now_tokens = when
        work = self.tree.in_flight[number]
        assert isinstance(work, Expand)
        _, draw = self._flights.pop(number)
        ends: Literal["answer", "invalid"] = "invalid" if draw.answer is None else "answer"
        step = Step("partial" if draw.partial else ends, draw.text, logprob=draw.logprob, framing=work.framing)
        usage = Usage(completion_tokens=draw.tokens, calls=1, nodes=1)
        depth = self.tree[work.node].depth + 1
        self._take(Expanded(number, Node(NodeId(number), work.node, step, None, depth, usage, draw.answer)))

    def _judged(self, work: Score) -> Judged:
        if work.verifiers and self.compare is not None:
            self.verifier_calls += 1
            one, other = (self.tree.path(node) for node in work.among)
            verdict = self.compare(one, other, Rng(f"{self.seed} pair {self.verifier_calls}"))
            return Judged(work.id, work.node, (verdict,), Usage(verifier_calls=1))
        if self.judge is None or work.node == ROOT:
            return Judged(work.id, work.node, ())
        self.verifier_calls += 1
        verdicts = self.judge(self.tree[work.node], Rng(f"{self.seed} judge {self.verifier_calls}"))
        return Judged(work.id, work.node, verdicts, Usage(verifier_calls=1))

    def _cancel(self, target: WorkId, reason: str) -> None:
        flight = self._flights.pop(target, None)
        if flight is None:
            return
        begun, draw = flight
        sampled = min(draw.tokens, self.now_tokens - begun + self.overshoot_tokens)
        self.cancelled.append(target)
        node = self.tree.in_flight[target].node
        self._take(Cancelled(target, node, reason, Usage(cancelled_tokens=sampled, calls=1)))

    def _take(self, event: Event) -> None:
        self.tree.apply(event)
        self.strategy.tell((event,), self.tree)
        self.events.append(event)
