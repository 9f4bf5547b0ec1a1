"""The tree as a fold over events."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.events import (
    Abstained,
    Accepted,
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
    Resumed,
    Score,
    Selected,
    Stopped,
    Work,
    WorkStarted,
)
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Step, Usage, Verdict, WorkId

ROOT_NODE = Node(ROOT, None, None)


def child(number: int, parent: int, depth: int, *, answer: str | None = None) -> Node:
    """A node made by work item `number`."""
    step = Step("answer" if answer else "thought", "")
    return Node(NodeId(number), NodeId(parent), step, None, depth, Usage(nodes=1), answer)


def observed(tree: Tree) -> dict[str, object]:
    """Everything that can be seen of a tree."""
    return {
        "nodes": list(tree),
        "children": {node.id: list(tree.children(node.id)) for node in tree},
        "verdicts": {node.id: tree.verdicts(node.id) for node in tree},
        "value": {node.id: tree.value(node.id) for node in tree},
        "status": {node.id: tree.status(node.id) for node in tree},
        "failures": {node.id: tree.failures(node.id) for node in tree},
        "in_flight": dict(tree.in_flight),
        "rest": (tree.next_work, tree.usage, tree.selected, tree.accepted, tree.stopped, tree.elapsed_seconds),
    }


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Work started one by one, each with how it ended; the order of the ends is the caller's to choose."""
    ends: list[list[Event]] = []
    depths = {0: 0}
    for number in range(1, draw(st.integers(1, 15))):
        node = draw(st.sampled_from(sorted(depths)))
        expands = draw(st.booleans())
        work: Work = Expand(WorkId(number), NodeId(node)) if expands else Score(WorkId(number), NodeId(node))
        usage = Usage(calls=number)
        how = draw(st.sampled_from(["well", "failed", "cancelled", "denied", "never"]))
        end: list[Event] = []
        if how == "well" and expands:
            depths[number] = depths[node] + 1
            end = [Expanded(work.id, child(number, node, depths[number]))]
        elif how == "well":
            verdict = Verdict(draw(st.sampled_from([0.0, 0.5, 1.0])), "value", draw(st.sampled_from("ab")))
            end = [Judged(work.id, work.node, (verdict,), usage)]
        elif how == "failed":
            end = [Failed(work.id, work.node, "ToolError", "no", usage)]
        elif how == "cancelled":
            end = [Cancelled(work.id, work.node, "late", usage)]
        elif how == "denied":
            end = [Denied(work.id, work.node, "tokens", usage)]
        ends.append([WorkStarted(work), *end])
    return ends


