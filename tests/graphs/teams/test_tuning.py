"""Searching among configurations: what is found by how many measurements, the cap, kills, and the winner's curse."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from math import log
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest

import branchwise as bw
from branchwise.core.simulated.surfaces import ResponseSurface
from branchwise.core.types import Budget, Usage
from branchwise.graphs.teams.tuning import Measured, Notes, Row, Tuned, Tuner
from branchwise.graphs.teams.tuning_study import rungs

Chosen = tuple[int, ...]


def chosen(choices: Mapping[str, Any]) -> Chosen:
    """A configuration is what was chosen."""
    return tuple(choices.values())


class Measuring:
    """Measures by a function of configuration and item; keeps what it was asked."""

    def __init__(self, score: Callable[[Chosen, int], float], calls: int = 1) -> None:
        self.score = score
        self.calls = calls
        self.asked: list[tuple[Chosen, int]] = []
        self.known: list[str] = []
        self.fails_at: int | None = None

    async def __call__(self, configuration: Chosen, item: int, budget: Budget, notes: Notes) -> Measured:
        """Measure, within the budget."""
        self.asked.append((configuration, item))
        if notes.known is not None:
            self.known.append(notes.known)
        notes.note(f"{configuration} {item}")
        if self.fails_at is not None and len(self.asked) >= self.fails_at:
            raise ConnectionError("cut off")
        calls = self.calls if budget.calls is None else min(self.calls, budget.calls)
        return Measured(self.score(configuration, item), Usage(calls=calls, prompt_tokens=10), short=calls < self.calls)


def choices(count: int, values: int) -> dict[str, tuple[int, ...]]:
    """So many choices of so many values."""
    return {f"x{number}": tuple(range(values)) for number in range(count)}


async def found_after(surface: ResponseSurface, score: Callable[[Chosen], float], trials: int, seed: int) -> int:
    """How many different configurations were measured until one was within one per cent of the best; `trials` if none was."""
    measure = Measuring(lambda configuration, _item: score(configuration))
    tuner = Tuner(choices(surface.choices, surface.values), chosen, measure, items=1, trials=trials, seed=seed)
    await tuner.run()
    hits = (n for n, (configuration, _) in enumerate(measure.asked, start=1) if surface.worth(configuration) >= 0.99)
    return next(hits, trials)


async def test_the_best_of_many_is_found_with_a_quarter_of_what_chance_needs() -> None:
    """Choices that help and hinder each other: within one per cent of the optimum, median over surfaces. Noise finds nothing."""
    learnt, by_chance, blind = [], [], []
    for seed in range(3):
        surface = ResponseSurface(choices=6, seed=seed)
        by_chance.append(log(2) / surface.share(0.99))
        learnt.append(await found_after(surface, surface.worth, 130, seed))
        noise = await found_after(surface, lambda c, s=seed: random.Random(f"{s} {c}").random(), 130, seed)
        blind.append(noise)
    assert median(learnt) <= 0.25 * median(by_chance)
    assert median(blind) == 130


@pytest.mark.parametrize(
    ("items", "steps"), [(1, [1]), (11, [11]), (12, [4, 12]), (40, [4, 13, 40]), (100, [11, 33, 100])]
)
def test_steps_of_halving(items: int, steps: list[int]) -> None:
    """All items, a third, a ninth, and never fewer than four."""
    assert rungs(items) == steps


async def test_the_worse_are_stopped_early_on_the_same_items() -> None:
    """Items are measured in one order for all, and most configurations see few of them."""
    rng = random.Random(1)
    luck = [rng.random() for _ in range(36)]
    measure = Measuring(lambda c, item: 0.5 * c[0] / 7 + 0.5 * luck[item])
    tuner = Tuner(choices(1, 8), chosen, measure, items=36, trials=40, seed=1, at_once=3)
    tuned = await tuner.run()
    assert tuned.best == (7,)
    for value in range(8):
        items = [item for configuration, item in measure.asked if configuration == (value,)]
        assert items == list(range(len(items)))
        assert len(items) in {0, 4, 12, 36}
    assert len(measure.asked) == len(set(measure.asked)) < 8 * 36
    assert any(row.outcome == "halved" for row in tuned.rows)


@pytest.mark.parametrize("begins_with_it", [True, False])
async def test_the_plainest_are_measured_whole(begins_with_it: bool) -> None:
    """One that fails on the items that come first is not stopped early where it is one of the plainest; any other is."""
    late = (3,)
    measure = Measuring(lambda c, item: float(item >= 4) if c == late else 0.5)
    first = [{"x0": value} for value in (0, 1, 2, *([3] if begins_with_it else []))]
    trials = len(first) if begins_with_it else 40
    tuned = await Tuner(choices(1, 8), chosen, measure, items=12, trials=trials, first=first, seed=1).run()
    outcomes = {row.outcome for row in tuned.rows if row.configuration == repr(late)}
    assert (tuned.best == late, "halved" in outcomes) == (begins_with_it, not begins_with_it)


async def test_the_cap_is_kept_and_leaves_room_for_the_last_comparison() -> None:
    """Never a call more than allowed; the finalists are measured with what was kept for them."""
    for calls in (60, 100, 333):
        measure = Measuring(lambda c, _item: sum(c) / 12, calls=3)
        tuner = Tuner(
            choices(4, 4), chosen, measure, items=4, fresh=3, budget=Budget(calls=calls), seed=1, at_once=2, finalists=2
        )
        tuned = await tuner.run()
        assert tuned.usage.calls <= calls
        assert tuned.finalists[0].fresh_items > 0
        assert "kept for the last comparison" in tuned.detail
        assert max(row.spent for row in tuned.rows) <= 1


async def test_a_cap_too_small_for_anything() -> None:
    """It says what to do."""
    tuner = Tuner(choices(2, 4), chosen, Measuring(lambda _c, _i: 1.0, calls=9), items=4, budget=Budget(calls=12))
    with pytest.raises(bw.UsageError, match="no configuration was measured on all 4 items"):
        await tuner.run()
    with pytest.raises(bw.UsageError, match="needs an end"):
        Tuner(choices(2, 4), chosen, Measuring(lambda _c, _i: 1.0), items=4)
    with pytest.raises(bw.UsageError, match="at least 1"):
        Tuner(choices(2, 4), chosen, Measuring(lambda _c, _i: 1.0), items=0, trials=3)


async def test_what_is_not_allowed_costs_nothing_and_is_said() -> None:
    """A configuration that cannot be built is refused before anything is measured; the same is measured once."""

    def build(given: Mapping[str, Any]) -> Chosen:
        if given["x0"] == 0:
            raise bw.UsageError("zero is too little")
        return (given["x0"],)

    measure = Measuring(lambda c, _item: c[0] / 4)
    tuned = await Tuner(choices(2, 4), build, measure, items=1, trials=60, seed=3).run()
    assert tuned.best == (3,)
    assert sorted(configuration for configuration, _ in measure.asked) == [(1,), (2,), (3,)]
    outcomes = {row.outcome for row in tuned.rows}
    assert outcomes == {"whole", "known", "refused"}
    assert {row.why for row in tuned.rows if row.outcome == "refused"} == {"zero is too little"}


async def test_nothing_new_ends_it() -> None:
    """Where all there is was measured, it does not go on proposing for ever."""
    tuned = await Tuner(
        choices(1, 2), chosen, Measuring(lambda c, _i: c[0] / 2), items=1, budget=Budget(calls=10_000), seed=1
    ).run()
    assert "nothing new" in tuned.detail
    assert tuned.best == (1,)


def of_folder(place: Path, measure: Measuring, **more: Any) -> Tuner[Chosen]:
    """A search that is kept."""
    options: dict[str, Any] = {
        "items": 4,
        "fresh": 2,
        "trials": 8,
        "seed": 5,
        "at_once": 1,
        "store": place / "s.sqlite",
    }
    return Tuner(choices(2, 3), chosen, measure, **{**options, **more})


@pytest.mark.parametrize("fails_at", [1, 20])
async def test_a_search_that_was_cut_off_goes_on(tmp_path: Path, fails_at: int) -> None:
    """What was measured is not measured again but for what was under way, which finds its note; the end is as good."""
    measure = Measuring(lambda c, item: sum(c) / 6 - 0.01 * item)
    measure.fails_at = fails_at
    with pytest.raises(ConnectionError):
        await of_folder(tmp_path, measure).run()
    measure.fails_at = None
    under_way = measure.asked[-1]
    tuned = await of_folder(tmp_path, measure).run()
    assert [pair for pair in measure.asked if measure.asked.count(pair) > 1] == [under_way] * 2
    assert measure.known == [f"{under_way[0]} {under_way[1]}"]
    assert tuned.best == (2, 2)
    assert [row.number for row in tuned.rows] == list(range(1, len(tuned.rows) + 1))
    assert tuned.usage.calls == len(set(measure.asked))


async def test_another_search_in_the_same_place_is_refused(tmp_path: Path) -> None:
    """Other items, choices or seeds would mix what cannot be compared; the same search only says again what it found."""
    measure = Measuring(lambda c, _item: sum(c) / 6)
    first = await of_folder(tmp_path, measure).run()
    asked = len(measure.asked)
    again = await of_folder(tmp_path, measure).run()
    assert (again.best, again.finalists[0].fresh, len(measure.asked)) == (first.best, first.finalists[0].fresh, asked)
    for other in ({"items": 5}, {"seed": 6}):
        with pytest.raises(bw.UsageError, match="holds a search among other choices"):
            await of_folder(tmp_path, measure, **other).run()


async def test_the_highest_of_many_is_too_high_and_fresh_items_say_so() -> None:
    """All configurations are equally good, and the best looks better than that on the items that it was chosen by."""
    told, fresh = [], []
    for seed in range(6):
        luck = Measuring(lambda c, item, s=seed: float(random.Random(f"{s} {c} {item}").random() < 0.5))
        tuned: Tuned[Chosen] = await Tuner(choices(2, 5), chosen, luck, items=10, fresh=10, trials=30, seed=seed).run()
        told += [one.score for one in tuned.finalists]
        fresh += [one.fresh for one in tuned.finalists if one.fresh is not None]
        assert len(tuned.finalists) >= 5
    assert fmean(told) > 0.65
    assert abs(fmean(fresh) - 0.5) < 4 * 0.5 / (len(fresh) * 10) ** 0.5


async def test_the_plainest_that_did_best_are_compared_at_the_end() -> None:
    """So that the winner has beaten them where nobody was chosen for luck."""
    rows: list[Row] = []
    measure = Measuring(lambda c, _item: 0.4 + 0.1 * sum(c))
    first = [{"x0": 0, "x1": 0}, {"x0": 1, "x1": 0}]
    tuner = Tuner(
        choices(2, 4),
        chosen,
        measure,
        items=1,
        fresh=2,
        trials=30,
        first=first,
        finalists=2,
        seed=1,
        listener=rows.append,
    )
    tuned = await tuner.run()
    assert [one.configuration for one in tuned.finalists][-2:] == [(1, 0), (0, 0)]
    assert [row.configuration for row in rows[:2]] == ["(0, 0)", "(1, 0)"]
    assert [row.best for row in rows] == sorted(row.best or 0 for row in rows)


async def test_of_the_plainest_the_best_by_all_items_counts() -> None:
    """One that was lucky in the search is not what others have to beat."""
    scores = {0: [0.8] * 4 + [1.0, 1.0, 0.0, 0.0], 1: [0.75] * 4 + [0.6] * 4, 2: [0.1] * 8}
    measure = Measuring(lambda c, item: scores[c[0]][item])
    first = [{"x0": value} for value in scores]
    tuned = await Tuner(choices(1, 3), chosen, measure, items=4, fresh=4, trials=3, first=first, seed=1).run()
    assert tuned.best == (1,)


@pytest.mark.parametrize(("gain", "best"), [(0.0, (0,)), (0.6, (3,))])
async def test_what_is_no_better_than_luck_does_not_replace_the_plainest(gain: float, best: Chosen) -> None:
    """On fresh items the winner is ahead by more than a standard error, or the plainest stays."""

    def score(configuration: Chosen, item: int) -> float:
        luck = random.Random(f"{configuration} {item}").random()
        return min(1.0, 0.4 * luck + (gain if configuration == (3,) else 0.0))

    measure = Measuring(score)
    tuned = await Tuner(choices(1, 4), chosen, measure, items=12, fresh=12, trials=20, first=[{"x0": 0}], seed=4).run()
    assert tuned.best == best
