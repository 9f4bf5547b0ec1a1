"""What refinement came to: right attempts that came out wrong, and wrong ones that came out right."""

from __future__ import annotations

import json
from pathlib import Path

import branchwise as bw
from branchwise.core.events import Expand, Expanded, Judged, Score, WorkStarted
from branchwise.core.testing import ScriptedModel
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Budget, Framing, ModelRequest, Node, NodeId, Step, Task, Verdict, WorkId
from branchwise.graphs import LocalRunner, RunStore
from branchwise.search.revisions import Revisions, revisions


class Grown:
    """A tree of attempts, each of which was shown others."""

    def __init__(self) -> None:
        self.tree = Tree(Node(ROOT, None, None))

    def step(self, *shown: int, parent: int = 0) -> int:
        """Take a step; return its node."""
        work = self.tree.next_work
        framing = Framing(tuple(map(NodeId, shown))) if shown else None
        self.tree.apply(WorkStarted(Expand(work, NodeId(parent), framing=framing)))
        depth = self.tree[NodeId(parent)].depth + 1
        node = Node(NodeId(work), NodeId(parent), Step("answer", "x", framing=framing), None, depth, answer="x")
        self.tree.apply(Expanded(work, node))
        return work

    def judged(self, node: int, value: float, *, passed: bool | None = None) -> int:
        """Have it judged."""
        work = self.tree.next_work
        self.tree.apply(WorkStarted(Score(work, NodeId(node))))
        self.tree.apply(Judged(WorkId(work), NodeId(node), (Verdict(value, "outcome", "judge", passed),)))
        return node


def test_flips_are_counted_both_ways() -> None:
    """Right to wrong, wrong to right, and what stayed as it was; attempts that were shown nothing are none."""
    grown = Grown()
    right, wrong = grown.judged(grown.step(), 0.9), grown.judged(grown.step(), 0.2)
    grown.judged(grown.step(right), 0.1)
    grown.judged(grown.step(wrong), 0.8)
    grown.judged(grown.step(right, wrong), 0.7)
    grown.judged(grown.step(wrong), 0.3)
    assert revisions(grown.tree) == Revisions(attempts=4, right_to_wrong=1, wrong_to_right=1)


def test_verifiers_that_decide_say_what_is_right() -> None:
    """Whatever the value; what nobody judged counts neither as shown nor as an attempt."""
    grown = Grown()
    refused = grown.judged(grown.step(), 0.9, passed=False)
    unjudged = grown.step()
    grown.judged(grown.step(refused, unjudged), 0.4, passed=True)
    grown.judged(grown.step(unjudged), 0.9)
    grown.step(refused)
    assert revisions(grown.tree) == Revisions(attempts=1, wrong_to_right=1)


def test_an_attempt_of_several_steps_counts_once() -> None:
    """By its end, whose first step was shown the others."""
    grown = Grown()
    wrong = grown.judged(grown.step(), 0.1)
    first = grown.judged(grown.step(wrong), 0.1)
    grown.judged(grown.step(parent=first), 0.9)
    assert revisions(grown.tree) == Revisions(attempts=1, wrong_to_right=1)


async def test_a_result_tells_of_them(tmp_path: Path) -> None:
    """Of any search that shows attempts to the next; of one that does not there is nothing to tell."""

    @bw.verifier
    def long(candidate: bw.Candidate) -> float:
        """Longer is better."""
        return min(1.0, len(candidate.answer or "") / 10)

    def reply(request: ModelRequest) -> str:
        text = "a longer answer" if "Other attempts" in request.messages[-1].content else "short"
        return json.dumps({"thought": "", "tool": "answer", "args": {"text": text[: 15 if "long" in text else 3]}})

    runner = LocalRunner(RunStore(tmp_path / "runs"))
    model = ScriptedModel(reply, slots=1, native_tools=False)
    agent = bw.Agent(name="a", model=model, verifiers=[long], search=bw.search.SelfRefine(1, criticise=False))
    result = await runner.run(agent, Task(prompt="x"), Budget(), seed=1)
    assert result.report["revisions"] == {"attempts": 1, "right_to_wrong": 0, "wrong_to_right": 1}
    plain = await runner.run(agent, Task(prompt="x"), Budget(), seed=1, search=bw.search.BestOfN(3))
    assert plain.report == {}
