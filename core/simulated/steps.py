"""Simulated worlds, for tests of strategies and of the machine: every value is known and nothing costs anything."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from ..budget import Bill, Ledger
from ..events import (
    Cancel,
    Cancelled,
    Denied,
    Event,
    Expand,
    Expanded,
    Failed,
    Judged,
    Prune,
    Pruned,
    Score,
    Work,
    WorkStarted,
)
from ..protocols import Strategy
from ..tree import Tree, TreeView
from ..types import ROOT, Node, NodeId, Step, Usage, Verdict, WorkId

Path = tuple[int, ...]
"""The choices that led from the root to a node."""

Outcome = Literal["well", "failed", "cancelled", "denied"]


def uniform(*keys: object) -> float:
    """Return a number in [0, 1) that is a function of `keys`, the same in every process."""
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True)
class StepTree:
    """A tree of steps with one right way through it.

    Every node has `branching` children, one of which is right; a policy takes each with a probability of its own, none
    with a very small one. A trajectory of `depth` steps is solved where every step of it is right.

    Args:
        branching: children of a node, >= 1.
        depth: steps of a whole trajectory, >= 1.
        seed: which tree it is.
    """

    branching: int = 4
    depth: int = 6
    seed: int = 0

    def probabilities(self, path: Path) -> list[float]:
        """Return the policy's probabilities of the children of `path`."""
        rng = random.Random(int(uniform(self.seed, "policy", path) * 2**53))  # noqa: S311 - a simulation
        weights = [0.5 + rng.expovariate(1.0) for _ in range(self.branching)]
        total = sum(weights)
        return [weight / total for weight in weights]

    def right(self, path: Path) -> int:
        """Return the right child of `path`."""
        return int(uniform(self.seed, "right", path) * self.branching)

    def sample(self, path: Path, chance: float) -> Path:
        """Return the child that the policy takes; `chance` in [0, 1) decides."""
        for choice, probability in enumerate(self.probabilities(path)):
            chance -= probability
            if chance < 0:
                return (*path, choice)
        return (*path, self.branching - 1)

    def progress(self, path: Path) -> float:
        """Return how far along the right way `path` goes before it leaves it, in [0, 1]; half of that once it has left."""
        steps = 0
        while steps < len(path) and path[steps] == self.right(path[:steps]):
            steps += 1
        return steps / self.depth if steps == len(path) else steps / self.depth / 2

    def solved(self, path: Path) -> bool:
        """Whether `path` is whole and right."""
        return len(path) == self.depth and self.progress(path) == 1.0

    # --- as nodes ---

    def root(self) -> Node:
        """Return the root of a search tree over this world."""
        return Node(ROOT, None, None, env_ref="")

    @staticmethod
    def path(node: Node) -> Path:
        """Return where a node stands; equal states have equal references."""
        return tuple(int(choice) for choice in node.env_ref.split(".")) if node.env_ref else ()

    def expand(self, work: Expand, view: TreeView, seed: int) -> Node:
        """Return the node after one more step; the same work always takes the same one."""
        parent = view[work.node]
        path = self.sample(self.path(parent), uniform(seed, "step", work.id))
        where = ".".join(map(str, path))
        answer = where if len(path) == self.depth else None
        step = Step("answer" if answer else "thought", where)
        return Node(NodeId(work.id), parent.id, step, where, parent.depth + 1, Usage(nodes=1), answer)


Judge = Callable[[StepTree, Path], float]
"""Values a prefix, in [0, 1]."""


def true_judge(world: StepTree, path: Path) -> float:
    """Value a prefix by its progress."""
    return world.progress(path)


def noise_judge(world: StepTree, path: Path) -> float:
    """Value a prefix by nothing at all: the ablation of a search."""
    return uniform(world.seed, "noise", path)


