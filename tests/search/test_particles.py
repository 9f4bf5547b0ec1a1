"""Particle filters: distances from targets that are known exactly, and what each option does."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.core.events import Expanded, Judged
from branchwise.core.simulated.steps import Path, Simulation, noise_judge, true_judge
from branchwise.core.simulated.trees import ScoredTree
from branchwise.core.types import Node, NodeId, Step, Verdict, WorkId
from branchwise.search import Particles
from branchwise.search.potentials import Trace, extend
from branchwise.search.steering import effective, resample

from .worlds import Unsolvable, chance_level, distance, golden, grow, prefix_score, solved_share

WORLD = Unsolvable(3, 4, 3)
Measure = dict[Path, float]


def target(weight: Callable[[ScoredTree, Path], float]) -> Measure:
    """Every leaf's probability under the policy times a weight, which is all that defines a target."""
    return {leaf: WORLD.chance(leaf) * weight(WORLD, leaf) for leaf in WORLD.leaves()}


def scores(world: ScoredTree, leaf: Path) -> list[float]:
    """The scores of a leaf's prefixes."""
    return [world.score(leaf[:length]) for length in range(1, len(leaf) + 1)]


PRODUCT = target(lambda world, leaf: math.prod(scores(world, leaf)))
ODDS = target(lambda world, leaf: math.prod(score / (1 - score) for score in scores(world, leaf)))
LAST = target(lambda world, leaf: world.score(leaf))
TILTED = target(lambda world, leaf: math.exp(2.0 * world.score(leaf)))
PRIOR = target(lambda _world, _leaf: 1.0)


def measure(strategy: Particles, seed: int, world: ScoredTree = WORLD) -> Measure:
    """The weighted leaves of a run to its end."""
    fresh = strategy.fresh(seed)
    simulation = Simulation(fresh, world, slots=16, judge=prefix_score, seed=seed)
    tree = simulation.run(10**6, random.Random(seed))
    found: Measure = {}
    for node, weight in fresh.weights().items():
        path = world.path(tree[node])
        found[path] = found.get(path, 0.0) + weight
    assert sum(found.values()) == pytest.approx(1.0)
    return found


def error(strategy: Particles, exact: Measure, runs: int) -> float:
    """Mean distance of single runs from a target."""
    return mean(distance(measure(strategy, seed), exact) for seed in range(runs))


def test_comes_closer_with_more_particles() -> None:
    """One run's weighted measure approaches the target as 1 / sqrt(N). Prototype: .317, .173, .090 for 64, 256, 1,024."""
    found = [error(Particles(n), PRODUCT, runs) for n, runs in ((64, 12), (256, 5), (1024, 2))]
    assert found[0] <= 0.36
    assert found[1] <= 0.20
    assert found[2] <= 0.11


def on_average(strategy: Particles, runs: int) -> Measure:
    """The mean measure of many runs, which shows a wrong target where single runs are too noisy to."""
    total: Measure = {}
    for seed in range(runs):
        for path, weight in measure(strategy, seed).items():
            total[path] = total.get(path, 0.0) + weight
    return total


def test_is_right_on_average() -> None:
    """The mean measure of many runs is far closer to the target than one run is."""
    assert distance(on_average(Particles(64), 40), PRODUCT) <= 0.08


def test_islands_are_weighted_by_their_evidence() -> None:
    """Sixteen small filters side by side come about as close as a large one of the same cost."""
    assert error(Particles(16, groups=16), PRODUCT, 4) <= 0.22


def test_the_potential_decides_the_target() -> None:
    """Odds lead to the target of odds and stay away from that of products: a wrong potential is noticed."""
    assert distance(ODDS, PRODUCT) > 0.2
    odds = [measure(Particles(256, potential="odds"), seed) for seed in range(4)]
    assert mean(distance(run, ODDS) for run in odds) <= 0.2
    assert mean(distance(run, PRODUCT) for run in odds) >= distance(ODDS, PRODUCT) - 0.1


@pytest.mark.parametrize(("potential", "limit"), [("difference", 0.1), ("max", 0.12), ("reward", 0.12), ("sum", 0.2)])
def test_corrected_potentials_have_one_target(potential: Any, limit: float) -> None:
    """With the correction in the last step all of them lead to the policy tilted by the last reward; `sum` slowly."""
    assert distance(PRIOR, TILTED) > 0.24
    assert distance(on_average(Particles(256, potential=potential, strength=2.0), 10), TILTED) <= limit


def test_ratio_leads_to_the_last_reward() -> None:
    """Ratios of successive rewards cancel but for the last one."""
    assert error(Particles(256, potential="ratio"), LAST, 3) <= 0.2


