"""Simulated worlds with exact targets: what they promise to the tests that rest on them."""

from __future__ import annotations

from collections import Counter

import pytest

from branchwise.core.simulated.steps import Simulation
from branchwise.core.simulated.trees import EnumeratedTree, ScoredTree
from branchwise.core.types import ROOT
from branchwise.search import Beam, BestOfN


def test_leaves_are_all_there_is() -> None:
    """The leaves' probabilities add up to one, and the best leaf is the only one that is solved."""
    world = ScoredTree(3, 4, 2)
    leaves = list(world.leaves())
    assert len(set(leaves)) == 81
    assert sum(world.chance(leaf) for leaf in leaves) == pytest.approx(1.0)
    assert [leaf for leaf in leaves if world.solved(leaf)] == [world.best()]
    assert not world.solved(world.best()[:-1])


def test_scores_and_rewards_are_functions_of_the_path() -> None:
    """Scores lie in (.05, .95), rewards in (0, 1); another seed gives other ones."""
    world = ScoredTree(3, 3, 2)
    for leaf in world.leaves():
        assert 0.05 < world.score(leaf) < 0.95
        assert 0.0 < world.reward(leaf) < 1.0
        assert world.score(leaf) == ScoredTree(3, 3, 2).score(leaf)
    assert world.score((0,)) != ScoredTree(3, 3, 3).score((0,))


def test_steps_are_taken_as_often_as_the_policy_says() -> None:
    """Many first steps have the policy's shares, within four standard errors."""

    class Endless(ScoredTree):
        """Nothing is accepted, so the search goes on."""

        def solved(self, path: tuple[int, ...]) -> bool:
            return False

    world = Endless(3, 1, 4)
    tree = Simulation(BestOfN(n=2_000, depth=1).fresh(0), world, judge=lambda _world, _path: 0.5).run(2_000)
    taken = Counter(node.env_ref for node in tree if node.id != ROOT)
    seen = sum(taken.values())
    assert seen == 2_000
    for choice, share in enumerate(world.probabilities(())):
        assert taken[str(choice)] / seen == pytest.approx(share, abs=4 * (share * (1 - share) / seen) ** 0.5)


def test_each_child_is_proposed_once() -> None:
    """Several expansions at once show all children, whatever ends first."""
    simulation = Simulation(Beam(beams=1, width=4, depth=2).fresh(0), EnumeratedTree(4, 3, 1), slots=4)
    tree = simulation.run(100)
    parents = [node.id for node in tree if tree.children(node.id)]
    assert len(parents) == 2
    for parent in parents:
        assert sorted(tree[child].env_ref or "" for child in tree.children(parent)) == sorted(
            f"{tree[parent].env_ref}.{choice}".lstrip(".") for choice in range(4)
        )
