"""UCT and PUCT: bounds by hand, side by side without barriers, and what the values are good for."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Expanded, Judged, Prune
from branchwise.core.simulated.steps import Simulation, StepTree, noise_judge, true_judge
from branchwise.core.types import ROOT, Node, NodeId, Step, Usage, Verdict, WorkId
from branchwise.search import PUCT, UCT, BaseStrategy

from .worlds import AnswersOnly, EnumeratedScores, chance_level, golden, grow, leaf_reward, solved_share


def test_a_node_is_filled_before_its_children(bench: Any) -> None:
    """A node gets its `width` children, then the search descends to the best bound."""
    b = bench(UCT(width=2, exploration=0.0).fresh(0))
    b.judge(0.5)
    first, second = b.grow(0.3), b.grow(0.8)
    assert (first.parent, second.parent) == (ROOT, ROOT)
    assert b.wants() == [second.id]


def test_bounds_by_hand(bench: Any) -> None:
    """The mean goes up the path, and the bonus decides as the equation says."""
    b = bench(UCT(width=2, exploration=0.5).fresh(0))
    b.judge(0.5)
    good, bad = b.grow(0.8), b.grow(0.6)
    visits = b.strategy._visits
    assert (visits[ROOT].count, visits[ROOT].total) == (3, pytest.approx(1.9))
    child = b.grow(0.1)
    assert child.parent == good.id
    assert (visits[good.id].count, visits[good.id].total) == (2, pytest.approx(0.9))
    # .45 + .5 sqrt(ln 4 / 2) = .866 against .6 + .5 sqrt(ln 4) = 1.189
    assert 0.45 + 0.5 * math.sqrt(math.log(4) / 2) < 0.6 + 0.5 * math.sqrt(math.log(4))
    assert b.wants() == [bad.id]


def test_shares_of_the_policy(bench: Any) -> None:
    """With `policy="likelihood"` a likelier step has the larger bonus; without log-probabilities all are alike."""
    b = bench(PUCT(width=2, policy="likelihood").fresh(0))
    b.judge(0.5)
    for logprob in (-20.0, -1.0):
        (work,) = (work for work in b.ask() if isinstance(work, Expand))
        step = Step("thought", str(logprob), logprob=logprob)
        node = Node(NodeId(work.id), ROOT, step, str(work.id), 1, Usage(completion_tokens=10))
        b.take(Expanded(work.id, node))
        b.judge(0.5)
    unlikely, likely = b.tree.children(ROOT)
    shares = b.strategy._shares(ROOT, b.tree)
    assert shares[likely] == pytest.approx(math.exp(-0.1) / (math.exp(-0.1) + math.exp(-2.0)))
    assert b.wants() == [likely]
    assert replace(b.strategy, policy="uniform")._weight(unlikely, b.tree) == pytest.approx(math.exp(-2.0))


def test_simulations_in_flight_spread(bench: Any) -> None:
    """With virtual losses slots go to different branches, without them all to the best one."""
    for virtual_loss, different in ((1.0, True), (0.0, False)):
        b = bench(UCT(width=3, exploration=0.1, virtual_loss=virtual_loss).fresh(0))
        b.judge(0.5)
        for value in (0.8, 0.7, 0.6):
            b.grow(value)
        assert (len(set(b.wants(3))) > 1) is different


def test_asked_at_once_or_one_by_one(bench: Any) -> None:
    """Several slots at once are filled as one slot after the other would have been."""
    b = bench(UCT(width=3).fresh(0))
    b.judge(0.5)
    for value in (0.8, 0.7, 0.6):
        b.grow(value)
    together = b.wants(8)
    assert together == [work.node for _ in range(8) for work in b.ask() if isinstance(work, Expand)]


def test_goes_on_until_somebody_judges(bench: Any) -> None:
    """Where no verifier applies to a prefix its trajectory goes on, and the answer's value goes up the whole path."""
    b = bench(UCT(width=2).fresh(0))
    b.judge()
    first = b.grow()
    second = b.grow()
    third = b.grow(0.9, answer="42")
    assert (first.parent, second.parent, third.parent) == (ROOT, first.id, second.id)
    visits = b.strategy._visits
    assert [visits[node.id].count for node in (first, second, third)] == [1, 1, 1]
    assert visits[first.id].total == pytest.approx(0.9)


def test_a_failure_leaves_no_visit(bench: Any) -> None:
    """What came to nothing counts nowhere; a node on which too many failed is left."""
    b = bench(UCT(width=1).fresh(0))
    b.judge(0.5)
    good = b.grow(0.9)
    for _ in range(3):
        (work,) = b.ask()
        assert work.node == good.id
        b.fail(work.id)
    assert all(here.flying == 0 for here in b.strategy._visits.values())
    assert b.wants(4) == []


