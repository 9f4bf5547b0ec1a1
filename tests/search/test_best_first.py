"""Best-first search: what it follows, when it spreads, what it gives up."""

from __future__ import annotations

from typing import Any

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Expand, Prune
from branchwise.core.simulated.steps import noise_judge, true_judge
from branchwise.core.types import ROOT
from branchwise.search import BaseStrategy, BestFirst, BestOfN

from .worlds import golden, solved_share


def test_follows_the_values(bench: Any) -> None:
    """The best node anywhere is expanded next, not the newest and not the best of a level."""
    b = bench(BestFirst(width=2, patience=1.0).fresh(0))
    b.judge(0.5)
    good = b.grow(0.8)
    assert b.wants() == [good.id]
    worse = b.grow(0.3)
    assert worse.parent == good.id
    better = b.grow(0.9)
    assert better.parent == good.id
    assert b.wants(4) == [better.id, better.id, ROOT, worse.id]


def test_slots_go_to_the_best_nodes(bench: Any) -> None:
    """Several slots are spread as single ones would have been, each expansion counted as issued."""
    b = bench(BestFirst(width=2, patience=0.2).fresh(0))
    b.judge(0.5)
    first = b.grow(0.6)
    assert b.wants(7) == [first.id, first.id, ROOT, first.id, first.id, ROOT, ROOT]


@pytest.mark.parametrize(("patience", "deep"), [(0.0, True), (0.4, False)])
def test_patience_decides_when_to_spread(bench: Any, patience: float, deep: bool) -> None:
    """A further round of `width` children costs a node `patience` in value."""
    b = bench(BestFirst(width=2, patience=patience, depth=2).fresh(0))
    b.judge(0.5)
    best = b.grow(0.9)
    other = b.grow(0.6)
    assert (best.parent, other.parent) == (ROOT, best.id)
    b.grow(0.6)
    # `best` has had its round; it is worth .9 less the price of another one, the root's second child .5.
    assert (b.wants() == [best.id]) is deep


def test_unjudged_nodes_count_as_the_prior(bench: Any) -> None:
    """Where no verifier applies a node has the value that the user gives."""
    b = bench(BestFirst(width=1, patience=0.0, prior=0.7).fresh(0))
    b.judge()
    unjudged = b.grow()
    assert b.wants() == [unjudged.id]
    judged = b.grow(0.6)
    assert b.wants() == [ROOT]
    assert b.wants(3) == [ROOT, unjudged.id, ROOT]
    assert judged.id not in b.wants(3)


def test_stops_at_the_depth(bench: Any) -> None:
    """Nodes at the longest length, and finished ones, are not expanded."""
    b = bench(BestFirst(width=1, depth=2).fresh(0))
    b.judge(0.1)
    b.grow(0.9)
    b.grow(1.0)
    b.grow(1.0, answer="42")
    assert set(b.wants(20)) <= {0, 2, 6} - {4}
    for node in b.wants(20):
        assert b.tree[node].depth < 2
        assert b.tree[node].answer is None


def test_closes_a_node_in_a_state_that_was_seen(bench: Any) -> None:
    """A step that led to where another one has been is pruned at once, with its twin's number."""
    b = bench(BestFirst(width=3, patience=1.0).fresh(0))
    b.judge(0.5)
    first = b.grow(0.4, state="same")
    twin = b.grow(0.4, state="same")
    prune, *rest = b.ask()
    assert prune == Prune(prune.id, twin.id, f"same state as node {first.id}")
    assert b.tree.status(twin.id) == "pruned"
    assert [work.node for work in rest] == [ROOT]
    assert twin.id not in b.wants(20)


def test_going_back_to_the_start_is_a_duplicate(bench: Any) -> None:
    """Undoing what was done leads to a state that was seen."""
    b = bench(BestFirst(width=1, patience=1.0).fresh(0))
    b.judge(0.2)
    changed = b.grow(0.9, state="changed")
    undone = b.grow(0.9, state="start")
    assert undone.parent == changed.id
    assert isinstance(b.ask()[0], Prune)


def test_looking_around_is_no_duplicate(bench: Any) -> None:
    """A step that changed nothing has learnt something: it goes on."""
    b = bench(BestFirst(width=1).fresh(0))
    b.judge(0.2)
    looked = b.grow(0.9, state="start")
    assert b.wants() == [looked.id]


def test_duplicates_may_be_kept(bench: Any) -> None:
    """`deduplicate=False` closes nothing."""
    b = bench(BestFirst(width=3, patience=1.0, deduplicate=False).fresh(0))
    b.judge(0.5)
    b.grow(0.6, state="same")
    b.grow(0.4, state="same")
    assert all(isinstance(work, Expand) for work in b.ask(6))


def test_gives_up_a_node_that_fails(bench: Any) -> None:
    """A node on which three rounds' worth of work failed is left; the rest of the tree goes on."""
    b = bench(BestFirst(width=2).fresh(0))
    b.judge(0.1)
    good = b.grow(0.9)
    for _ in range(6):
        (work,) = b.ask()
        assert work.node == good.id
        b.fail(work.id)
    assert b.wants(3) == [ROOT, ROOT, ROOT]


def test_a_failed_expansion_does_not_count(bench: Any) -> None:
    """What came to nothing costs the node no round."""
    b = bench(BestFirst(width=1, patience=1.0).fresh(0))
    b.judge(0.5)
    (work,) = b.ask()
    b.fail(work.id)
    node = b.grow(0.4)
    assert node.parent == ROOT
    assert b.wants(2) == [node.id, ROOT]


def test_a_node_may_wait_for_the_judging_of_what_came_of_it(bench: Any) -> None:
    """One child at a time, of every node; others go on meanwhile, and what came to nothing is due again at once."""
    b = bench(BestFirst(width=2, patience=0.0, wait=True).fresh(0))
    b.judge(0.5)
    assert b.wants(5) == [ROOT]
    (first,) = b.ask(5)
    assert b.wants(5) == []
    poor = b.arrive(first)
    assert b.wants(5) == [], "not judged"
    b.judge(0.4)
    assert b.wants(5) == [ROOT, poor.id]
    (second, other) = b.ask(5)
    b.fail(second.id)
    assert b.wants(5) == [ROOT]
    b.arrive(other)
    b.judge(0.3)
    assert b.wants(5) == [ROOT, poor.id, other.id]


@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": 0}, {"patience": -0.1}, {"prior": -1}, {"prior": 1.5}])
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name and the bound."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        BestFirst(**wrong)


# --- in a simulated world ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("best_first", BestFirst(width=2, depth=4)),
        ("best_first_patient", BestFirst(width=3, depth=4, patience=0.02)),
        ("best_of_n", BestOfN(n=8, depth=4)),
    ],
)
def test_golden_tree(name: str, strategy: BaseStrategy) -> None:
    """The tree of a seeded search is reproduced exactly. `BRANCHWISE_WRITE_GOLDEN=1` writes it anew."""
    golden(name, strategy)


def test_the_values_are_what_helps() -> None:
    """At equal expansions true values solve most problems; replaced by noise, no more than independent trajectories.

    Measured: .70 with values, .03 with noise, .04 for best-of-n.
    """
    best_of_n = solved_share(BestOfN(n=1000, depth=4), true_judge)
    assert solved_share(BestFirst(depth=4), true_judge) > best_of_n + 0.35
    assert solved_share(BestFirst(depth=4), noise_judge) < best_of_n + 0.1
