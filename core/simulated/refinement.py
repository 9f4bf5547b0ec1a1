"""A simulated problem of refinement under a noisy judge: the truth is known, nothing costs anything, every call counts.

A candidate is a number of bits, each right or wrong. A fresh one has few right; a child keeps most of its parent's right
bits and mends some of the wrong ones. The judge reports the share of right bits with errors: noise that is drawn anew with
every call, an error that persists for a candidate however often it is asked, and traps that look better than they are.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..events import Event, Expand, Expanded, Failed, Judged, Prune, Pruned, Score, WorkStarted
from ..protocols import Strategy
from ..tree import Tree
from ..types import ROOT, Node, NodeId, Step, Usage, Verdict

Rng = random.Random


@dataclass(frozen=True, slots=True)
class Draft:
    """A candidate of the problem."""

    bits: tuple[bool, ...]
    errors: tuple[float, ...]
    """What each judge persistently adds to its score."""
    trapped: bool = False

    @property
    def right(self) -> bool:
        """Whether it is the solution."""
        return all(self.bits)


@dataclass(frozen=True)
class Refinement:
    """One problem. How often a fresh bit is right and how often a wrong one is mended are drawn once for each `seed`.

    Args:
        seed: which problem it is.
        noise: standard deviation of a call's own error, in shares of right bits.
        persistent: standard deviation of the error that a judge makes about a candidate in every call.
        inherited: correlation of a child's persistent error with its parent's, in [0, 1].
        shared: correlation of the judges' persistent errors about the same candidate, in [0, 1].
        traps: share of new candidates that fall into a trap: one bit can never be right in them and their descendants.
        lure: what every judge adds to the score of a trapped candidate.
        clipped: cut scores off at 0 and 1; otherwise they are squeezed so that hardly any is cut off.
        judges: how many judges there are, each with persistent errors of its own.
        size: bits of a candidate.
    """

    seed: int
    noise: float = 0.0
    persistent: float = 0.0
    inherited: float = 0.0
    shared: float = 0.0
    traps: float = 0.0
    lure: float = 0.15
    clipped: bool = True
    judges: int = 1
    size: int = 16

    def chances(self) -> tuple[float, float]:
        """Return the chance of a fresh bit to be right and that of a wrong one to be mended."""
        rng = Rng(f"{self.seed} chances")
        return min(0.9, max(0.3, rng.gauss(0.6, 0.1))), max(0.02, rng.gauss(0.15, 0.08))

    def fresh(self, rng: Rng) -> Draft:
        """Return a new candidate."""
        right, _ = self.chances()
        return self._draft([rng.random() < right for _ in range(self.size)], None, rng)

    def child(self, parent: Draft, rng: Rng) -> Draft:
        """Return a refined candidate: a right bit breaks with probability .05."""
        _, mend = self.chances()
        return self._draft([rng.random() >= 0.05 if bit else rng.random() < mend for bit in parent.bits], parent, rng)

    def _draft(self, bits: list[bool], parent: Draft | None, rng: Rng) -> Draft:
        trapped = (parent is not None and parent.trapped) or (self.traps > 0 and rng.random() < self.traps)
        if trapped:
            bits[0] = False
        return Draft(tuple(bits), self._errors(parent, rng), trapped)

    def _errors(self, parent: Draft | None, rng: Rng) -> tuple[float, ...]:
        if not self.persistent:
            return (0.0,) * self.judges
        common = rng.gauss(0, 1)
        errors: list[float] = []
        for judge in range(self.judges):
            error = self.shared**0.5 * common + (1 - self.shared) ** 0.5 * rng.gauss(0, 1)
            if parent is not None:
                before = parent.errors[judge] / self.persistent
                error = self.inherited * before + (1 - self.inherited**2) ** 0.5 * error
            errors.append(self.persistent * error)
        return tuple(errors)

    def score(self, draft: Draft, rng: Rng, judge: int = 0) -> float:
        """Return what one call of a judge says, in [0, 1]."""
        score = sum(draft.bits) / self.size + draft.errors[judge] + self.lure * draft.trapped + rng.gauss(0, self.noise)
        return min(1.0, max(0.0, score if self.clipped else (score + 0.5) / 2))

    @property
    def least_right(self) -> float:
        """The value halfway between a candidate with all bits right and one with all but one, on the scale of the scores."""
        value = 1 - 0.5 / self.size
        return value if self.clipped else (value + 0.5) / 2


@dataclass
class Refining:
    """Takes a strategy through the problem, every generation and every judge's call charged to one budget.

    Args:
        strategy: a fresh one.
        world: the problem.
        calls: the budget.
        slots: expansions in flight at once; work ends in the order in which it was begun.
        blind: replace every score by noise that says nothing: the ablation of a strategy.
    """

    strategy: Strategy
    world: Refinement
    calls: int = 256
    slots: int = 1
    blind: bool = False
    spent: int = field(default=0, init=False)
    """Calls so far."""
    tree: Tree = field(init=False)
    drafts: dict[NodeId, Draft] = field(default_factory=dict[NodeId, Draft], init=False)
    events: list[Event] = field(default_factory=list[Event], init=False)

    def __post_init__(self) -> None:
        self.tree = Tree(Node(ROOT, None, None))

    def run(self) -> Draft | None:
        """Spend the budget; return the selected candidate, None where the strategy abstains."""
        while self.spent < self.calls:
            self.tree.share_left = 1 - self.spent / self.calls
            self._fill()
            flying = list(self.tree.in_flight.values())
            if not flying:
                break
            self._take(self._done(flying[0]))
        node = self.strategy.select(self.tree)
        return None if node is None else self.drafts.get(NodeId(node))

    def _fill(self) -> None:
        while True:
            expanding = sum(isinstance(work, Expand) for work in self.tree.in_flight.values())
            room = min(self.slots - expanding, 2 * self.slots - len(self.tree.in_flight))
            works = self.strategy.ask(self.tree, max(0, room))
            if not works:
                return
            for work in works:
                self._take(WorkStarted(work))
                if isinstance(work, Prune):
                    self._take(Pruned(work.node, work.reason))

    def _done(self, work: object) -> Event:
        """Do a piece of work."""
        assert isinstance(work, Expand | Score)
        rng = Rng(f"{self.world.seed} work {work.id}")
        if isinstance(work, Expand):
            return self._expanded(work, rng)
        if work.node == ROOT:
            return Judged(work.id, work.node, ())
        judges = tuple(f"judge {number}" for number in range(self.world.judges))
        names = tuple(name for name in work.verifiers if name in judges) if work.verifiers else judges
        if self.spent + len(names) > self.calls:
            self.spent = self.calls
            return Failed(work.id, work.node, "BudgetExceeded", "the calls are spent")
        self.spent += len(names)
        return Judged(work.id, work.node, self._verdicts(self.drafts[work.node], names, rng))

    def _expanded(self, work: Expand, rng: Rng) -> Expanded:
        parent = self.drafts.get(work.node)
        node = NodeId(work.id)
        self.spent += 1
        self.drafts[node] = self.world.fresh(rng) if parent is None else self.world.child(parent, rng)
        depth = self.tree[work.node].depth + 1
        return Expanded(work.id, Node(node, work.node, Step("thought", ""), None, depth, Usage(calls=1, nodes=1)))

    def _verdicts(self, draft: Draft, names: Sequence[str], rng: Rng) -> tuple[Verdict, ...]:
        scores = (rng.random() if self.blind else self.world.score(draft, rng, int(name.split()[1])) for name in names)
        return tuple(Verdict(score, "value", name) for name, score in zip(names, scores, strict=True))

    def _take(self, event: Event) -> None:
        self.tree.apply(event)
        self.strategy.tell((event,), self.tree)
        self.events.append(event)