@dataclass
class Simulation:
    """Takes a strategy through a world, one completion at a time: the search machine without time, I/O and LangGraph.

    Args:
        strategy: a fresh one.
        world: what it searches.
        slots: expansions in flight at once.
        judge: values nodes; whole trajectories are also told whether they are solved.
        seed: decides the steps that are taken.
    """

    strategy: Strategy
    world: StepTree
    slots: int = 4
    judge: Judge = true_judge
    seed: int = 0
    tree: Tree = field(init=False)
    events: list[Event] = field(default_factory=list[Event], init=False)

    def __post_init__(self) -> None:
        self.tree = Tree(self.world.root())

    @property
    def expanding(self) -> int:
        """Expansions in flight."""
        return sum(isinstance(work, Expand) for work in self.tree.in_flight.values())

    def fill(self) -> list[Work]:
        """Start what the strategy wants until it wants nothing more; return that."""
        started: list[Work] = []
        while works := self.strategy.ask(self.tree, self.slots - self.expanding):
            for work in works:
                self._take(WorkStarted(work))
                match work:
                    case Prune(_, node, reason):
                        self._take(Pruned(node, reason))
                    case Cancel(_, _, target) if target in self.tree.in_flight:
                        self.finish(target, "cancelled")
                    case _:
                        pass
            started += works
        return started

    def finish(self, number: WorkId, outcome: Outcome = "well") -> Event:
        """End a work item in flight; return the event."""
        work = self.tree.in_flight[number]
        event: Event
        match work, outcome:
            case Expand(), "well":
                event = Expanded(work.id, self.world.expand(work, self.tree, self.seed))
            case Score(), "well":
                event = Judged(work.id, work.node, (self.verdict(work.node),))
            case _, "failed":
                event = Failed(work.id, work.node, "ModelTimeout", "simulated")
            case _, "cancelled":
                event = Cancelled(work.id, work.node, "simulated")
            case _:
                event = Denied(work.id, work.node, "tokens")
        self._take(event)
        return event

    def verdict(self, node: NodeId) -> Verdict:
        """Return the judge's verdict on a node."""
        return simulated_verdict(self.world, self.judge, self.tree[node])

    def run(self, expansions: int, rng: random.Random | None = None) -> Tree:
        """Search until a node is accepted, `expansions` nodes exist or nothing is left.

        Args:
            expansions: the budget.
            rng: picks what finishes next; without it the oldest.
        """
        while len(self.tree) <= expansions:
            self.fill()
            flying = list(self.tree.in_flight)
            if not flying:
                break
            event = self.finish(rng.choice(flying) if rng is not None else flying[0])
            if isinstance(event, Judged) and self.tree.passed(event.node):
                break
        return self.tree

    @property
    def solved(self) -> bool:
        """Whether the selected trajectory is right."""
        node = self.strategy.select(self.tree)
        return node is not None and self.world.solved(self.world.path(self.tree[NodeId(node)]))

    def _take(self, event: Event) -> None:
        self.tree.apply(event)
        self.strategy.tell((event,), self.tree)
        self.events.append(event)


def simulated_verdict(world: StepTree, judge: Judge, node: Node) -> Verdict:
    """Return a judge's verdict; a whole trajectory is accepted where it is solved."""
    path = world.path(node)
    whole = len(path) == world.depth
    return Verdict(judge(world, path), "value", judge.__name__, passed=world.solved(path) if whole else None)


async def _at_once(_work: Expand | Score) -> None:
    pass


@dataclass
class SimulatedBench:
    """Does the search machine's work in a simulated world, under a real ledger.

    Args:
        world: what is searched.
        ledger: pays for nodes and verifier calls.
        judge: values nodes.
        seed: decides the steps that are taken.
        pause: awaited in the middle of every work item; may raise.
    """

    world: StepTree
    ledger: Ledger
    judge: Judge = true_judge
    seed: int = 0
    pause: Callable[[Expand | Score], Awaitable[None]] = _at_once

    async def expand(self, work: Expand, tree: Tree, bill: Bill) -> Node:
        """Take one more step."""
        with await self.ledger.reserve(Usage(nodes=1)) as held:
            await self.pause(work)
            held.actual = Usage(nodes=1)
        bill.add(held.actual)
        return self.world.expand(work, tree, self.seed)

    async def score(self, work: Score, tree: Tree, bill: Bill) -> tuple[Verdict, ...]:
        """Judge a node."""
        with await self.ledger.reserve(Usage(verifier_calls=1)) as held:
            held.actual = Usage(verifier_calls=1)
            bill.add(held.actual)
            await self.pause(work)
        return (simulated_verdict(self.world, self.judge, tree[work.node]),)
