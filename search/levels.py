"""Going level by level: what beam search, REBASE, particle filters and their like have in common."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..core.events import Expand, Work
from ..core.tree import TreeView
from ..core.types import ROOT, NodeId, WorkId
from .common import MAX_FAILURES, BaseStrategy, one_of, within
from .frontier import Frontier, Priority

Aggregate = Literal["last", "min", "product", "mean"]
"""What a prefix is worth by the values of its steps: that of the last one, the least, their product, their mean."""


@dataclass(slots=True)
class Group:
    """One search of its own: its present level, and what is on its way to the next."""

    plan: deque[NodeId] = field(default_factory=deque[NodeId])
    """Expansions of the level's nodes that are not started yet, each node as often as it is to be expanded."""
    flying: int = 0
    """Expansions that are out, and new nodes that nobody judged yet."""
    arrived: list[NodeId] = field(default_factory=list[NodeId])
    """Judged nodes of the next level that can go on."""
    ended: list[NodeId] = field(default_factory=list[NodeId])
    """Those that cannot: answers, and what reached the longest length."""
    taken: int = 0
    """Places that ended trajectories of earlier levels have taken for good."""
    level: int = 0
    planned: dict[NodeId, int] = field(default_factory=dict[NodeId, int])
    """Expansions of the level's nodes in all."""


