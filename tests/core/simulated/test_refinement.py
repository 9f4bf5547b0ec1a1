"""The simulated refinement problem is what it says: its chances, its errors, its budget."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest

from branchwise.core.simulated.refinement import Refinement, Refining
from branchwise.search import BestFirst, BestOfN


def test_chances_of_fresh_candidates() -> None:
    """Over many problems a fresh bit is right with .6 +- .1, and a wrong one is mended with .15 +- .08, cut off."""
    chances = [Refinement(seed).chances() for seed in range(2000)]
    right, mend = zip(*chances, strict=True)
    assert statistics.mean(right) == pytest.approx(0.6, abs=0.01)
    assert statistics.stdev(right) == pytest.approx(0.1, abs=0.01)
    assert statistics.mean(mend) == pytest.approx(0.15, abs=0.01)
    assert min(right) >= 0.3
    assert min(mend) >= 0.02


def test_a_child_keeps_and_mends() -> None:
    """Of right bits one in twenty breaks, of wrong ones the problem's share is mended."""
    world, rng = Refinement(7), random.Random(0)
    parent = world.fresh(rng)
    children = [world.child(parent, rng).bits for _ in range(4000)]
    kept = [statistics.mean(c[i] for c in children) for i, bit in enumerate(parent.bits) if bit]
    mended = [statistics.mean(c[i] for c in children) for i, bit in enumerate(parent.bits) if not bit]
    assert statistics.mean(kept) == pytest.approx(0.95, abs=0.01)
    assert statistics.mean(mended) == pytest.approx(world.chances()[1], abs=0.01)


@pytest.mark.parametrize("world", [{"noise": 0.1}, {"persistent": 0.1}])
def test_errors_of_a_call_and_of_a_candidate(world: dict[str, float]) -> None:
    """Noise is drawn anew with every call; a persistent error is the same in all of them."""
    problem, rng = Refinement(1, clipped=False, **world), random.Random(0)
    drafts = [problem.fresh(rng) for _ in range(200)]
    twice = [(problem.score(d, rng), problem.score(d, rng)) for d in drafts]
    off = [2 * score - 0.5 - sum(d.bits) / 16 for d, (score, _) in zip(drafts, twice, strict=True)]
    assert statistics.stdev(off) == pytest.approx(0.1, rel=0.15)
    assert all(first == second for first, second in twice) is ("persistent" in world)


def test_inherited_and_shared_errors() -> None:
    """A child's error resembles its parent's, and the judges' errors each other, as much as is asked for."""
    world, rng = Refinement(1, persistent=0.1, inherited=0.8, shared=0.5, judges=2), random.Random(0)
    parents = [world.fresh(rng) for _ in range(3000)]
    children = [world.child(parent, rng) for parent in parents]
    mine, theirs = [c.errors[0] for c in children], [p.errors[0] for p in parents]
    assert statistics.correlation(mine, theirs) == pytest.approx(0.8, abs=0.05)
    assert statistics.correlation(mine, [c.errors[1] for c in children]) == pytest.approx(0.5, abs=0.06)
    assert statistics.stdev(mine) == pytest.approx(0.1, rel=0.1)


def test_traps_are_for_ever() -> None:
    """A trapped candidate looks better than it is, and none of its descendants is ever right."""
    world, rng = Refinement(1, traps=1.0, lure=0.15), random.Random(0)
    draft = world.fresh(rng)
    for _ in range(50):
        draft = world.child(draft, rng)
        assert not draft.right
    assert world.score(draft, rng) == pytest.approx(min(1.0, sum(draft.bits) / 16 + 0.15))


@pytest.mark.parametrize("strategy", [BestFirst(depth=100), BestOfN(n=200, depth=1)])
def test_every_call_counts(strategy: Any) -> None:
    """Generations and verdicts together are what was allowed; one judge's verdict for each candidate is half of it."""
    run = Refining(strategy.fresh(0), Refinement(0, noise=0.1), calls=100)
    run.run()
    assert run.spent == 100
    assert len(run.drafts) == 50


def test_exact_scores_are_enough_and_blind_ones_are_not() -> None:
    """With exact scores best-first search solves most problems; with scores that say nothing next to none."""

    def solved(*, blind: bool) -> int:
        runs = [Refining(BestFirst(depth=200).fresh(0), Refinement(seed), blind=blind).run() for seed in range(25)]
        return sum(draft is not None and draft.right for draft in runs)

    assert solved(blind=False) >= 19
    assert solved(blind=True) <= 2
