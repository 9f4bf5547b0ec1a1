"""Beam search, step-wise best-of-n, DVTS, REBASE: what they keep, what reduces to what, and that nothing is lost."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.core.events import Expanded, Judged, Score
from branchwise.core.simulated.steps import Simulation, StepTree, noise_judge, true_judge
from branchwise.core.types import ROOT, Node, NodeId, Step, Verdict, WorkId
from branchwise.search import DVTS, BaseStrategy, Beam, BestOfN, Rebase, StepBestOfN, TotBFS
from branchwise.search.levels import Levels

from .worlds import EnumeratedScores, chance_level, golden, grow, never_accepted, prefix_score, solved_share


def shape(strategy: BaseStrategy, slots: int = 4, judge: Any = true_judge) -> list[Any]:
    """The tree that a strategy grows in a seeded world: for every node its parent and where it stands."""
    simulation = Simulation(strategy.fresh(0), StepTree(4, 5, 3), slots=slots, judge=judge, seed=11)
    tree = simulation.run(10_000, random.Random(2))
    return [(node.id, node.parent, node.env_ref) for node in tree]


def test_keeps_the_best(bench: Any) -> None:
    """The two best of a level are expanded, each `width` times, when all of the level is judged."""
    b = bench(Beam(beams=2, width=2).fresh(0))
    b.judge(0.5)
    nodes = [b.grow(value) for value in (0.3, 0.9, 0.1)]
    assert b.wants(8) == [ROOT]
    nodes.append(b.grow(0.8))
    assert b.wants(8) == [nodes[1].id] * 2 + [nodes[3].id] * 2


def test_an_answer_keeps_its_place(bench: Any) -> None:
    """A good answer leaves the beam narrower; a poor one takes no place from better prefixes."""
    b = bench(Beam(beams=2, width=1).fresh(0))
    b.judge(0.5)
    b.grow(0.9, answer="42")
    good = b.grow(0.8)
    assert b.wants(8) == [good.id]
    poor = bench(Beam(beams=1, width=2).fresh(0))
    poor.judge(0.5)
    poor.grow(0.1, answer="41")
    good = poor.grow(0.8)
    assert poor.wants(8) == [good.id] * 2
    poor.grow(0.9, answer="42")
    poor.grow(0.2)
    assert poor.wants(8) == []


@pytest.mark.parametrize(
    ("aggregate", "worth"), [("last", 0.9), ("min", 0.4), ("product", 0.8 * 0.4 * 0.9), ("mean", 0.7)]
)
def test_worth_of_a_prefix(bench: Any, aggregate: Any, worth: float) -> None:
    """What a prefix is worth is the last, the least, the product or the mean of its steps' values."""
    b = bench(StepBestOfN(width=1, aggregate=aggregate).fresh(0))
    b.judge(0.5)
    b.grow(0.8)
    b.grow(0.4)
    node = b.grow(0.9)
    assert b.strategy.worth(node.id) == pytest.approx(worth)


def test_a_failed_step_is_tried_again(bench: Any) -> None:
    """What fails is planned anew; a node on which too many failed is left out and the level goes on without it."""
    b = bench(Beam(beams=2, width=1).fresh(0))
    b.judge(0.5)
    good, other = b.grow(0.9), b.grow(0.8)
    first, second = b.ask(2)
    assert (first.node, second.node) == (good.id, other.id)
    for _ in range(3):
        b.fail(first.id)
        (first,) = b.ask() or (None,)
    assert first is None
    assert b.wants(4) == []
    child = Node(NodeId(second.id), other.id, Step("thought", ""), "state", 2)
    b.take(Expanded(second.id, child))
    b.judge(0.5)
    assert b.wants(4) == [child.id]


# --- reductions -------------------------------------------------------------------------------------------------------


def test_a_beam_of_one_is_step_wise_best_of_n() -> None:
    """Beam(1) and step-wise best-of-n grow the same tree; so does DVTS with one subtree."""
    expected = shape(StepBestOfN(width=4, depth=5))
    assert shape(Beam(beams=1, width=4, depth=5)) == expected
    assert shape(DVTS(width=4, depth=5, groups=1)) == expected
    assert len(expected) == 1 + 5 * 4