@dataclass
class Levels(BaseStrategy):
    """Base of strategies that expand a level's nodes, wait for all children, and choose the next level from them.

    Several such searches (`groups`) run side by side and never wait for each other: a group's barrier leaves no slot idle
    while another group has work. A failed expansion is tried again; what fails too often is left out of the level.

    Args:
        depth: longest trajectory in steps, >= 1.
        groups: independent searches, >= 1; each costs what one costs.
        aggregate: what a prefix is worth by the values of its steps.
        prior: value of a step that no verifier judged, in [0, 1].
    """

    depth: int = field(default=16, kw_only=True)
    groups: int = field(default=1, kw_only=True)
    aggregate: Aggregate = field(default="last", kw_only=True)
    prior: float = field(default=0.5, kw_only=True)
    _searches: list[Group] = field(default_factory=list[Group], init=False, repr=False)
    _waiting: Frontier[int] = field(default_factory=Frontier[int], init=False, repr=False)
    """Groups with expansions to start, those that are behind first."""
    _home: dict[NodeId, int] = field(default_factory=dict[NodeId, int], init=False, repr=False)
    """The group of every node that may be expanded, except the root."""
    _flights: dict[WorkId, int] = field(default_factory=dict[WorkId, int], init=False, repr=False)
    """The group of every expansion that is out and of every new node that nobody judged yet."""
    _worth: dict[NodeId, float] = field(default_factory=dict[NodeId, float], init=False, repr=False)
    """What each judged prefix is worth."""

    def __post_init__(self) -> None:
        within("depth", self.depth, 1)
        within("groups", self.groups, 1)
        one_of("aggregate", self.aggregate, ("last", "min", "product", "mean"))
        within("prior", self.prior, 0.0, 1.0)

    # --- for subclasses ---

    def begin(self) -> int:
        """Return how many steps a group takes from the root."""
        raise NotImplementedError  # pragma: no cover - abstract

    def choose(self, group: Group, view: TreeView) -> dict[NodeId, int]:
        """Return how often each of `group.arrived` is expanded; nothing: the group is over.

        `group.arrived` and `group.ended` are in the order of their numbers; `group.taken` is the subclass's to count.
        """
        raise NotImplementedError  # pragma: no cover - abstract

    def tries(self, index: int, node: NodeId) -> int:
        """Return how many expansions of a group's node may fail before the rest of them are given up."""
        return MAX_FAILURES * self._searches[index].planned[node] * (self.groups if node == ROOT else 1)

    def worth(self, node: NodeId) -> float:
        """What a judged prefix is worth, in [0, 1]."""
        return self._worth[node]

    def best(self, nodes: Sequence[NodeId], count: int) -> list[NodeId]:
        """Return the `count` nodes that are worth most, best first; of equals the older."""
        return sorted(nodes, key=lambda node: (-self._worth[node], node))[: max(0, count)]

    # --- what to do next ---

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:  # noqa: ARG002 - the base's signature
        """Expand the groups' levels, those that are behind first."""
        asked: dict[int, int] = {}
        work: list[Work] = []

        def again(group: int, times: int) -> Priority | None:
            return self._priority(group, times) if times < len(self._searches[group].plan) else None

        for i, group in zip(range(slots), self._waiting.peek(again), strict=False):
            place = asked.get(group, 0)
            asked[group] = place + 1
            work.append(Expand(WorkId(first + i), self._searches[group].plan[place]))
        return work

    def _priority(self, group: int, times: int) -> Priority:
        return (self._searches[group].level, group, times)

    # --- what happened ---

    def started(self, work: Work, view: TreeView) -> None:  # noqa: ARG002 - the base's signature
        """Take the expansion out of its group's plan."""
        if not isinstance(work, Expand):
            return
        index = self._home[work.node] if work.node != ROOT else self._at_the_root()
        group = self._searches[index]
        group.plan.remove(work.node)
        group.flying += 1
        self._flights[work.id] = index
        if not group.plan:
            self._waiting.remove(index)

    def _at_the_root(self) -> int:
        """The group that a new expansion of the root is for: the first one that is still to begin."""
        return next(
            index for index in self._waiting.peek(lambda _group, _times: None) if ROOT in self._searches[index].plan
        )

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """Plan the expansion anew, until too many of its node failed."""
        index = self._flights.pop(work)
        group = self._searches[index]
        group.flying -= 1
        if view.failures(node) < self.tries(index, node):
            group.plan.append(node)
            self._waiting.put(index, self._priority(index, 0))
        else:
            self._advance(index, view)

    def ready(self, node: NodeId, view: TreeView) -> None:
        """Take a judged node into its group's next level, which begins when it was the last one."""
        if node == ROOT:
            self._worth[ROOT] = 1.0
            for index in range(self.groups):
                self._searches.append(Group())
                self.plan(index, {ROOT: self.begin()})
            return
        index = self._flights.pop(WorkId(node))
        group = self._searches[index]
        group.flying -= 1
        self._value(node, view)
        ends = view.status(node) != "live" or view[node].depth >= self.depth
        (group.ended if ends else group.arrived).append(node)
        self._advance(index, view)

    def revalued(self, node: NodeId, view: TreeView) -> None:
        """Let the choice of the next level go by the new value."""
        if node != ROOT and node in self._worth:
            self._value(node, view)

    def _value(self, node: NodeId, view: TreeView) -> None:
        value, here = view.value(node), view[node]
        value = self.prior if value is None else value
        before = self._worth[ROOT if here.parent is None else here.parent]
        self._worth[node] = self.combined(before, value, here.depth)

    def combined(self, before: float, value: float, depth: int) -> float:
        """Return what a prefix of `depth` steps is worth by what it was worth before its last step, and that step's value."""
        match self.aggregate:
            case "last":
                return value
            case "min":
                return min(before, value)
            case "product":
                return before * value
            case "mean":
                return value if depth == 1 else before + (value - before) / depth

    def _advance(self, index: int, view: TreeView) -> None:
        """Begin the group's next level where its present one is complete."""
        group = self._searches[index]
        if group.plan or group.flying:
            return
        group.arrived.sort()
        group.ended.sort()
        chosen = self.choose(group, view)
        group.arrived, group.ended = [], []
        group.level += 1
        self.plan(index, chosen)

    def plan(self, index: int, plan: dict[NodeId, int]) -> None:
        """Have a group's nodes expanded so many times each."""
        group = self._searches[index]
        group.planned = {node: times for node, times in plan.items() if times > 0}
        group.plan = deque(node for node, times in group.planned.items() for _ in range(times))
        self._home.update(dict.fromkeys(group.planned, index))
        if group.plan:
            self._waiting.put(index, self._priority(index, 0))


def shares(worths: Sequence[float], temperature: float) -> list[float]:
    """Return softmax(worth / temperature); towards 0 all of it is the best one's (the first of equals)."""
    top = max(worths)
    if temperature == 0.0:
        first = worths.index(top)
        return [float(index == first) for index in range(len(worths))]
    weights = [math.exp((worth - top) / temperature) for worth in worths]
    total = sum(weights)
    return [weight / total for weight in weights]
