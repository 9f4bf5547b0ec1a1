"""The simulated texts are what they say they are: cut or whole, alone or together."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from branchwise.core.events import Expand, Expanded
from branchwise.core.simulated.answers import RIGHT
from branchwise.core.simulated.stacking import Stacking
from branchwise.core.simulated.texts import Musings, TextWorld, Traces
from branchwise.core.simulated.writers import Outlined, PeerPaths, SharedItems
from branchwise.core.tree import Tree
from branchwise.core.turns import text_of
from branchwise.core.types import ROOT, Framing, Message, ModelRequest, Node, NodeId, Step, Usage, WorkId


def texts(world: TextWorld, *segments: int | None, seed: int = 1) -> Tree:
    """One text in these segments."""
    tree, node = Tree(Node(ROOT, None, None)), ROOT
    for number, tokens in enumerate(segments, 1):
        draw = world.draw(Expand(WorkId(number), node, segment_tokens=tokens), tree, random.Random(seed))
        step = Step("partial" if draw.partial else "answer", draw.text)
        usage = Usage(completion_tokens=draw.tokens)
        node = NodeId(number)
        parent = NodeId(number - 1)
        tree.apply(Expanded(WorkId(number), Node(node, parent, step, None, number, usage, draw.answer)))
    return tree


@pytest.mark.parametrize("world", [Traces(length=40), Musings(), Outlined(((3, 4), (2, 2))), PeerPaths(length=30)])
def test_pieces_add_up_to_the_text(world: TextWorld) -> None:
    """However it is cut, the text, its length and its answer are the same."""
    whole, cut = texts(world, None), texts(world, 7, 5, None)
    assert text_of(cut.path(NodeId(3))) == text_of(whole.path(NodeId(1)))
    assert cut[NodeId(3)].answer == whole[NodeId(1)].answer is not None
    assert sum(n.usage.completion_tokens for n in cut) == whole[NodeId(1)].usage.completion_tokens


def test_a_piece_ends_with_its_block() -> None:
    """Where the block is open, it is closed and the turn goes on; where there is none the turn ends."""
    world, tree = Outlined(((3, 4),)), Tree(Node(ROOT, None, None))
    draw = world.draw(Expand(WorkId(1), ROOT, closing="Outlines"), tree, random.Random(1))
    assert draw.partial
    assert draw.text.endswith("</Outlines>")
    draw = world.draw(
        Expand(WorkId(1), ROOT, lead=draw.text + "\n<Thread> 2:", closing="Thread"), tree, random.Random(1)
    )
    assert draw.text.endswith("<Thread> 2: w0.2 w0.2 w0.2 w0.2</Thread>")
    draw = world.draw(Expand(WorkId(1), ROOT, closing="other"), tree, random.Random(1))
    assert (draw.partial, draw.answer) == (False, RIGHT)


def test_thoughts_are_right_as_often_as_stated() -> None:
    """After some words; and a summary has what most that it is shown have in mind."""
    world, words = Musings(shortest=30), 20
    ends = [text_of(texts(world, 2 + words, seed=seed).path(NodeId(1))).split()[-1] for seed in range(1500)]
    assert fmean(end == RIGHT for end in ends) == pytest.approx(world.chance(words), abs=4 * 0.5 / 1500**0.5)
    tree = Tree(Node(ROOT, None, None))
    for number, said in enumerate(("1 2 wrong right", "1 2 right", "1 2 wrong"), 1):
        tree.apply(Expanded(WorkId(number), Node(NodeId(number), ROOT, Step("partial", said), None, 1)))
    for shown, answer in (((1, 2, 3), "right"), ((3,), "wrong")):
        framing = Framing(tuple(map(NodeId, shown)), "")
        assert world.draw(Expand(WorkId(9), ROOT, framing=framing), tree, random.Random(1)).answer == answer


def test_the_judge_of_pairs_errs_as_stated() -> None:
    """It finds .85 of those that are alike, and .15 of the others."""
    world, rng = Traces(), random.Random(1)
    paths = [texts(world, 5, seed=seed).path(NodeId(1)) for seed in range(60)]
    said: dict[bool, list[float]] = {True: [], False: []}
    for one in paths:
        for other in paths:
            same = text_of(one).split()[1] == text_of(other).split()[1]
            said[same].append(world.alike(one, other, rng).value)
    for same, chance in ((True, 0.85), (False, 0.15)):
        assert fmean(said[same]) == pytest.approx(chance, abs=4 * 0.4 / len(said[same]) ** 0.5)


def test_items_are_counted() -> None:
    """Which are done, and how often one was done again."""
    world = SharedItems()
    assert world.done("item1 step done1. item2 step") == {1}
    assert world.repeated("done1. done2. done1. done1.") == 2


def test_parts_of_stacked_work_are_right_as_stated() -> None:
    """Solvers, critics of right and of wrong solutions, rewriters who see a right one or none."""
    world = Stacking(solves=0.3, fixes=0.2, breaks=0.1, copies=0.7)

    def share(prompt: str) -> float:
        replies = [
            Stacking(0.3, 0.2, 0.1, 0.7, seed).reply(ModelRequest((Message("user", prompt),))) for seed in range(1200)
        ]
        return fmean(reply == RIGHT for reply in replies)

    right, wrong = "<<< solution 1 ab\nright\n>>> solution 1 ab", "<<< solution 2 cd\nwrong 3\n>>> solution 2 cd"
    slack = 4 * 0.5 / 1200**0.5
    for prompt, chance in (
        ("find it", 0.3),
        (f"Somebody has tried\n{right}", 0.9),
        (f"Somebody has tried\n{wrong}", 0.2),
        (f"Others have tried\n{right}\n{wrong}", 0.7),
        (f"Others have tried\n{wrong}", 0.0),
    ):
        assert share(prompt) == pytest.approx(chance, abs=slack), prompt
    assert world.corrected == pytest.approx(0.3 * 0.9 + 0.7 * 0.2)
    assert world.rewritten(5) == pytest.approx((1 - (1 - world.corrected) ** 5) * 0.7)
    assert world.one_is_right(5, 1) == pytest.approx(world.rewritten(5))
