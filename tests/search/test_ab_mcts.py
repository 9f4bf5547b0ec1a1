"""Adaptive branching: the same posteriors as the public implementation, and draws that can be repeated."""

from __future__ import annotations

import random
from statistics import fmean
from typing import Any

import pytest
from treequest.algos.ab_mcts_a.algo import ABMCTSA
from treequest.algos.ab_mcts_a.prob_state import PriorConfig, ProbabilisticDist

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Expanded, Judged, WorkStarted
from branchwise.core.simulated.steps import Simulation, StepTree, noise_judge, true_judge
from branchwise.core.types import ROOT, Node, NodeId, Step, Verdict, WorkId
from branchwise.search import ABMCTS
from branchwise.search.ab_mcts import Scores

from .worlds import AnswersOnly, EnumeratedScores, chance_level, golden, grow, leaf_reward, solved_share


def seen(values: list[float]) -> Scores:
    """The scores of observations."""
    return Scores(len(values), sum(values), sum(value * value for value in values))


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_posteriors_are_the_peers(posterior: Any, count: int) -> None:
    """After any observations the posterior has the parameters that the public implementation has."""
    rng = random.Random(count)
    values = [rng.random() for _ in range(count)]
    peer = ProbabilisticDist(PriorConfig(dist_type=posterior))
    for value in values:
        peer.tell_observation(value)
    ours = ABMCTS(posterior=posterior)
    found = ours.gaussian(seen(values)) if posterior == "gaussian" else ours.beta(seen(values))
    assert found == pytest.approx(tuple(peer.params.values()))


def test_a_tree_is_learnt_as_by_the_peer(bench: Any) -> None:
    """In a random tree of 60 scored nodes every choice has the posterior that the public implementation gives it."""
    rng = random.Random(8)
    algo = ABMCTSA[int]()
    state = algo.init_tree()
    b = bench(ABMCTS(deduplicate=False).fresh(0))
    b.judge(0.5)
    twins: list[Any] = [state.tree.root]
    for number in range(1, 61):
        where = rng.randrange(len(twins))
        parent = NodeId(0 if where == 0 else b.tree[NodeId(2 * where - 1 + 1)].id)
        value = rng.random()
        state.thompson_states.get_or_create(twins[where], ["step"])
        trial = state.trial_store.create_trial(twins[where], "step")
        algo.tell(state, trial.trial_id, (number, value))
        twins.append(next(child for child in twins[where].children if child.state == number))
        work = Expand(b.tree.next_work, parent)
        node = Node(NodeId(work.id), parent, Step("thought", ""), str(number), b.tree[parent].depth + 1)
        b.take(WorkStarted(work), Expanded(work.id, node))
        b.judge(value)
    ours: ABMCTS = b.strategy
    ids = [node.id for node in b.tree]
    for twin, node in zip(twins, ids, strict=True):
        peer = state.thompson_states.get(twin)
        if peer is None:
            assert ours._arms[node].new.count == 0
            continue
        arms = peer.gen_vs_cont_probas["shared"]
        assert ours.gaussian(ours._arms[node].new) == pytest.approx(tuple(arms["GEN"].params.values()))
        assert ours.gaussian(ours._arms[node].old) == pytest.approx(tuple(arms["CONT"].params.values()))
        for index, child in enumerate(b.tree.children(node)):
            found = ours.gaussian(ours._arms[child].here)
            assert found == pytest.approx(tuple(peer.node_probas["shared"][index].params.values()))


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
def test_draws_are_distributed_as_the_peers(posterior: Any) -> None:
    """The mean and the middle half of many draws agree with the public implementation's (which has its own generator)."""
    values = [0.2, 0.9, 0.4, 0.8, 0.7]
    peer = ProbabilisticDist(PriorConfig(dist_type=posterior))
    for value in values:
        peer.tell_observation(value)
    rng = random.Random(1)
    ours = sorted(ABMCTS(posterior=posterior).draw(seen(values), rng) for _ in range(4_000))
    theirs = sorted(peer.draw_sample() for _ in range(4_000))
    for quantile in (1_000, 2_000, 3_000):
        assert ours[quantile] == pytest.approx(theirs[quantile], abs=0.03)


def test_wider_where_new_steps_score_well(bench: Any) -> None:
    """Children of a node that all score well make it wider; a child whose children do better makes it deeper."""
    wide = bench(ABMCTS(deduplicate=False).fresh(0))
    wide.judge(0.5)
    deep = bench(ABMCTS(deduplicate=False).fresh(0))
    deep.judge(0.5)
    for _ in range(40):
        (work,) = (work for work in wide.ask() if isinstance(work, Expand))
        step_of(wide, work, 0.9 if work.node == ROOT else 0.1)
        (work,) = (work for work in deep.ask() if isinstance(work, Expand))
        step_of(deep, work, min(0.9, 0.1 + 0.2 * deep.tree[work.node].depth))
    assert len(wide.tree.children(ROOT)) > 20
    assert len(deep.tree.children(ROOT)) < 12
    assert max(node.depth for node in deep.tree) >= 4


