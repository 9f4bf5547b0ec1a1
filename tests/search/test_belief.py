"""Belief propagation against the same Gaussian written as one big matrix, and the fitted landscape."""

from __future__ import annotations

import random

import numpy as np
import pytest

from branchwise.core.simulated.refinement import Refinement
from branchwise.core.types import NodeId, Verdict
from branchwise.search.belief import NO_PARENT, Belief, Landscape
from branchwise.search.noise import Judge

LAND = Landscape(fresh=0.55, fresh_spread=0.15, gain=0.12, heritage=0.8, step_spread=0.07, persistent=0.05)
SIGMA = 0.12


def grown(nodes: int = 12, seed: int = 0) -> tuple[Belief, list[tuple[int, float]]]:
    """A belief over a random forest, and every verdict as (node, value)."""
    rng = random.Random(seed)
    belief = Belief(LAND)
    said: list[tuple[int, float]] = []
    for number in range(nodes):
        parent = None if number < 2 or rng.random() < 0.2 else NodeId(rng.randrange(number))
        belief.grow(NodeId(number), parent)
        said += [(number, 0.1 + 0.8 * rng.random()) for _ in range(rng.choice([0, 1, 1, 3]))]
    for node, value in said:
        belief.observe(NodeId(node), [Verdict(value, "value", "judge")])
    # The same parameters for both ways of computing it.
    belief.landscape = LAND
    judge = Judge(differed=True, squares=SIGMA**2 * 1001 - 0.01, repetitions=1000)
    belief.judges["judge"] = judge
    assert judge.variance == pytest.approx(SIGMA**2)
    return belief, said


def prior(belief: Belief) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the true values before any verdict."""
    size = len(belief._parent)
    mean, steps = np.zeros(size), np.eye(size)
    spreads = np.zeros(size)
    for here, above in enumerate(belief._parent):
        if above == NO_PARENT:
            mean[here], spreads[here] = LAND.fresh, LAND.fresh_spread
        else:
            mean[here], spreads[here] = LAND.gain + LAND.heritage * mean[above], LAND.step_spread
            steps[here] = LAND.heritage * steps[above]
            steps[here, here] = 1.0
    return mean, steps @ np.diag(spreads**2) @ steps.T


@pytest.mark.parametrize("seed", range(5))
def test_posteriors_and_likelihood_are_exact(seed: int) -> None:
    """Two passes over the tree give what inverting the whole covariance matrix gives."""
    belief, said = grown(seed=seed)
    mean, covariance = prior(belief)
    nodes = sorted({node for node, _ in said})
    values = [[value for node, value in said if node == here] for here in nodes]
    noise = np.diag([LAND.persistent**2 + SIGMA**2 / len(v) for v in values])
    observed = np.array([sum(v) / len(v) for v in values])
    pick = np.eye(len(mean))[nodes]
    spread = pick @ covariance @ pick.T + noise
    off = observed - pick @ mean
    _, _, likelihood = belief._gather(LAND)
    assert likelihood == pytest.approx(-0.5 * (np.linalg.slogdet(spread)[1] + off @ np.linalg.solve(spread, off)))
    gain = covariance @ pick.T @ np.linalg.inv(spread)
    belief._propagate(LAND)
    assert belief.mean == pytest.approx(list(mean + gain @ off))
    assert belief.variance == pytest.approx(list(np.diag(covariance - gain @ pick @ covariance)))


def test_a_second_verdict_moves_its_node_at_once() -> None:
    """Between full passes a node's own posterior is what the full pass will say of it, as long as no parameter changed."""
    belief, _ = grown(60)
    belief._propagate(LAND)
    node, verdict = NodeId(30), Verdict(0.9, "value", "judge")
    belief._passed = belief._fitted = 10**6
    belief.observe(node, [verdict])
    moved = belief.posterior(node)
    belief._propagate(LAND)
    assert moved == pytest.approx(belief.posterior(node), rel=2e-3)


def test_repetitions_do_not_reduce_what_persists() -> None:
    """However often one judge is asked, the spread stays above its persistent error; another judge reduces it further."""
    belief, _ = grown(4)
    node = NodeId(0)
    belief._passed = belief._fitted = 10**6
    for _ in range(400):
        belief.observe(node, [Verdict(0.6, "value", "judge")])
    _, spread = belief.posterior(node)
    assert spread > 0.8 * LAND.persistent
    name, factor = belief.repetition(node) or ("", 0.0)
    assert (name, factor > 0.97) == ("judge", True), "not worth asking"
    belief.observe(node, [Verdict(0.7, "value", "other")])
    assert (belief.repetition(node) or ("", 0.0))[0] == "other"


def test_what_is_copied_counts_once() -> None:
    """A verdict copied from an equal state is no second opinion."""
    belief = Belief()
    belief.grow(NodeId(1), None)
    belief.observe(NodeId(1), [Verdict(0.6, "value", "judge")])
    belief.observe(NodeId(1), [Verdict(0.6, "value", "judge", calls=0)])
    assert belief.verdicts == 1


@pytest.mark.parametrize(("persistent", "more"), [(0.0, False), (0.15, True)])
def test_the_persistent_error_is_found(persistent: float, more: bool) -> None:
    """With two judges an error that persists for a candidate is told from the noise of calls."""
    world = Refinement(3, noise=0.1, persistent=persistent, judges=2, clipped=False)
    rng = random.Random(5)
    belief = Belief()
    drafts = [world.fresh(rng)]
    for number in range(80):
        parent = rng.randrange(number) if number > 5 else None
        if number:
            drafts.append(world.fresh(rng) if parent is None else world.child(drafts[parent], rng))
        belief.grow(NodeId(number), None if parent is None else NodeId(parent))
        for _ in range(2):
            verdicts = [Verdict(world.score(drafts[number], rng, j), "value", f"judge {j}") for j in range(2)]
            belief.observe(NodeId(number), verdicts)
    assert (belief.landscape.persistent >= 0.04) is more
    assert belief.noise == pytest.approx(0.05, rel=0.25), "half of it: scores are squeezed"