def test_spent_branches_are_left(bench: Any) -> None:
    """A branch in which nothing more can be expanded is never visited again, and the search ends when all are spent."""
    b = bench(UCT(width=2, depth=1).fresh(0))
    b.judge(0.5)
    b.grow(0.9)
    b.grow(0.8)
    assert b.wants(4) == []
    wider = bench(UCT(width=2, depth=1, growth=0.5).fresh(0))
    wider.judge(0.5)
    for _ in range(10):
        assert wider.grow(0.9).parent == ROOT


def test_closes_a_state_that_was_seen(bench: Any) -> None:
    """A duplicate is pruned and counts for nothing."""
    b = bench(UCT(width=3).fresh(0))
    b.judge(0.5)
    first = b.grow(0.4, state="same")
    twin = b.grow(0.9, state="same")
    assert b.ask()[0] == Prune(b.tree.next_work - 2, twin.id, f"same state as node {first.id}")
    assert b.strategy._visits[ROOT].count == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"exploration": -1},
        {"width": 0},
        {"growth": 1.5},
        {"depth": 0},
        {"virtual_loss": -1},
        {"prior": 2},
        {"policy": "mean"},
    ],
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and the bound."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PUCT(**wrong)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("uct", UCT(width=3, depth=4)),
        ("puct", PUCT(width=3, depth=4)),
        ("uct_widening", UCT(width=1, growth=0.5, depth=4)),
    ],
)
def test_golden_tree(name: str, strategy: BaseStrategy) -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden(name, strategy)


@pytest.mark.parametrize("strategy", [UCT(width=3, depth=4), PUCT(width=3, depth=4)], ids=["uct", "puct"])
def test_finds_the_best_leaf(strategy: BaseStrategy) -> None:
    """With the exact reward of leaves only, the best of 81 is found within 10 * 81 / 4 simulations in 95 % of all trees."""
    found = 0
    for seed in range(60):
        world = EnumeratedScores(3, 4, seed)
        simulation = AnswersOnly(strategy.fresh(seed), world, slots=4, judge=leaf_reward, seed=seed)
        simulation.run(3 + 9 + 27 + 81, random.Random(seed))
        leaves = sum(node.answer is not None for node in simulation.tree)
        found += simulation.solved and leaves <= 10 * 81 / 4
    assert found >= 0.95 * 60


@pytest.mark.parametrize("strategy", [UCT(depth=4), PUCT(depth=4)], ids=["uct", "puct"])
def test_the_values_are_what_helps(strategy: BaseStrategy) -> None:
    """At equal expansions true values solve far more than independent trajectories; noise no more than those.

    Measured: .43 and .44 with values, .10 and .08 with noise, .06 for independent trajectories.
    """
    chance = chance_level()
    assert solved_share(strategy, true_judge) > chance + 0.25
    assert solved_share(strategy, noise_judge) < chance + 0.12


def test_slots_never_wait() -> None:
    """However many simulations are out, a slot is free only while a step is being judged."""
    simulation = Simulation(
        UCT(width=16, deduplicate=False).fresh(1), StepTree(4, 1000, 1), slots=16, judge=noise_judge
    )
    simulation.finish(simulation.fill()[0].id)
    rng = random.Random(1)
    for _ in range(300):
        simulation.fill()
        assert len(simulation.tree.in_flight) >= 16
        simulation.finish(rng.choice(list(simulation.tree.in_flight)))


def test_large_trees() -> None:
    """The cost of a node does not grow with the tree, failures lose nothing, and nothing recurses over depth."""
    small, large = grow(UCT(depth=10**6), 1_000), grow(UCT(depth=10**6), 6_000, fails=0.1)
    assert (large.nodes, large.lost) == (6_001, 0)
    assert large.seconds / large.nodes < 4 * small.seconds / small.nodes
    wide = grow(UCT(width=5_000, depth=1), 5_000, fails=0.1)
    assert (wide.nodes, wide.depth) == (5_001, 1)
    deep = grow(UCT(width=1, depth=10**6), 700, slots=1, fails=0.01)
    assert deep.depth == 700


def test_a_new_value_corrects_the_means(bench: Any) -> None:
    """A node that is judged again changes its own part of the means above it."""
    b = bench(UCT(width=1).fresh(0))
    b.judge(0.5)
    node = b.grow(0.8)
    b.grow(0.6)
    b.tree.apply(Judged(WorkId(90), node.id, (Verdict(0.4, "value", "test"),)))
    b.strategy.revalued(node.id, b.tree)
    assert b.strategy._visits[node.id].total == pytest.approx(0.6 + 0.6)
    assert b.strategy._visits[ROOT].total == pytest.approx(0.5 + 0.6 + 0.6)
