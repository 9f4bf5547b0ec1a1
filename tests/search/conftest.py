"""A tree that grows by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from branchwise.core.events import Event, Expand, Expanded, Failed, Judged, Prune, Pruned, Score, Work, WorkStarted
from branchwise.core.protocols import Strategy
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Step, ToolCall, Verdict, WorkId


@dataclass
class Bench:
    """Starts what a strategy asks for and ends it as the test says."""

    strategy: Strategy
    tree: Tree = field(default_factory=lambda: Tree(Node(ROOT, None, None, "start")))

    def take(self, *events: Event) -> None:
        """Let it happen."""
        for event in events:
            self.tree.apply(event)
            self.strategy.tell((event,), self.tree)

    def ask(self, slots: int = 1) -> list[Work]:
        """Ask and start everything."""
        works = list(self.strategy.ask(self.tree, slots))
        for work in works:
            self.take(WorkStarted(work))
            if isinstance(work, Prune):
                self.take(Pruned(work.node, work.reason))
        return works

    def judge(self, value: float | None = None, passed: bool | None = None) -> NodeId:
        """Judge the node whose judging is due; None: no verifier applies to it."""
        (score,) = (work for work in self.ask(0) if isinstance(work, Score))
        verdicts = () if value is None else (Verdict(value, "value", "test", passed),)
        self.take(Judged(score.id, score.node, verdicts))
        return score.node

    def grow(
        self,
        value: float | None = None,
        *,
        state: str | None = None,
        answer: str | None = None,
        call: str | None = None,
    ) -> Node:
        """Expand the node that the strategy likes best and judge the new node."""
        (work,) = (work for work in self.ask() if isinstance(work, Expand))
        node = self.arrive(work, state=state, answer=answer, call=call)
        self.judge(value)
        return node

    def arrive(
        self, work: Work, *, state: str | None = None, answer: str | None = None, call: str | None = None
    ) -> Node:
        """End an expansion with a new node, which nobody has judged yet."""
        parent = self.tree[work.node]
        node = Node(
            NodeId(work.id),
            parent.id,
            Step("answer" if answer else "thought", "", () if call is None else (ToolCall("", call, {}),)),
            f"state {work.id}" if state is None else state,
            parent.depth + 1,
            answer=answer,
        )
        self.take(Expanded(work.id, node))
        return node

    def settle(self, work: Work) -> None:
        """End a judgement that is in flight with nothing to say."""
        self.take(Judged(work.id, work.node, ()))

    def wants(self, slots: int = 1) -> list[int]:
        """Nodes that the strategy would expand, best first. Starts nothing."""
        return [work.node for work in self.strategy.ask(self.tree, slots) if isinstance(work, Expand)]

    def fail(self, number: WorkId) -> None:
        """End work by a failure."""
        self.take(Failed(number, self.tree.in_flight[number].node, "ModelTimeout", ""))


@pytest.fixture
def bench() -> type[Bench]:
    """The class itself, for a strategy of the test's choice."""
    return Bench
