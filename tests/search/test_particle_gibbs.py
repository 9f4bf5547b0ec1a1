"""Particle Gibbs: chains of filters whose long-run draws are those of targets that are known exactly."""

from __future__ import annotations

import itertools
import math
import random
from functools import cache
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.simulated.steps import Simulation, noise_judge, true_judge
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, NodeId
from branchwise.search import ParticleGibbs, Particles
from branchwise.search.particle_gibbs import swap_chance

from .test_particles import ODDS, PRODUCT, WORLD, Measure, on_average
from .worlds import chance_level, distance, golden, grow, prefix_score, solved_share


def run(strategy: ParticleGibbs, seed: int = 1) -> tuple[ParticleGibbs, Tree]:
    """A chain to its end."""
    fresh = strategy.fresh(seed)
    simulation = Simulation(fresh, WORLD, slots=16, judge=prefix_score, seed=seed)
    return fresh, simulation.run(10**6, random.Random(seed))


@cache
def long_run() -> tuple[ParticleGibbs, Tree]:
    """A chain of 1,000 sweeps."""
    return run(ParticleGibbs(4, sweeps=1_000))


def measure(fresh: ParticleGibbs, tree: Tree) -> Measure:
    """The weighted leaves of a chain."""
    found: Measure = {}
    for node, weight in fresh.weights().items():
        path = WORLD.path(tree[node])
        found[path] = found.get(path, 0.0) + weight
    assert sum(found.values()) == pytest.approx(1.0)
    return found


def test_a_long_chain_forgets_that_its_particles_are_few() -> None:
    """Four particles: single filters are biased however many there are, a chain of them is not.

    Measured with 4,000 sweeps: distance of the draws .055 (prototype .049), of single draws of filters .136.
    """
    biased = distance(on_average(Particles(4, resampling="multinomial"), 400), PRODUCT)
    chain = distance(measure(*long_run()), PRODUCT)
    assert chain <= 0.08
    assert chain < 0.6 * biased


def test_draws_are_those_of_the_target() -> None:
    """The trajectories that the sweeps draw, counted; 1,000 independent draws of the target would be .065 away."""
    fresh, tree = long_run()
    counts: Measure = {}
    (draws,) = fresh.draws
    assert len(draws) == 1_000
    for node in draws:
        counts[WORLD.path(tree[node])] = counts.get(WORLD.path(tree[node]), 0.0) + 1.0
    assert distance(counts, PRODUCT) <= 0.15


def test_the_potential_decides_the_target() -> None:
    """With odds the chain goes to the target of odds and stays away from that of products."""
    found = measure(*run(ParticleGibbs(4, "odds", sweeps=300)))
    assert distance(found, ODDS) <= 0.13
    assert distance(found, PRODUCT) >= 0.2


def test_tempered_chains_have_the_same_target() -> None:
    """With three temperatures the first chain's target is the same; the others' are flatter and not counted."""
    assert distance(measure(*run(ParticleGibbs(4, sweeps=250, groups=3, cooling=0.5))), PRODUCT) <= 0.15


def test_a_swap_leaves_the_product_of_the_targets() -> None:
    """For every pair of trajectories swapping is as frequent forth as back, weighted by both targets: listed in full."""
    tilted = [{leaf: WORLD.chance(leaf) * (weight / WORLD.chance(leaf)) ** power for leaf, weight in PRODUCT.items()}
              for power in (1.0, 0.5)]  # fmt: skip
    logs = {leaf: math.log(weight / WORLD.chance(leaf)) for leaf, weight in PRODUCT.items()}
    some = [*PRODUCT][::4]
    for x, y in itertools.product(some, some):
        forth = tilted[0][x] * tilted[1][y] * swap_chance(1.0, 0.5, logs[x], logs[y])
        back = tilted[0][y] * tilted[1][x] * swap_chance(1.0, 0.5, logs[y], logs[x])
        assert forth == pytest.approx(back)


def test_the_reference_is_never_resampled_away(bench: Any) -> None:
    """A reference of hardly any weight still ends its sweep, and may be drawn again."""
    b = bench(ParticleGibbs(2, sweeps=30, threshold=1.0).fresh(0))
    b.judge(0.5)
    first = [b.grow(0.5, answer="x").id for _ in range(2)]
    assert b.strategy.draws[0][0] in first
    for _ in range(29):
        b.grow(0.000001, answer="x")
    assert set(b.strategy.draws[0]) <= set(first)
    assert b.wants(4) == []


def test_a_sweep_costs_its_particles_less_one() -> None:
    """The reference is there already: the first sweep takes N trajectories, every further one N - 1."""
    _, tree = run(ParticleGibbs(5, sweeps=1, threshold=0.0))
    assert len(tree) == 1 + 5 * 4
    _, tree = run(ParticleGibbs(5, sweeps=3, threshold=0.0))
    assert len(tree) == 1 + (5 + 4 + 4) * 4


def test_particles_set_out_from_truncations_of_the_reference() -> None:
    """Later sweeps branch off trajectories of earlier ones."""
    fresh, tree = run(ParticleGibbs(4, sweeps=20, threshold=1.0))
    starts = {tree.path(node)[1].id for node in fresh.draws[0]}
    assert len(starts) < len(set(fresh.draws[0]))


def test_the_last_draw_is_the_answer() -> None:
    """With `output="draw"` the reference is the answer, with `weight` the trajectory that weighed most over all sweeps."""
    fresh, tree = run(ParticleGibbs(4, sweeps=10, output="draw"))
    assert fresh.select(tree) == fresh.draws[0][-1]
    fresh, tree = run(ParticleGibbs(4, sweeps=10, output="weight"))
    weights = fresh.weights()
    assert weights[NodeId(fresh.select(tree) or ROOT)] == max(weights.values())


def test_golden_tree() -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden("particle_gibbs", ParticleGibbs(3, sweeps=4, depth=4))


def test_the_values_are_what_helps() -> None:
    """At equal expansions true values solve far more than independent trajectories; noise no more than those."""
    chance = chance_level()
    strategy = ParticleGibbs(4, "odds", sweeps=100, depth=4)
    assert solved_share(strategy, true_judge) > chance + 0.15
    assert solved_share(strategy, noise_judge) < chance + 0.12


def test_deep_and_long() -> None:
    """10,000 levels cost no more per node than few, and one in ten failing loses nothing."""
    deep = ParticleGibbs(4, depth=10**6)
    small, large = grow(deep, 1_000), grow(deep, 10_000, fails=0.1)
    assert (large.nodes, large.lost) == (10_001, 0)
    assert large.seconds / large.nodes < 4 * small.seconds / small.nodes
    sweeps = grow(ParticleGibbs(4, depth=20, sweeps=10**6), 5_000, fails=0.1)
    assert (sweeps.nodes, sweeps.lost) == (5_001, 0)
    assert sweeps.seconds / sweeps.nodes < 4 * small.seconds / small.nodes


@pytest.mark.parametrize(
    "wrong", [{"particles": 1}, {"sweeps": 0}, {"cooling": 0.0}, {"cooling": 1.5}, {"output": "mean"}]
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and what is allowed."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ParticleGibbs(**wrong)
