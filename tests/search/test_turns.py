"""Turns of batches, and the allocation of tokens to context, batch and turns against the best there is."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand
from branchwise.core.simulated.chains import RefineChain, Refinements
from branchwise.search import BestOfN, Saturating, Scaling, Turns, allocate

from .worlds import golden, grow

EXAMPLE = Scaling(Saturating(0.5, 2_000), Saturating(0.4, 6), Saturating(0.3, 3))


def exhaustive(gain: Any, tokens: int, least: int = 256) -> float:
    """The best gain over the whole grid."""
    found = 0.0
    powers = [2**n for n in range(int(math.log2(tokens / least)) + 1)]
    for c in powers:
        for b in powers:
            for t in powers:
                if c * least * b * t <= tokens:
                    found = max(found, gain(c * least, b, t))
    return found


def per_turn(context: int, batch: int, turns: int) -> float:
    """Success where each turn's batch may succeed, a refined one more likely than the first."""
    single = 0.3 * -math.expm1(-context / 3_000)
    missed = (1 - single) ** batch * (1 - min(0.9, 1.3 * single)) ** (batch * (turns - 1))
    return 1 - missed


def test_close_to_the_best_allocation() -> None:
    """Within 3 % of the best of the grid under 20 budgets, for three axes by themselves and for turns that build on each other."""
    rng = random.Random(5)
    for _ in range(20):
        tokens = int(2 ** rng.uniform(9, 19))
        curves = Scaling(*(Saturating(rng.uniform(0.1, 0.6), 2 ** rng.uniform(low, high)) for low, high in
                           ((9, 13), (1, 5), (0.5, 3))))  # fmt: skip
        for gain in (EXAMPLE, curves, per_turn):
            found = allocate(gain, tokens)
            assert found.tokens <= tokens
            assert found.gain >= 0.97 * exhaustive(gain, tokens)


def test_one_axis_is_bounded() -> None:
    """However much goes to one axis alone, it yields no more than it can; all three together yield more."""
    alone = [EXAMPLE(2**20, 1, 1), EXAMPLE(1, 2**20, 1), EXAMPLE(1, 1, 2**20)]
    first = EXAMPLE(1, 1, 1)
    assert all(first < share < 0.75 for share in alone)
    assert EXAMPLE(2**20, 2**20, 2**20) == pytest.approx(1 - 0.5 * 0.6 * 0.7)
    assert allocate(EXAMPLE, 2**19).gain > max(alone)


def test_curves_are_found_again() -> None:
    """A curve is recovered from what it yields; from noisy shares about."""
    curve = Saturating(0.6, 1_500.0)
    points = [(float(x), curve(x)) for x in (256, 512, 1_024, 2_048, 4_096, 8_192)]
    exact = Saturating.fit(points)
    assert (exact.most, exact.scale) == (pytest.approx(0.6, rel=0.01), pytest.approx(1_500, rel=0.02))
    rng = random.Random(1)
    noisy = Saturating.fit([(x, share + rng.gauss(0, 0.02)) for x, share in points])
    assert noisy.most == pytest.approx(0.6, abs=0.08)


def test_an_allocation_is_a_search() -> None:
    """What is allocated can be run: the ledger's most is the product of the three axes."""
    found = allocate(EXAMPLE, 20_000)
    assert found.strategy() == Turns(found.turns, found.batch, found.context)
    assert found.tokens == found.context * found.batch * found.turns


def test_the_next_turn_is_shown_the_best(bench: Any) -> None:
    """A turn waits for its batch, then shows the `keep` best of all so far; every call has the same context."""
    b = bench(Turns(turns=3, batch=2, context=512, keep=2).fresh(0))
    b.judge(0.5)
    for values in ((0.3, 0.6), (0.5, 0.1), (0.2, 0.2)):
        works = [work for work in b.strategy.ask(b.tree, 9) if isinstance(work, Expand)]
        assert {work.max_tokens for work in works} == {512}
        assert len(works) == 2
        shown = [] if works[0].framing is None else [b.tree.value(node) for node in works[0].framing.shown]
        assert shown == {0.3: [], 0.5: [0.6, 0.3], 0.2: [0.6, 0.5]}[values[0]]
        for value in values:
            b.grow(value, answer="x")
    assert b.ask(9) == []


def test_the_target_ends_it(bench: Any) -> None:
    """An attempt as good as can be ends it after its turn."""
    b = bench(Turns(turns=3, batch=1, target=1.0).fresh(0))
    b.judge(0.5)
    b.grow(1.0, answer="x")
    assert b.ask(9) == []


def test_turns_pay_where_verdicts_do() -> None:
    """At equal cost turns of refinement beat one batch; without a signal (the ablation) they have nothing to build on."""

    def mean(strategy: Any, *, signal: bool) -> float:
        total = 0.0
        for seed in range(100):
            world = RefineChain(signal=signal, seed=seed)
            simulation = Refinements(strategy.fresh(seed), world, slots=4, seed=seed)
            simulation.run(100)
            total += simulation.chosen
        return total / 100

    assert mean(Turns(turns=4, batch=2), signal=True) > mean(BestOfN(8), signal=True) + 0.25
    assert abs(mean(Turns(turns=4, batch=2), signal=False)) < 0.4


def test_golden_tree() -> None:
    """The tree of a seeded search is reproduced exactly."""
    golden("turns", Turns(turns=3, batch=2, depth=4))


def test_many_turns() -> None:
    """Long attempts, and one in ten failing: nothing is lost."""
    grown = grow(Turns(turns=50, batch=8, depth=20), 2_000, fails=0.1)
    assert (grown.nodes, grown.lost) == (2_001, 0)


@pytest.mark.parametrize(
    "wrong", [{"turns": 0}, {"batch": 0}, {"context": 0}, {"keep": 0}, {"target": 2}, {"depth": 0}]
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and what is allowed."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Turns(**wrong)


def test_wrong_use_of_the_allocation() -> None:
    """A budget below one call, and points that make no curve, are refused."""
    with pytest.raises(UsageError, match="least_context=256"):
        allocate(EXAMPLE, 100)
    with pytest.raises(UsageError, match="different x > 0"):
        Saturating.fit([(1.0, 0.5), (1.0, 0.4)])
