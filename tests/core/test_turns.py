"""Turns that were sampled in segments are seen whole."""

from __future__ import annotations

from branchwise.core.turns import begun, text_of, turns
from branchwise.core.types import ROOT, Framing, Node, NodeId, Step


def path(*steps: Step) -> list[Node]:
    """A trajectory of these steps."""
    nodes = [Node(NodeId(n), NodeId(n - 1), step, depth=n) for n, step in enumerate(steps, start=1)]
    return [Node(ROOT, None, None), *nodes]


def test_segments_become_one_turn() -> None:
    """Text and log-probability are put together, the framing is that of the beginning, the rest that of the end."""
    shown = Framing(note="once more")
    nodes = path(
        Step("partial", "one ", logprob=-1.0, framing=shown),
        Step("partial", "two ", logprob=-2.0),
        Step("answer", "three", model="m", logprob=-4.0),
    )
    ((node, step),) = turns(nodes)
    assert node is nodes[-1]
    assert step == Step("answer", "one two three", model="m", logprob=-7.0, framing=shown)
    assert begun(nodes) == []


def test_an_unfinished_turn_is_no_turn_yet() -> None:
    """What ends the trajectory in the middle of a turn is told apart from the turns before it."""
    nodes = path(Step("invalid", "no"), Step("partial", "but ", logprob=-1.0), Step("partial", "then"))
    assert [(node.id, step.text) for node, step in turns(nodes)] == [(1, "no")]
    assert [node.id for node in begun(nodes)] == [2, 3]
    assert text_of(begun(nodes)) == "but then"
    assert begun(nodes[:1]) == []


def test_a_gap_in_the_log_probabilities_is_not_filled() -> None:
    """A turn's log-probability is unknown where that of a piece is."""
    ((_, step),) = turns(path(Step("partial", "a", logprob=-1.0), Step("answer", "b")))
    assert step.logprob is None