def test_without_the_correction_the_target_is_another() -> None:
    """`max` counted in the last step too leads away: the test above can fail."""

    def uncorrected(world: ScoredTree, leaf: Path) -> float:
        rewards = scores(world, leaf)
        return math.exp(2.0 * sum(max(rewards[: length + 1]) for length in range(len(rewards))))

    assert distance(target(uncorrected), TILTED) > 0.25


def test_resampling_every_step_is_noisier() -> None:
    """Systematic resampling where it is needed is no worse than multinomial resampling at every step."""
    often = error(Particles(128, resampling="multinomial", threshold=1.0), PRODUCT, 8)
    assert error(Particles(128), PRODUCT, 8) <= often + 0.01


class Telling(Unsolvable):
    """A tree in which a prefix's score is the mean of its steps' scores: it tells of the rewards to come."""

    def score(self, path: Path) -> float:
        """Return a prefix's score."""
        own = super().score
        return mean(own(path[:length]) for length in range(1, len(path) + 1)) if path else 0.5


def final_error(world: ScoredTree, strategy: Particles) -> float:
    """Mean distance of single runs from the policy tilted by exp(20 * last score)."""
    exact = {leaf: world.chance(leaf) * math.exp(20.0 * world.score(leaf)) for leaf in world.leaves()}
    return mean(distance(measure(strategy, seed, world), exact) for seed in range(5))


def test_weighing_at_the_end_is_worse_where_rewards_tell_early() -> None:
    """Importance sampling at equal cost is farther from the target than resampling; where early rewards say nothing it is not.

    Measured: .62 against .50; on the tree whose scores have nothing to do with each other .09 against .40.
    """
    steered = Particles(64, potential="difference", strength=20.0)
    weighed = Particles(64, potential="difference", strength=20.0, threshold=0.0)
    telling = Telling(3, 7, 3)
    assert final_error(telling, weighed) > final_error(telling, steered) + 0.05
    assert final_error(WORLD, weighed) < final_error(WORLD, steered)


def test_the_schedule_of_resampling(bench: Any) -> None:
    """Resampling is due after the steps that `first`, `last` and `every` say, however uneven the weights are."""
    for options, kept in (({}, 1), ({"first": 2}, 2), ({"every": 2}, 1), ({"first": 2, "last": 3}, 2)):
        b = bench(Particles(2, threshold=1.0, resampling="multinomial", potential="odds", **options).fresh(0))
        b.judge(0.5)
        b.grow(0.999999)
        b.grow(0.000001)
        assert len(set(b.wants(4))) == kept
        assert b.strategy.effective_sizes()[0] == pytest.approx([1.0], abs=0.001)


def test_a_new_value_corrects_the_weight(bench: Any) -> None:
    """A particle judged again weighs what it would have weighed at once, whether it has ended or is under way."""
    for answer in ("x", None):
        b = bench(Particles(2, threshold=0.0).fresh(0))
        b.judge(0.5)
        lucky, other = b.grow(0.9, answer=answer), b.grow(0.3, answer=answer)
        b.tree.apply(Judged(WorkId(90), lucky.id, (Verdict(0.0, "value", "test"), Verdict(0.0, "value", "test"))))
        b.strategy.revalued(lucky.id, b.tree)
        ends = {node.id: node.id for node in (lucky, other)}
        if answer is None:
            ends = {node.parent: node.id for node in (b.grow(0.5, answer="x"), b.grow(0.5, answer="x"))}
        assert b.strategy.weights() == pytest.approx({ends[lucky.id]: 0.5, ends[other.id]: 0.5})


@given(
    weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=20),
    count=st.integers(1, 50),
    seed=st.integers(0, 9),
)
def test_systematic_resampling_is_fair(weights: list[float], count: int, seed: int) -> None:
    """Every place is drawn its share of times, rounded down or up; multinomial draws have the right number."""
    shares = [weight / sum(weights) for weight in weights]
    drawn = resample(shares, count, random.Random(seed), "systematic")
    assert len(drawn) == count
    for place, share in enumerate(shares):
        assert abs(drawn.count(place) - count * share) < 1 + 1e-6
    assert len(resample(shares, count, random.Random(seed), "multinomial")) == count


def test_potentials_by_hand() -> None:
    """Rewards .5 then .8, strength 2."""
    first = {kind: extend(Trace(), 0.5, kind, 2.0, ends=False) for kind in ("prob", "odds", "max", "sum", "reward")}
    assert first["prob"].total == pytest.approx(math.log(0.5))
    assert first["odds"].total == pytest.approx(0.0)
    second = {kind: extend(trace, 0.8, kind, 2.0, ends=False).total for kind, trace in first.items()}
    assert second["prob"] == pytest.approx(math.log(0.4))
    assert second["odds"] == pytest.approx(math.log(4))
    assert (second["max"], second["sum"], second["reward"]) == pytest.approx((2.6, 3.6, 2.6))
    ends = [extend(first[kind], 0.8, kind, 2.0, ends=True).total for kind in ("max", "sum", "reward")]
    assert ends == pytest.approx([1.6, 1.6, 1.6])
    assert math.isfinite(extend(Trace(), 0.0, "odds", 1.0, ends=False).total)
    assert effective([0.5, 0.5]) == pytest.approx(2.0)