def step_of(b: Any, work: Expand, value: float) -> None:
    """End an expansion with a node of some value."""
    node = Node(NodeId(work.id), work.node, Step("thought", ""), str(work.id), b.tree[work.node].depth + 1)
    b.take(Expanded(work.id, node))
    b.judge(value)


def test_slots_spread(bench: Any) -> None:
    """Several simulations at once go to several nodes, for each has draws of its own."""
    b = bench(ABMCTS(deduplicate=False).fresh(0))
    b.judge(0.5)
    for _ in range(12):
        b.grow(0.6)
    assert len(set(b.wants(16))) >= 4
    assert b.wants(16) == b.wants(16)


def test_a_new_value_corrects_what_was_learnt(bench: Any) -> None:
    """A node that is judged again leaves the tree as if it had been judged so at once."""
    trees = []
    for first in (0.9, 0.3):
        b = bench(ABMCTS().fresh(0))
        b.judge(0.5)
        node = b.grow(first)
        if first == 0.9:
            b.tree.apply(Judged(WorkId(90), node.id, (Verdict(0.0, "value", "test"), Verdict(0.0, "value", "test"))))
            b.strategy.revalued(node.id, b.tree)
        trees.append(b.strategy._arms[ROOT].new)
    assert (trees[0].total, trees[0].squares) == pytest.approx((trees[1].total, trees[1].squares))


def test_without_values_of_steps() -> None:
    """Where only answers are judged, trajectories go on to their ends and the best of 27 is found."""
    found = 0
    for seed in range(20):
        world = EnumeratedScores(3, 3, seed)
        simulation = AnswersOnly(ABMCTS(depth=3).fresh(seed), world, slots=4, judge=leaf_reward, seed=seed)
        simulation.run(150, random.Random(seed))
        found += simulation.solved
    assert found >= 12


def test_golden_tree() -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden("ab_mcts", ABMCTS(depth=4))


def test_the_values_are_what_helps() -> None:
    """At equal expansions true values solve far more than independent trajectories; noise no more than those.

    Measured at 200 expansions: .84 with values, .12 with noise, .30 for independent trajectories.
    """
    chance = chance_level(200)
    assert solved_share(ABMCTS(depth=4), true_judge, 200, 25) > chance + 0.3
    assert solved_share(ABMCTS(depth=4), noise_judge, 200, 25) < chance + 0.12


def test_large_trees() -> None:
    """The cost of a node does not grow with the tree, however wide it is, and one in ten failing loses nothing."""
    small, large = grow(ABMCTS(depth=10**6), 1_000), grow(ABMCTS(depth=10**6), 5_000, fails=0.1)
    assert (large.nodes, large.lost) == (5_001, 0)
    assert large.seconds / large.nodes < 3 * small.seconds / small.nodes


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
def test_wide_nodes_are_drawn_from_in_part(bench: Any, posterior: Any) -> None:
    """With 150 children the draws are of the 48 that reach highest and 16 others, and lead to children as good as all draws do."""
    b = bench(ABMCTS(posterior=posterior, depth=2, deduplicate=False).fresh(0))
    b.judge(0.5)
    rng = random.Random(1)
    for _ in range(150):
        work = Expand(b.tree.next_work, ROOT)
        b.take(WorkStarted(work))
        step_of(b, work, rng.random())
    strategy, children = b.strategy, b.tree.children(ROOT)
    choices = strategy._choices(ROOT, random.Random(2))
    assert len(set(choices)) == 64
    reach = sorted((strategy.reach(strategy._arms[child].here) for child in children), reverse=True)
    assert sum(strategy.reach(strategy._arms[child].here) >= reach[47] for child in choices) == 48

    def gone_to(among: Any, seed: int) -> float:
        draws = random.Random(seed)
        return b.tree.value(max(among(draws), key=lambda child: strategy.draw(strategy._arms[child].here, draws)))

    part = fmean(gone_to(lambda draws: strategy._choices(ROOT, draws), seed) for seed in range(300))
    whole = fmean(gone_to(lambda _draws: children, seed) for seed in range(300))
    assert part >= whole - 0.05


def test_ends_where_nothing_can_be_added() -> None:
    """A tree of which no node can be expanded leaves nothing to do."""
    simulation = Simulation(ABMCTS(depth=1).fresh(0), StepTree(2, 3, 0), judge=noise_judge)
    for work in simulation.fill():
        simulation.finish(work.id, "failed")
    for _ in range(200):
        simulation.fill()
        if not simulation.tree.in_flight:
            break
        simulation.finish(next(iter(simulation.tree.in_flight)), "failed")
    assert not simulation.tree.in_flight


@pytest.mark.parametrize("wrong", [{"posterior": "cauchy"}, {"mean": 2.0}, {"confidence": 0.0}, {"depth": 0}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and what is allowed."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ABMCTS(**wrong)
