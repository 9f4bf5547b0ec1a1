"""Sampling at many temperatures, with votes within and between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand
from branchwise.core.simulated.answers import TemperatureWindow
from branchwise.core.simulated.steps import uniform
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.types import ROOT, WorkId
from branchwise.search import MultiTemperature, SelfConsistency

from .sampled import tally

GRID = 7
"""Temperatures 0, .2, ... 1.2."""


@dataclass
class Single(SelfConsistency):
    """Self-consistency at one temperature."""

    name: ClassVar[str] = "single"
    temperature: float = 0.6

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Begin at that temperature."""
        return Expand(work, ROOT, self.temperature)


def window(seed: int) -> TemperatureWindow:
    """Return a problem that is solved around a temperature of its own only."""
    return TemperatureWindow(1.2 * uniform(seed, "centre"))


def mostly_easy(seed: int) -> TemperatureWindow:
    """Return one of which 80 % are solved at every temperature."""
    easy = uniform(seed, "easy") < 0.8
    return TemperatureWindow(1.2 * uniform(seed, "centre"), easy=easy, success=0.95 if easy else 0.8)


def many(**options: Any) -> Any:
    """Return what makes the strategy."""
    return lambda: MultiTemperature(**{"depth": 1, "step": 0.2, "n": 8, **options})


def test_many_temperatures_solve_what_no_single_one_does() -> None:
    """At equal samples the share solved exceeds that of the best single temperature by the gap of their windows."""
    several = tally(many(rounds=1), window, 50, slots=64)
    single = [tally(lambda t=t: Single(n=50, depth=1, temperature=t), window, 50, slots=64).right for t in (0.4, 0.8)]
    assert several.tokens <= 50 * 100
    # A window is .3 wide of 1.2: a single temperature is in a quarter of them, the grid in all.
    assert max(single) < 0.45
    assert several.right > max(single) + 0.5


def test_winners_alone_need_a_fine_grid() -> None:
    """Votes of the temperatures' winners find what is solved at several of them."""
    fine = tally(many(rounds=1, step=0.1, n=4, cross="winners"), window, 40, slots=64)
    coarse = tally(many(rounds=1, cross="winners"), window, 50, slots=64)
    assert fine.right > 0.85 > coarse.right


def test_where_the_temperature_does_not_matter_there_is_nothing_to_gain() -> None:
    """On problems that no temperature solves better the grid is as good as one temperature: the ablation."""
    flat = lambda seed: TemperatureWindow(0.6, width=2.0, success=0.2, mistakes=4)  # noqa: E731 - a problem in short
    grid = tally(many(rounds=1, lowest=0.2), flat, 60, slots=64).right
    single = tally(lambda: Single(n=48, depth=1), flat, 60, slots=64).right
    assert abs(grid - single) < 4 * (2 * 0.25 / 60) ** 0.5


def test_easy_tasks_end_early() -> None:
    """Where 80 % of the tasks are easy the early end saves 40 % of the tokens and more, at no less than .5 % of the right ones."""
    early = tally(many(n=4), mostly_easy, 60, slots=64)
    whole = tally(many(n=4, quorum=2.0), mostly_easy, 60, slots=64)
    assert early.tokens <= 0.6 * whole.tokens
    assert early.right >= whole.right - 0.005


def test_every_temperature_has_a_ledger() -> None:
    """What the temperatures cost adds up to what the search cost; the greedy one has one sample."""
    search = TimedSearch(
        MultiTemperature(n=3, highest=0.4, step=0.2, quorum=2.0, rounds=2, depth=1).fresh(0), window(1)
    )
    search.run()
    assert isinstance(search.strategy, MultiTemperature)
    tokens = {t: usage.completion_tokens for t, usage in search.strategy.spent(search.tree).items()}
    assert tokens == {0.0: 100, 0.2: 600, 0.4: 600}
    assert sum(tokens.values()) == search.tree.usage.tokens


def begun(bench: Any, strategy: MultiTemperature) -> tuple[Any, list[Any]]:
    """Return a bench whose first round has begun."""
    b = bench(strategy.fresh(0))
    b.judge()
    return b, b.ask(50)


def answer(b: Any, works: list[Any], say: Any) -> None:
    """End trajectories with what `say` makes of their temperature."""
    for work in works:
        b.arrive(work, answer=say(work.temperature))
        for score in b.ask(0):
            b.settle(score)


def test_rounds(bench: Any) -> None:
    """A round has `n` samples of each temperature, but one of 0; another begins while the temperatures disagree."""
    b, works = begun(bench, MultiTemperature(n=2, highest=0.4, step=0.2, rounds=2, depth=1))
    assert [work.temperature for work in works] == [0.0, 0.2, 0.2, 0.4, 0.4]
    answer(b, works, str)
    works = b.ask(50)
    assert [work.temperature for work in works] == [0.2, 0.2, 0.4, 0.4]
    answer(b, works, str)
    assert b.ask(50) == []


def test_the_end_comes_when_enough_agree(bench: Any) -> None:
    """Two of three temperatures are a quorum of .6 and not of .8."""
    for quorum, ends in ((0.6, True), (0.8, False)):
        b, works = begun(bench, MultiTemperature(n=2, highest=0.4, step=0.2, quorum=quorum, depth=1))
        answer(b, works, lambda t: "a" if t < 0.3 else "b")
        assert (b.ask(50) == []) == ends
        assert b.strategy.why_over(b.tree) == ("the temperatures agree after 1 of 4 rounds" if ends else "")


def test_a_small_lead_does_not_count(bench: Any) -> None:
    """A temperature whose winner leads by less than the margin has no say in the early end."""
    b, works = begun(bench, MultiTemperature(n=3, lowest=0.2, highest=0.2, margin=0.6, depth=1))
    said = iter("aab")
    answer(b, works, lambda _t: next(said))
    assert len(b.ask(50)) == 3


def test_noise_has_no_vote(bench: Any) -> None:
    """A temperature at which fewer than half of the samples are answers is left out."""
    b, works = begun(bench, MultiTemperature(n=3, lowest=0.2, highest=0.4, step=0.2, rounds=1, depth=1))
    said = iter(["a", "a", "a", "", "", "b"])
    answer(b, works, lambda _t: next(said))
    assert list(b.strategy.winners(b.tree)) == [0.2]
    appraisal = b.strategy.choice(b.tree)
    assert appraisal.confidence == 1.0
    assert "margins" in appraisal.source


def test_all_steps_of_a_trajectory_have_its_temperature(bench: Any) -> None:
    """What began hot goes on hot."""
    b, works = begun(bench, MultiTemperature(n=1, lowest=0.3, highest=0.9, step=0.6, depth=3))
    for work in works:
        b.arrive(work)
    for score in b.ask(0):
        b.settle(score)
    assert [(work.node, work.temperature) for work in b.ask(9)] == [(works[0].id, 0.3), (works[1].id, 0.9)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lowest": -0.1},
        {"highest": -1.0},
        {"step": 0.0},
        {"rounds": 0},
        {"quorum": -1.0},
        {"margin": 1.5},
        {"cross": "all"},
        {"n": 0},
    ],
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """An option that does not exist or is out of range is refused."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        MultiTemperature(**wrong)