@settings(max_examples=200, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_completion_does_not_matter(history: list[list[Event]], rng: random.Random) -> None:
    """Whatever finishes first: same nodes, same values, same usage, same work in flight."""
    starts = [events[0] for events in history]
    ends = [events[1] for events in history if len(events) > 1]
    straight = Tree.fold(ROOT_NODE, [*starts, *ends])
    rng.shuffle(ends)
    shuffled = Tree.fold(ROOT_NODE, [*starts, *ends])
    assert {n.id: n for n in straight} == {n.id: n for n in shuffled}
    for node in straight:
        assert set(straight.children(node.id)) == set(shuffled.children(node.id))
        assert straight.value(node.id) == pytest.approx(shuffled.value(node.id))
        assert straight.failures(node.id) == shuffled.failures(node.id)
    assert straight.usage == shuffled.usage
    assert straight.in_flight == shuffled.in_flight
    assert straight.next_work == shuffled.next_work


@settings(max_examples=100, deadline=None)
@given(histories())
def test_a_fold_equals_events_taken_one_by_one(history: list[list[Event]]) -> None:
    """A tree rebuilt from the journal equals the one that grew."""
    events = [event for work in history for event in work]
    grown = Tree(ROOT_NODE)
    for event in events:
        grown.apply(event)
    assert observed(grown) == observed(Tree.fold(ROOT_NODE, events))


def test_every_cost_is_charged() -> None:
    """Whatever way work ends, what it used counts, cancelled work included (I5)."""
    ends: list[Event] = [
        Expanded(WorkId(1), child(1, 0, 1)),
        Judged(WorkId(2), ROOT, (), Usage(verifier_calls=1)),
        Failed(WorkId(3), ROOT, "X", "", Usage(calls=1)),
        Cancelled(WorkId(4), ROOT, "", Usage(cancelled_tokens=9)),
        Denied(WorkId(5), ROOT, "tokens", Usage(prompt_tokens=7)),
        Resumed(Usage(cancelled_tokens=100), 3.0),
    ]
    tree = Tree.fold(ROOT_NODE, ends)
    assert tree.usage == Usage(prompt_tokens=7, cancelled_tokens=109, calls=1, verifier_calls=1, nodes=1)
    assert tree.elapsed_seconds == 3.0


def test_work_that_is_done_at_once_is_never_in_flight() -> None:
    """`Prune` and `Cancel` take a number and are done; `Expand` and `Score` are in flight until they end."""
    tree = Tree(ROOT_NODE)
    tree.apply(WorkStarted(Expand(WorkId(1), ROOT)))
    tree.apply(WorkStarted(Cancel(WorkId(2), ROOT, WorkId(1), "late")))
    tree.apply(WorkStarted(Prune(WorkId(3), ROOT, "twin")))
    tree.apply(Pruned(ROOT, "twin"))
    assert list(tree.in_flight) == [1]
    assert tree.next_work == 4
    assert tree.status(ROOT) == "pruned"
    assert tree.pruned_for(ROOT) == "twin"
    assert tree.pruned_for(NodeId(1)) == ""


def test_the_end_and_the_going_on() -> None:
    """What was selected, accepted and why it stopped; a resumed run has not stopped."""
    tree = Tree(ROOT_NODE)
    tree.apply(Expanded(WorkId(1), child(1, 0, 1, answer="42")))
    assert tree.status(NodeId(1)) == "done"
    for event in (Accepted(NodeId(1)), Selected(NodeId(1), "best-first"), Stopped("accepted", "", 2.5), Abstained("")):
        tree.apply(event)
    assert (tree.accepted, tree.selected, tree.elapsed_seconds) == (1, 1, 2.5)
    assert tree.stopped is not None
    tree.apply(Resumed())
    assert tree.stopped is None


def verdict(value: float, verifier: str, passed: bool | None = None) -> Verdict:
    """An opinion."""
    return Verdict(value, "value", verifier, passed)


@pytest.mark.parametrize(
    ("verdicts", "value", "passed"),
    [
        ([], None, False),
        ([verdict(0.3, "a")], 0.3, False),
        ([verdict(0.2, "a"), verdict(0.4, "a"), verdict(0.9, "b")], 0.6, False),
        ([verdict(1.0, "a", True)], 1.0, True),
        ([verdict(1.0, "a", True), verdict(0.1, "b")], 0.55, True),
        ([verdict(1.0, "a", True), verdict(0.9, "b", False)], 0.95, False),
    ],
)
def test_value_and_acceptance(verdicts: list[Verdict], value: float | None, passed: bool) -> None:
    """The value is the mean over verifiers of their means; every verifier that decides must accept, and one must decide."""
    tree = Tree(ROOT_NODE)
    for number, one in enumerate(verdicts, 1):
        tree.apply(Judged(WorkId(number), ROOT, (one,)))
    assert tree.value(ROOT) == (None if value is None else pytest.approx(value))
    assert tree.passed(ROOT) is passed


# --- size -------------------------------------------------------------------------------------------------------------


def path_events(length: int) -> Iterator[Event]:
    """One trajectory of `length` steps, each judged."""
    for number in range(1, 2 * length, 2):
        parent = max(0, number - 2)
        yield WorkStarted(Expand(WorkId(number), NodeId(parent)))
        yield Expanded(WorkId(number), child(number, parent, number // 2 + 1))
        yield WorkStarted(Score(WorkId(number + 1), NodeId(number)))
        yield Judged(WorkId(number + 1), NodeId(number), (verdict(0.5, "v"),))


def fold_seconds(events: Iterable[Event]) -> float:
    """CPU time of a fold, the best of three."""
    events = list(events)
    times = []
    for _ in range(3):
        began = time.process_time()
        Tree.fold(ROOT_NODE, events)
        times.append(time.process_time() - began)
    return min(times)


def test_a_trajectory_of_a_hundred_thousand_steps() -> None:
    """Nothing recurses over depth, and the time grows with the number of events, not with its square."""
    tree = Tree.fold(ROOT_NODE, path_events(100_000))
    last = max(node.id for node in tree)
    path = tree.path(last)
    assert [node.depth for node in path] == list(range(100_001))
    assert tree.usage == Usage(nodes=100_000)
    assert fold_seconds(path_events(20_000)) < 12 * fold_seconds(path_events(5_000))


def wide_events(width: int) -> list[Event]:
    """A root with many children."""
    return [Expanded(WorkId(n), child(n, 0, 1)) for n in range(1, width + 1)]


def test_a_root_of_a_hundred_thousand_children() -> None:
    """A wide tree folds in linear time too."""
    tree = Tree.fold(ROOT_NODE, wide_events(100_000))
    assert len(tree.children(ROOT)) == 100_000
    assert tree.usage == Usage(nodes=100_000)
    assert fold_seconds(wide_events(20_000)) < 12 * fold_seconds(wide_events(5_000))
