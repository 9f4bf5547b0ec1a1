"""What mishaps cost: nothing of ours is lost, and what the peers lose is what the table says."""

from __future__ import annotations

import failures

import branchwise as bw


def test_five_at_once() -> None:
    """All of ours are kept; of treequest's two of five."""
    kept = failures.ours(bw.search.UCT(width=2, depth=1000), 100, slots=5)
    assert (kept.wanted, kept.made, kept.kept) == (100, 100, 100)
    peer = failures.treequest_batches(100)
    assert (peer.made, peer.kept) == (100, 40)


def test_a_long_chain() -> None:
    """Ours goes on where treequest's recursion ends; treequest's in-place step goes on too."""
    assert failures.ours(bw.search.BestOfN(n=1, depth=250), 250, slots=1).note == "depth 250"
    peer = failures.treequest_chain(250)
    assert peer.kept < 250
    assert "RecursionError" in peer.note
    assert failures.treequest_chain(250, inplace=True).kept == 250


def test_failures() -> None:
    """What fails is made up for; its-hub's samples are lost with the one that failed."""
    one = failures.ours(bw.search.BestOfN(n=64, depth=1), 64, slots=64, fails=lambda number: number == 32)
    assert (one.made, one.kept) == (64, 64)
    peer = failures.its_hub_best_of_n(64)
    assert (peer.made, peer.kept) == (63, 0)
    tenth = failures.ours(bw.search.BestFirst(), 100, slots=8, fails=lambda number: number % 10 == 0)
    assert tenth.kept == 100
    assert "failed and were made up for" in tenth.note
