"""Replays of recorded samples and searches: the record itself, and what strategies make of it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import game24
import pytest
import replay

import branchwise as bw
from branchwise.cli.chart import chart

ROW: dict[str, Any] = {
    "idx": 7,
    "steps": [
        {
            "x": "4 6 1 1",
            "ys": [""],
            "new_ys": ["4 * 6 = 24 (left: 1 1 24)\n", "4 + 6 = 10 (left: 1 1 10)\n"],
            "values": [60.0, 3.0],
            "select_new_ys": ["4 * 6 = 24 (left: 1 1 24)\n", "4 + 6 = 10 (left: 1 1 10)\n"],
        },
        {
            "x": "4 6 1 1",
            "ys": ["4 * 6 = 24 (left: 1 1 24)\n", "4 + 6 = 10 (left: 1 1 10)\n"],
            "new_ys": [
                "4 * 6 = 24 (left: 1 1 24)\n24 * 1 = 24 (left: 1 24)\n",
                "4 + 6 = 10 (left: 1 1 10)\n10 + 1 = 11 (left: 1 11)\n",
                "4 + 6 = 10 (left: 1 1 10)\n10 - 1 = 9 (left: 1 9)\n",
            ],
            "values": [20.0, 0.003, 1.002],
            "select_new_ys": [
                "4 * 6 = 24 (left: 1 1 24)\n24 * 1 = 24 (left: 1 24)\n",
                "4 + 6 = 10 (left: 1 1 10)\n10 - 1 = 9 (left: 1 9)\n",
            ],
        },
    ],
}
"""A record of two steps."""


@pytest.mark.parametrize(
    ("text", "expression", "right"),
    [
        ("Steps:\n4 * 6 = 24\nAnswer: 4 * 6 * 1 * 1 = 24", "4*6*1*1", True),
        ("answer: (4 * 6) / 1 / 1 = 24", "(4*6)/1/1", True),
        ("Answer: 4 * 6 = 24", "4*6", False),
        ("Answer: 4 * 6 + 1 * 1 = 24", "4*6+1*1", False),
        ("Answer: 4 * 6 / (1 - 1) = 24", "4*6/(1-1)", False),
        ("Answer: __import__('os') 4 6 1 1", "__import__('os')4611", False),
        ("Answer: no solution", None, False),
        ("4 * 6 * 1 * 1 = 24", None, False),
        ("", None, False),
    ],
)
def test_the_checker_is_exact(text: str, expression: str | None, right: bool) -> None:
    """Only an expression that uses each number once and makes 24 is right; nothing is evaluated but arithmetic."""
    assert game24.answer_of(text) == expression
    assert game24.solves(expression or "", (4, 6, 1, 1)) is right


def test_a_record_becomes_a_tree() -> None:
    """Proposals hang below the states that they go on from, and the recorded selections are found again."""
    tree = game24.RecordedTree.read(ROW)
    assert tree.numbers == (4, 6, 1, 1)
    assert set(tree.states) == {(), (0,), (1,), (0, 0), (1, 0), (1, 1)}
    assert tree.selections == (((0,), (1,)), ((0, 0), (1, 1)))
    assert tree.states[1, 1].value == pytest.approx(1.002 / 60)
    assert tree.widest == 2


def test_what_was_not_recorded_fails() -> None:
    """A state gives each of its proposals once; asked for more, the work fails and the search goes on."""
    tree = game24.RecordedTree.read(ROW)
    run = game24.Replay(bw.search.BestFirst(depth=4).fresh(0), tree, slots=1, judge=game24.recorded_value)
    run.run(100)
    assert sorted(tree.path(node) for node in run.tree if node.parent is not None) == sorted(tree.states)[1:]
    assert not run.solved


def test_samples_are_given_once_each() -> None:
    """The first hundred draws of a hundred samples are all of them, in an order that the seed decides."""
    puzzle = game24.Puzzle(1, (4, 6, 1, 1), tuple(f"Answer: {number}" for number in range(100)))

    def drawn(seed: int) -> list[str]:
        world = game24.RecordedAnswers(puzzle, seed)
        return [world.draw(None, None, None).text for _ in range(100)]  # type: ignore[arg-type]

    assert sorted(drawn(1)) == sorted(puzzle.samples)
    assert drawn(1) == drawn(1) != drawn(2)


def test_a_budget_counts_samples_and_judgements() -> None:
    """A search makes no more calls than it may."""
    puzzle = game24.Puzzle(1, (4, 6, 1, 1), tuple(f"Answer: {number}" for number in range(100)))
    world = game24.RecordedAnswers(puzzle, 0)
    search = replay.Budgeted(bw.search.BestOfN(n=50).fresh(0), world, replay.noisy(world, 0), slots=1, calls=16)
    search.run()
    assert search.spent == 16
    assert search.verifier_calls == 8


def test_a_chart_shows_every_line() -> None:
    """It is well-formed, has a line and a name for each method, and names do not lie on each other."""
    lines = {f"method <{number}>": [(1, 0.0), (2, 0.1), (64, 0.5)] for number in range(8)}
    root = ET.fromstring(chart("title", "across", "up", lines))
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert len(root.findall("svg:polyline", space)) == 8
    named = {t.text: float(t.attrib["y"]) for t in root.findall("svg:text", space) if t.text in lines}
    assert set(named) == set(lines)
    heights = sorted(named.values())
    assert all(b - a >= 12 for a, b in pairwise(heights))


def test_absent_data_says_where_to_get_it(tmp_path: Path) -> None:
    """Without the records the benchmark says what they are and where they come from."""
    with pytest.raises(FileNotFoundError, match=re.escape("https://github.com/princeton-nlp/tree-of-thought-llm")):
        game24.puzzles(tmp_path)


# --- on the records themselves -----------------------------------------------------------------------------------------


def test_the_checker_agrees_with_the_record(data: Path) -> None:
    """On all 5,000 samples the exact checker says what the record says."""
    rows = game24.records(data, game24.SAMPLES)
    for puzzle, row in zip(game24.puzzles(data), rows, strict=True):
        found = [game24.solves(game24.answer_of(text) or "", puzzle.numbers) for text in row["samples"]]
        assert found == [bool(right) for right in row["correct"]]


def test_the_recorded_searches_come_out_again(data: Path) -> None:
    """Breadth-first search over the recorded proposals and values selects at every step what was selected then."""
    trees = [game24.RecordedTree.read(row) for row in game24.records(data, game24.SEARCHES)]
    assert len(trees) == 50
    assert all(replay.same_selections(tree) for tree in trees)


def test_best_first_needs_fewer_expansions(data: Path) -> None:
    """Over the same proposals and values it solves as many puzzles; with values that say nothing it loses its advantage."""
    rows = game24.records(data, game24.SEARCHES)
    trees = [game24.RecordedTree.read(row) for row in rows]
    recorded = sum(any(info["r"] for info in row["infos"]) for row in rows)
    assert replay.searched(replay.SEARCH["best-first"], trees).solved == recorded == 35
    some = trees[:15]
    breadth_first = replay.searched(replay.SEARCH["tot-bfs"], some)
    best_first = replay.searched(replay.SEARCH["best-first"], some)
    assert best_first.solved == breadth_first.solved
    assert best_first.expansions < 0.75 * breadth_first.expansions
    assert best_first.proposals < 0.75 * breadth_first.proposals
    blind = [
        game24.RecordedTree(
            numbers=tree.numbers,
            states={path: game24.Proposal(s.text, 0.5, path, s.children) for path, s in tree.states.items()},
        )
        for tree in some
    ]
    assert replay.searched(replay.SEARCH["best-first"], blind).expansions > 1.2 * best_first.expansions


def test_verification_beats_one_sample_on_real_samples(data: Path) -> None:
    """At 32 calls the exact checker finds answers in far more puzzles than one sample solves; a noisy one in fewer."""
    given = game24.puzzles(data)
    best = replay.METHODS["best-of-n"]

    def share(*, errs: bool) -> float:
        (found,) = replay.curve(best, given, [32], 1, errs=errs)
        return found.solved

    assert share(errs=False) > share(errs=True) > 0.1
