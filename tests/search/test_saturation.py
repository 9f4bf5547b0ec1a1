"""Stopping where more adds nothing: the law, and the controller that fits it while it runs."""

from __future__ import annotations

import random
from itertools import combinations, count, product

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.protocols import Appraiser
from branchwise.core.simulated.answers import RIGHT, AnswerPool, PathGroup
from branchwise.core.simulated.judges import NoisyJudge
from branchwise.core.simulated.steps import uniform
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.types import Node, Verdict
from branchwise.search import BestOfN, NoiseAware, Saturation, SaturationLaw
from branchwise.search.saturation import estimated, expected_best, systematic_misfit


def test_the_stop_is_the_first_gain_below_epsilon() -> None:
    """N* by the formula is N* by counting."""
    for ceiling, chance, epsilon in product((0.3, 0.8, 1.0), (0.02, 0.1, 0.4), (0.001, 0.01, 0.05)):
        law = SaturationLaw(ceiling, chance)
        assert law.saturation(epsilon) == next(n for n in count(1) if law.gain(n) < epsilon)
        assert law.gain(5) == pytest.approx(law.at(5) - law.at(4))
    assert SaturationLaw(0.1, 0.05).saturation(0.01) == 1


def test_the_law_is_found_again() -> None:
    """Through its own curve exactly, through problems of one difficulty, some of them hopeless, nearly."""
    exact = SaturationLaw.through([SaturationLaw(0.8, 0.1).at(k) for k in range(1, 30)])
    assert (exact.ceiling, exact.chance) == (pytest.approx(0.8, abs=0.002), pytest.approx(0.1, abs=0.002))
    assert exact.saturation(0.01) == SaturationLaw(0.8, 0.1).saturation(0.01)
    rng = random.Random(1)
    tallies = [(20, sum(rng.random() < 0.15 for _ in range(20)) * (rng.random() < 0.6)) for _ in range(300)]
    found = SaturationLaw.fit(tallies)
    assert (found.ceiling, found.chance) == (pytest.approx(0.6, abs=0.08), pytest.approx(0.15, abs=0.03))
    with pytest.raises(UsageError, match="no samples"):
        SaturationLaw.fit([])


def test_systematic_misfit_is_told_from_chance() -> None:
    """Problems of one difficulty, hopeless ones among them or not, fit; problems of all difficulties do not."""
    rng = random.Random(2)

    def tallies(chances: list[float]) -> list[tuple[int, int]]:
        return [(20, sum(rng.random() < p for _ in range(20))) for p in chances]

    assert not systematic_misfit(tallies([0.15] * 200))
    assert not systematic_misfit(tallies([0.15 * (rng.random() < 0.6) for _ in range(200)]))
    assert systematic_misfit(tallies([rng.betavariate(0.5, 2) for _ in range(200)]))


def test_the_best_of_k_is_a_mean_over_subsets() -> None:
    """Scores of any kind."""
    values = [0.1, 0.5, 0.5, 0.9, 0.2]
    for k, best in enumerate(expected_best(values), 1):
        subsets = [max(chosen) for chosen in combinations(values, k)]
        assert best == pytest.approx(sum(subsets) / len(subsets))
    assert estimated([0.0] * 8).saturation(0.01) > 8, "no success yet is no proof that there is none"


def pool(chance: float) -> AnswerPool:
    """A problem of one difficulty."""
    return AnswerPool([PathGroup(RIGHT, chance), PathGroup("rare", 1 - chance, 40, even=True, distinct=True)])


def trajectories(
    chance: float, *, seeds: int, blind: bool = False, inner: BestOfN | NoiseAware | None = None
) -> tuple[float, float]:
    """Mean number of trajectories until the stop, and share of problems solved."""
    number, solved, world = 0, 0, pool(chance)
    for seed in range(seeds):
        strategy = Saturation(inner or BestOfN(n=300), epsilon=0.02).fresh(seed)
        judge = NoisyJudge().of(world)

        def noise(node: Node, _rng: random.Random, seed: int = seed) -> tuple[Verdict, ...]:
            return (Verdict(uniform(seed, node.id), "outcome", "noise"),)

        search = TimedSearch(strategy, world, noise if blind else judge, slots=2, seed=seed)
        search.run()
        number += len(search.tree) - 1
        solved += search.right
    return number / seeds, solved / seeds


def test_it_spends_where_it_is_worth_it() -> None:
    """Easy problems stop near their N*, hard ones later, and 300 trajectories would have solved hardly more."""
    easy, solved_easy = trajectories(0.6, seeds=40)
    hard, solved_hard = trajectories(0.12, seeds=40)
    assert easy == pytest.approx(SaturationLaw(1.0, 0.6).saturation(0.02) + 1, abs=2)
    assert 12 < hard < 30
    assert solved_easy == 1.0
    assert solved_hard >= 0.8


def test_without_a_signal_it_knows_no_difficulty() -> None:
    """The ablation: scores that say nothing stop easy and hard problems alike, and choose no better than chance."""
    easy, solved_easy = trajectories(0.6, seeds=40, blind=True)
    hard, solved_hard = trajectories(0.12, seeds=40, blind=True)
    assert easy == pytest.approx(hard, rel=0.2)
    assert solved_easy < 0.6 + 4 * 0.08
    assert solved_hard < 0.12 + 4 * 0.06


def test_it_says_what_it_found() -> None:
    """The stop, with an interval; a warning where scores do not saturate like the law; the trajectories' ends where it did not stop."""
    world = pool(0.5)
    strategy = Saturation(BestOfN(n=100), epsilon=0.02).fresh(0)
    search = TimedSearch(strategy, world, NoisyJudge().of(world), slots=4)
    search.run()
    why = strategy.why_over(search.tree)
    assert "saturated after" in why
    assert "N* = " in why
    assert "fits badly" not in why
    assert search.cancelled, "what was under way was stopped"
    short = Saturation(BestOfN(n=3), epsilon=0.02).fresh(0)
    again = TimedSearch(short, world, NoisyJudge().of(world), slots=4)
    again.run()
    assert short.why_over(again.tree) == "the trajectories are over: 3 answered"


def test_around_another_controller() -> None:
    """The inner controller's choice and confidence are passed on."""
    world = pool(0.5)
    strategy = Saturation(NoiseAware(BestOfN(n=60)), epsilon=0.02).fresh(0)
    assert isinstance(strategy, Appraiser)
    search = TimedSearch(strategy, world, NoisyJudge(noise=0.1).of(world), slots=4)
    chosen = search.run()
    assert chosen.confidence is not None
    assert 4 <= len(search.tree) < 40