def test_tree_of_thoughts_is_a_beam() -> None:
    """ToT-BFS with the breadth of the beam is the beam."""
    assert shape(TotBFS(beams=2, width=3)) == shape(Beam(beams=2, width=3))


def test_rebase_without_temperature_is_a_beam_of_one() -> None:
    """At temperature 0 all of the width goes to the best node."""
    assert shape(Rebase(width=4, temperature=0.0, depth=5)) == shape(Beam(beams=1, width=4, depth=5))


def test_rebase_with_a_high_temperature_spreads_evenly() -> None:
    """Towards infinity every node of a level gets the same."""
    assert Rebase(width=16, temperature=1e12).spread([0.9, 0.5, 0.2, 0.1]) == [4, 4, 4, 4]
    assert Rebase(width=16, temperature=0.2).spread([0.9, 0.5, 0.2, 0.1]) == [14, 2, 0, 0]


@given(
    worths=st.lists(st.floats(0, 1), min_size=1, max_size=20).map(lambda values: sorted(values, reverse=True)),
    width=st.integers(1, 64),
    taken=st.integers(0, 64),
    temperature=st.sampled_from([0.0, 1e-6, 0.05, 0.2, 1.0, 1e9]),
)
def test_rebase_conserves_the_width(worths: list[float], width: int, taken: int, temperature: float) -> None:
    """The counts add up to exactly what is left of the width, and a better node never gets less."""
    counts = Rebase(width=width, temperature=temperature).spread(worths, taken)
    assert sum(counts) == max(0, width - taken)
    assert all(count >= 0 for count in counts)


def test_width_one_everywhere_is_a_trajectory() -> None:
    """A beam of one with one child is a plain agent."""
    assert shape(Beam(beams=1, width=1, depth=5), judge=never_accepted) == shape(BestOfN(n=1, depth=5))


@pytest.mark.parametrize("beams", [1, 3])
def test_finds_the_best_of_an_enumerated_tree(beams: int) -> None:
    """With the exact value of every prefix and all children proposed, a beam of one walks to the best leaf."""

    def exact(world: StepTree, path: tuple[int, ...]) -> float:
        assert isinstance(world, EnumeratedScores)
        return max(world.reward(leaf) for leaf in world.leaves() if leaf[: len(path)] == path)

    for seed in range(5):
        world = EnumeratedScores(3, 4, seed)
        simulation = Simulation(Beam(beams=beams, width=3).fresh(seed), world, judge=exact, slots=3)
        simulation.run(10_000)
        assert simulation.solved


def test_a_constant_value_is_a_single_sample() -> None:
    """With every value alike a beam of one takes the first child each time."""
    simulation = Simulation(StepBestOfN(width=3).fresh(0), StepTree(3, 4, 1), judge=never_accepted)
    tree = simulation.run(10_000)
    expanded = [node for node in tree if tree.children(node.id) and node.id != ROOT]
    assert [tree.children(NodeId(node.parent or 0))[0] for node in expanded] == [node.id for node in expanded]


# --- side by side -----------------------------------------------------------------------------------------------------


def test_groups_do_not_meet() -> None:
    """Each group is a beam of its own: the tree falls into as many as there are groups."""
    simulation = Simulation(
        DVTS(width=3, groups=4, depth=4).fresh(0), EnumeratedScores(3, 4, 2), judge=prefix_score, slots=5
    )
    tree = simulation.run(10_000, random.Random(4))
    assert len(tree) == 1 + 4 * 4 * 3
    levels = Counter(node.depth for node in tree)
    assert all(levels[depth] == 12 for depth in range(1, 5))
    assert len([node for node in tree.children(ROOT) if tree.children(node)]) == 4


