"""What the tests of strategies over pieces of texts share: any order of completion with failures, and replays."""

from __future__ import annotations

import random
from dataclasses import dataclass

from branchwise.core.events import Expand, Failed, decode, encode
from branchwise.core.protocols import Strategy
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import Tree
from branchwise.core.turns import begun, text_of
from branchwise.core.types import ROOT, Node


@dataclass
class Scrambled(TimedSearch):
    """A search whose work ends in any order, a share of it badly."""

    fails: float = 0.0
    failed: int = 0

    def _finish(self) -> None:
        rng = random.Random(f"{self.seed} order {len(self.events)}")
        number = rng.choice(sorted(self.tree.in_flight))
        work = self.tree.in_flight[number]
        if rng.random() < self.fails:
            self._flights.pop(number, None)
            self.failed += 1
            self._take(Failed(number, work.node, "ModelTimeout", "simulated"))
        elif isinstance(work, Expand):
            _, draw = self._flights[number]
            self._flights[number] = (self.now_tokens - draw.tokens, draw)  # it is this one that is due
            super()._finish()
        else:
            self._take(self._judged(work))

    def replayed(self, fresh: Strategy) -> Strategy:
        """Return a strategy that was told what the journal holds."""
        tree = Tree(Node(ROOT, None, None))
        for event in decode(encode(self.events)):
            tree.apply(event)
            fresh.tell((event,), tree)
        return fresh

    def said(self, node: int) -> str:
        """Return the turn that a node ends, as far as it goes."""
        path = self.tree.path(node)
        step = path[-1].step
        assert step is not None
        return text_of(begun(path[:-1])) + step.text


def scrambled(search: Scrambled, fresh: Strategy) -> None:
    """Check that a search comes to its end though work fails in it, and that its journal gives back the strategy."""
    search.run()
    assert search.choice().node is not None
    again = search.replayed(fresh)
    assert repr(vars(again)) == repr(vars(search.strategy))
    assert not again.ask(search.tree, 8)
