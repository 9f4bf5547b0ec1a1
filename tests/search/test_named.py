"""Strategies by name."""

from __future__ import annotations

import pytest

from branchwise.core.errors import UsageError
from branchwise.search import (
    ABMCTS,
    DVTS,
    PUCT,
    UCT,
    AStar,
    BaseStrategy,
    Beam,
    Best,
    BestFirst,
    BestOfN,
    FirstFinish,
    Hedged,
    Lookahead,
    MajoritySampling,
    MultiTemperature,
    NoiseAware,
    Particles,
    Rebase,
    Rollover,
    Saturation,
    SelfConsistency,
    SelfRefine,
    ShortMajority,
    SoftTree,
    StepBestOfN,
    TotBFS,
    TotDFS,
    Vote,
    parse_selector,
    parse_strategy,
)
from branchwise.search.named import CONTROLLERS, SELECTORS, STRATEGIES, recorded_selector, recorded_strategy


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("none", BestOfN(n=1)),
        ("self-consistency:n=4,same=number,weight=scaled", SelfConsistency(4, "number", "scaled")),
        ("first-finish:n=8", FirstFinish(8)),
        ("short-majority:n=5,m=2", ShortMajority(5, m=2)),
        ("hedged:similarity=words", Hedged(similarity="words")),
        ("multi-temperature:step=0.2,cross=winners", MultiTemperature(step=0.2, cross="winners")),
        ("best-of-majority:n=64,members=3", MajoritySampling(64, members=3)),
        ("self-refine:criticise=false", SelfRefine(criticise=False)),
        ("best-of-n", BestOfN()),
        ("best-of-n:n=3", BestOfN(n=3)),
        ("best-first:width=2,depth=5", BestFirst(width=2, depth=5)),
        ("best-first:patience=0.5,deduplicate=false", BestFirst(patience=0.5, deduplicate=False)),
        ("uct:growth=0.5", UCT(growth=0.5)),
        ("puct:policy=likelihood,exploration=1.25", PUCT(policy="likelihood", exploration=1.25)),
        ("ab-mcts:posterior=beta", ABMCTS(posterior="beta")),
        ("ab-mcts:mean=0.3", ABMCTS(mean=0.3)),
        ("a-star:cost=sum", AStar(cost="sum")),
        ("tot-dfs:threshold=0.4", TotDFS(threshold=0.4)),
        ("particles:particles=4,potential=odds,output=vote", Particles(4, "odds", output="vote")),
        ("soft-tree:goal=best,strength=5", SoftTree(5.0, goal="best")),
        ("rollover:quota=6,ahead=2", Rollover(6, 2)),
        ("lookahead:steps=3,trend=0", Lookahead(steps=3, trend=0.0)),
        ("beam:beams=2,aggregate=min", Beam(beams=2, aggregate="min")),
        ("step-best-of-n:width=3,groups=2", StepBestOfN(width=3, groups=2)),
        ("dvts:groups=8", DVTS(groups=8)),
        ("tot-bfs", TotBFS()),
        ("rebase:temperature=0.5", Rebase(temperature=0.5)),
    ],
)
def test_strategies_by_name(text: str, strategy: BaseStrategy) -> None:
    """A name with options gives the strategy that a user would have written in Python."""
    assert parse_strategy(text) == strategy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bean", "best-first"),
        ("", "best-of-n"),
        ("best-first:breadth=2", "width="),
        ("best-first:width", "width="),
        ("best-first:width=two", "width='two'"),
        ("best-first:width=0", "width"),
        ("first-finish:evidence=good", "evidence cannot be given by name"),
        ("best-first:deduplicate=maybe", "deduplicate"),
        ("best-first:seed=3", "width="),
        ("beam:aggregate=median", "last, min, product, mean"),
        ("best-first:_issued=3", "width="),
    ],
)
def test_wrong_names(text: str, says: str) -> None:
    """What is wrong and what there is instead."""
    with pytest.raises(UsageError, match=says):
        parse_strategy(text)


@pytest.mark.parametrize(
    "name",
    [*STRATEGIES, *CONTROLLERS, "noise-aware:puct:width=3", "a-star:cost=sum", "saturation:least=3:best-of-n:n=9"],
)
def test_recorded_strategies_are_read_back(name: str) -> None:
    """What a run has recorded of its strategy makes an equal one, so that `resume` needs no `--search`."""
    strategy = parse_strategy(name).fresh(7)
    assert recorded_strategy(repr(strategy)) == strategy


def test_controllers_stand_before_what_they_are_around() -> None:
    """Their options come first; one may be around another, once each."""
    inner = NoiseAware(BestFirst(width=4))
    assert parse_strategy("saturation:epsilon=0.02:noise-aware:best-first:width=4") == Saturation(inner, epsilon=0.02)
    assert parse_strategy("noise-aware:certainty=2:best-first:width=4") == NoiseAware(BestFirst(width=4), certainty=2.0)
    assert parse_strategy("saturation:least=3") == Saturation(least=3)
    for text, says in (
        ("saturation:saturation:best-of-n", "twice"),
        ("saturation:n=3:best-of-n", "controller 'saturation' has no option 'n=3'"),
        ("noise-aware:saturation:best-of-n", "directly before a strategy"),
    ):
        with pytest.raises(UsageError, match=says):
            parse_strategy(text)


@pytest.mark.parametrize(
    "text", ["", "Own(width=3)", "BestFirst(width=", "BestFirst(print(1))", "BestFirst(colour='red')", "3()"]
)
def test_other_records_are_nobody_s(text: str) -> None:
    """A strategy of the user's own, or nonsense, is not guessed at."""
    assert recorded_strategy(text) is None


def test_selectors_have_names_too() -> None:
    """Parsed from the command line, and read back from a run's record."""
    assert parse_selector("best") == Best()
    assert parse_selector("vote:same=number,tie=shortest") == Vote("number", tie="shortest")
    for kind in SELECTORS.values():
        assert recorded_selector(repr(kind())) == kind()
    assert recorded_selector("Rarest()") is None
    assert recorded_selector("None") is None
    with pytest.raises(UsageError, match="no selector is called 'worst'; there are: best"):
        parse_selector("worst")
    with pytest.raises(UsageError, match="selector 'best' has no option 'x=1'; it takes aggregate="):
        parse_selector("best:x=1")