def test_ended_particles_compete_or_stand_aside(bench: Any) -> None:
    """An ended particle of high weight takes places from those that go on, unless it is set aside."""
    for ended, left in (("compete", 0), ("aside", 1)):
        b = bench(Particles(2, ended=ended, threshold=1.0).fresh(0))
        b.judge(0.5)
        done = b.grow(0.999999, answer="42")
        poor = b.grow(0.0)
        assert b.wants(4) == [poor.id] * left
        assert b.strategy.weights() == pytest.approx({done.id: 1.0})


@pytest.mark.parametrize(("output", "answer"), [("best", "lucky"), ("weight", "lucky"), ("vote", "often")])
def test_outputs(bench: Any, output: Any, answer: str) -> None:
    """The answer of most weight together is another one than that of the heaviest particle."""
    b = bench(Particles(4, output=output, threshold=0.0).fresh(0))
    b.judge(0.5)
    for value, said in ((0.9, "lucky"), (0.5, "often"), (0.5, "often"), (0.4, "seldom")):
        b.grow(value, answer=said)
    assert b.tree[b.strategy.select(b.tree)].answer == answer


def test_votes_count_answers_that_are_the_same(bench: Any) -> None:
    """As numbers 0.5 and .50 are one answer and outvote a third; as texts they are not."""
    for same, answer in (("number", "0.5"), ("exact", "7")):
        b = bench(Particles(3, output="vote", same=same, threshold=0.0).fresh(0))
        b.judge(0.5)
        for value, said in ((0.4, "0.5"), (0.3, ".50"), (0.5, "7")):
            b.grow(value, answer=said)
        assert b.tree[b.strategy.select(b.tree)].answer == answer


def test_draws_are_by_weight(bench: Any) -> None:
    """With `output="draw"` other seeds give other answers, each as often as its weight says."""
    drawn = []
    for seed in range(200):
        b = bench(Particles(2, output="draw", threshold=0.0).fresh(seed))
        b.judge(0.5)
        b.grow(0.75, answer="three quarters")
        b.grow(0.25, answer="one quarter")
        drawn.append(b.tree[b.strategy.select(b.tree)].answer)
    assert 0.65 < drawn.count("three quarters") / 200 < 0.85


def test_particles_that_fail_for_good_are_replaced(bench: Any) -> None:
    """Where a particle is lost the next resampling brings the number back."""
    b = bench(Particles(3).fresh(0))
    b.judge(0.5)
    nodes = [b.grow(0.6), b.grow(0.6), b.grow(0.6)]
    works = b.ask(3)
    assert sorted(work.node for work in works) == [node.id for node in nodes]
    failing = works[0]
    for _ in range(3):
        b.fail(failing.id)
        failing = (b.ask() or [failing])[0]
    for work in works[1:]:
        b.take(Expanded(work.id, Node(NodeId(work.id), work.node, Step("thought", ""), str(work.id), 2)))
        b.judge(0.6)
    assert len(b.wants(9)) == 3


def test_golden_tree() -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden("particles", Particles(8, depth=4))


def test_the_values_are_what_helps() -> None:
    """At equal expansions true values solve far more than independent trajectories; noise no more than those."""
    chance = chance_level()
    strategy = Particles(15, potential="odds", depth=4)
    assert solved_share(strategy, true_judge) > chance + 0.15
    assert solved_share(strategy, noise_judge) < chance + 0.12


def test_deep_and_wide() -> None:
    """10,000 levels or 10,000 particles cost no more per node than few, and one in ten failing loses nothing."""
    deep = Particles(4, depth=10**6)
    small, large = grow(deep, 1_000), grow(deep, 10_000, fails=0.1)
    assert (large.nodes, large.lost) == (10_001, 0)
    assert large.depth >= 2_400
    assert large.seconds / large.nodes < 4 * small.seconds / small.nodes
    wide = grow(Particles(4_000, depth=10**6), 10_000)
    assert wide.depth == 3
    assert wide.seconds / wide.nodes < 4 * small.seconds / small.nodes


@pytest.mark.parametrize(
    "wrong",
    [
        {"particles": 0},
        {"potential": "energy"},
        {"strength": -1},
        {"threshold": 1.5},
        {"resampling": "none"},
        {"ended": "gone"},
        {"output": "mean"},
        {"same": "sound"},
        {"first": 0},
        {"last": 2, "first": 3},
        {"every": 0},
        {"depth": 0},
    ],
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and what is allowed."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Particles(**wrong)