def slots_in_use(strategy: BaseStrategy, slots: int = 16, expansions: int = 1000) -> float:
    """Mean share of the slots at work until so many nodes began, under lognormal latency; judging takes no time."""
    rng = random.Random(5)
    simulation = Simulation(strategy.fresh(0), StepTree(4, 32, 3), slots=slots, judge=noise_judge)
    now, busy, due = 0.0, 0.0, dict[WorkId, float]()
    while True:
        while started := simulation.fill():
            for work in started:
                if isinstance(work, Score):
                    simulation.finish(work.id)
                else:
                    due[work.id] = now + rng.lognormvariate(0.0, 1.0)
        if len(due) + len(simulation.tree) > expansions:
            return busy / (now * slots)
        number = min(due, key=lambda number: due[number])
        busy += len(due) * (due[number] - now)
        now = due.pop(number)
        simulation.finish(number)


def test_groups_keep_the_slots_busy() -> None:
    """One beam waits for the last of each level; many small ones that cost the same leave hardly a slot idle."""
    barrier = slots_in_use(Beam(beams=8, width=8, depth=32))
    groups = slots_in_use(DVTS(width=4, groups=16, depth=32))
    assert barrier < 0.6
    assert groups > 0.95


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("beam", Beam(beams=2, width=3, depth=4)),
        ("dvts", DVTS(width=2, groups=2, depth=4)),
        ("rebase", Rebase(width=6, depth=4)),
    ],
)
def test_golden_tree(name: str, strategy: BaseStrategy) -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden(name, strategy)


@pytest.mark.parametrize(
    "strategy",
    [Beam(beams=3, width=5, depth=4), DVTS(width=5, groups=3, depth=4), Rebase(width=15, depth=4)],
    ids=["beam", "dvts", "rebase"],
)
def test_the_values_are_what_helps(strategy: BaseStrategy) -> None:
    """At equal expansions true values solve far more than independent trajectories; noise no more than those."""
    chance = chance_level()
    assert solved_share(strategy, true_judge) > chance + 0.3
    assert solved_share(strategy, noise_judge) < chance + 0.12


@pytest.mark.parametrize(
    "strategy", [Beam(beams=4, width=4), StepBestOfN(width=2), Rebase(width=8)], ids=lambda s: s.name
)
def test_deep(strategy: Levels) -> None:
    """Nothing recurses over depth, one in ten failing loses nothing, and a node costs the same however deep it is."""
    strategy.depth = 10**6
    small, large = grow(strategy, 1_000), grow(strategy, 10_000, fails=0.1)
    assert (large.nodes, large.lost) == (10_001, 0)
    assert large.depth >= 600
    assert large.seconds / large.nodes < 4 * small.seconds / small.nodes


def test_wide() -> None:
    """A level of 10,000 costs as much per node as a small one."""
    small, large = grow(Beam(beams=10, width=100, depth=1), 1_000), grow(Beam(beams=10, width=1_000, depth=1), 10_000)
    assert large.nodes == 10_001
    assert large.seconds / large.nodes < 4 * small.seconds / small.nodes


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Beam, {"beams": 0}),
        (Beam, {"width": 0}),
        (Beam, {"depth": 0}),
        (Beam, {"groups": 0}),
        (StepBestOfN, {"width": 0}),
        (DVTS, {"aggregate": "median"}),
        (Rebase, {"width": 0}),
        (Rebase, {"temperature": -1}),
        (Rebase, {"prior": 2}),
    ],
)
def test_wrong_use(kind: type[Levels], wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and what is allowed."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        kind(**wrong)


def test_levels_follow_each_other() -> None:
    """A level begins when the one before is complete, whatever order its nodes come in."""
    simulation = Simulation(Beam(beams=2, width=3, depth=4).fresh(0), StepTree(4, 4, 3), slots=2, judge=noise_judge)
    tree = simulation.run(10_000, random.Random(9))
    depths = [node.depth for node in tree]
    assert all(later >= earlier for earlier, later in pairwise(depths))


def test_a_new_value_decides(bench: Any) -> None:
    """A node that is judged again while its level is still open is ranked by its new value."""
    b = bench(Beam(beams=1, width=2).fresh(0))
    b.judge(0.5)
    lucky = b.grow(0.9)
    b.tree.apply(Judged(WorkId(90), lucky.id, (Verdict(0.1, "value", "test"),)))
    b.strategy.revalued(lucky.id, b.tree)
    better = b.grow(0.6)
    assert b.wants(2) == [better.id] * 2
