"""What the tests of sampling methods share: trees of answers by hand, and shares of solved problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from branchwise.core.events import Expanded, Judged
from branchwise.core.protocols import Selector, Strategy
from branchwise.core.simulated.answers import AnswerWorld
from branchwise.core.simulated.judges import NoisyJudge
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Framing, Node, NodeId, Step, Usage, Verdict, WorkId


@dataclass
class Answers:
    """A tree of trajectories, made by hand."""

    tree: Tree = field(default_factory=lambda: Tree(Node(ROOT, None, None)))

    def add(
        self,
        answer: str | None,
        value: float | None = None,
        *,
        tokens: int = 10,
        logprob: float | None = None,
        text: str = "",
        variant: int | None = None,
        parent: NodeId = ROOT,
    ) -> NodeId:
        """Add a node; return its number."""
        number = NodeId(len(self.tree))
        framing = None if variant is None else Framing(variant=variant)
        step = Step("answer", text or f"{number}", logprob=logprob, framing=framing)
        usage = Usage(completion_tokens=tokens)
        depth = self.tree[parent].depth + 1
        self.tree.apply(Expanded(WorkId(number), Node(number, parent, step, None, depth, usage, answer)))
        if value is not None:
            self.tree.apply(Judged(WorkId(1000 + number), number, (Verdict(value, "value", "v"),)))
        return number

    @classmethod
    def of(cls, answers: Sequence[str | None], values: Sequence[float] | None = None) -> Answers:
        """Return a tree of these answers with these values."""
        tree = cls()
        for place, answer in enumerate(answers):
            tree.add(answer, None if values is None else values[place])
        return tree


@dataclass
class Tally:
    """How a number of problems went, on average."""

    right: float = 0.0
    tokens: float = 0.0
    seconds: float = 0.0
    """Of the virtual clock, which runs in tokens."""
    verifier_calls: float = 0.0


def tally(
    make: Callable[[], Strategy],
    world: Callable[[int], AnswerWorld],
    problems: int,
    *,
    judge: Callable[[int], NoisyJudge] | None = None,
    selector: Selector | None = None,
    slots: int = 8,
) -> Tally:
    """Take a strategy through problems; the k-th trajectory of a problem is the same for every strategy."""
    total = Tally()
    for seed in range(problems):
        problem = world(seed)
        judges = None if judge is None else judge(seed).of(problem)
        search = TimedSearch(make().fresh(seed), problem, judges, selector, slots=slots, seed=seed)
        search.run()
        total.right += search.right / problems
        total.tokens += search.tree.usage.tokens / problems
        total.seconds += search.now_tokens / problems
        total.verifier_calls += search.verifier_calls / problems
    return total
