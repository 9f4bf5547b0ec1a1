"""Sampling at many temperatures, voting within each and then between them, with an early end for easy tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ..core.events import Expand
from ..core.protocols import Appraisal
from ..core.tree import TreeView
from ..core.types import NO_USAGE, ROOT, Node, NodeId, Usage, WorkId
from .common import one_of, within
from .equivalence import grouped, is_answer
from .sampled import Sampled
from .voting import Vote, answered

PARSED = 0.5
"""A temperature at which fewer trajectories give an answer has no vote."""


@dataclass
class MultiTemperature(Sampled):
    """Sample at every temperature of a grid, round by round; vote within each temperature, then between them.

    Wu et al. (2025), On the role of temperature sampling in test-time scaling: different temperatures solve different tasks, so
    a vote at any single one saturates. After each round every temperature has a winner, and a margin by which it leads; the
    search is over once a quorum of temperatures agree with a sufficient margin. Greedy sampling (0) takes one sample only.
    Between rounds slots are idle until the last trajectory of the round is over: fewer and larger rounds cost less time and
    more tokens.

    Args:
        n: samples at each temperature in a round, >= 1.
        same: when answers are the same.
        lowest: lowest temperature, >= 0.
        highest: highest temperature, >= lowest.
        step: between them, > 0.
        rounds: most rounds, >= 1.
        quorum: share of the temperatures that must agree for an early end, in (0, 1]; more than 1: no early end.
        margin: by what share of its votes a temperature's winner must lead there to count, in [0, 1].
        cross: who votes in the end: all samples, each weighted by the margin of its temperature ("samples"), or each temperature's
            winner ("winners"; of equal numbers those that led by more), which needs a fine grid.
        depth: longest trajectory in steps, >= 1.
        repeats: a trajectory that takes the same action so many times in a row goes in circles and is over, >= 2.
    """

    name: ClassVar[str] = "multi-temperature"
    n: int = 8
    lowest: float = 0.0
    highest: float = 1.2
    step: float = 0.1
    rounds: int = 4
    quorum: float = 0.8
    margin: float = 0.6
    cross: Literal["winners", "samples"] = "samples"
    _temperatures: list[float] = field(default_factory=list[float], init=False, repr=False)
    """Of every planned trajectory, by its number."""
    _rounds_planned: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        within("lowest", self.lowest, 0.0)
        within("highest", self.highest, self.lowest)
        within("step", self.step, 1e-3)
        within("rounds", self.rounds, 1)
        within("quorum", self.quorum, 0.0)
        within("margin", self.margin, 0.0, 1.0)
        one_of("cross", self.cross, ("winners", "samples"))

    @property
    def speculative(self) -> bool:
        """Always several trajectories."""
        return True

    def grid(self) -> list[float]:
        """Return the temperatures, rising."""
        count = int((self.highest - self.lowest) / self.step + 1e-9) + 1
        return [round(self.lowest + i * self.step, 6) for i in range(count)]

    # --- what to do next ---

    def trajectories(self) -> int:
        """Those of the first round."""
        return self._add_round()

    def _add_round(self) -> int:
        """Decide the temperatures of another round; return how many trajectories it has."""
        again = self._rounds_planned > 0
        self._rounds_planned += 1
        new = [t for t in self.grid() for _ in range((0 if again else 1) if t == 0.0 else self.n)]
        self._temperatures += new
        return len(new)

    def beginning(self, work: WorkId, number: int) -> Expand:
        """Begin at the trajectory's temperature."""
        return Expand(work, ROOT, self._temperatures[number])

    def continuation(self, work: WorkId, node: NodeId, number: int) -> Expand:
        """Go on at the same temperature."""
        return Expand(work, node, self._temperatures[number])

    def all_over(self, view: TreeView) -> None:
        """A round is over: begin another unless the temperatures agree."""
        if self._rounds_planned < self.rounds and not self._agree(view):
            self.plan(self._add_round())

    def why_over(self, view: TreeView) -> str:
        """Say that there was no need of further rounds."""
        early = self._rounds_planned < self.rounds and not self._alive and self._agree(view)
        return f"the temperatures agree after {self._rounds_planned} of {self.rounds} rounds" if early else ""

    # --- votes ---

    def _agree(self, view: TreeView) -> bool:
        """Whether a quorum of the temperatures gives the same answer, each by a sufficient margin."""
        firm = [winner for winner, margin in self.winners(view).values() if margin >= self.margin - 1e-9]
        groups = grouped([winner.answer for winner in firm], self.same)
        return max(map(len, groups), default=0) >= self.quorum * len(self.grid()) - 1e-9

    def winners(self, view: TreeView) -> dict[float, tuple[Node, float]]:
        """Return every temperature's winner, and by what share of its votes it leads; those that make noise have none."""
        found: dict[float, tuple[Node, float]] = {}
        ended = self._ended(view)
        for temperature, nodes in ended.items():
            given = [node for node in nodes if is_answer(node.answer, self.same)]
            if len(given) < PARSED * len(nodes):
                continue
            shares = Vote(self.same).shares(given, view)
            if shares:
                second = shares[1].share if len(shares) > 1 else 0.0
                found[temperature] = (view[shares[0].nodes[0]], shares[0].share - second)
        return found

    def spent(self, view: TreeView) -> dict[float, Usage]:
        """Return what each temperature has cost so far, rising; what failed is in none."""
        rows: dict[float, Usage] = {}
        for node in view:
            if node.id != ROOT:
                temperature = self._temperatures[self._number[node.id]]
                rows[temperature] = rows.get(temperature, NO_USAGE) + node.usage
        return dict(sorted(rows.items()))

    def _ended(self, view: TreeView) -> dict[float, list[Node]]:
        """The ends of all trajectories, answers or not, by temperature."""
        ends: dict[float, list[Node]] = {}
        for node in view:
            if node.id != ROOT and not view.children(node.id) and node.id in self._number:
                ends.setdefault(self._temperatures[self._number[node.id]], []).append(node)
        return {temperature: sorted(nodes, key=lambda node: node.id) for temperature, nodes in sorted(ends.items())}

    def choice(self, view: TreeView) -> Appraisal:
        """Return the answer that wins between the temperatures."""
        winners = self.winners(view)
        if not winners:
            return Vote(self.same).choose(view)
        if self.cross == "winners":
            voters = [winner for winner, _ in winners.values()]
            votes = [(1.0, margin) for _, margin in winners.values()]
            source = f"share of {len(voters)} temperatures' winners, not calibrated"
        else:
            voters = answered(view)
            votes = [(self._margin_of(node, winners), 0.0) for node in voters]
            source = "share of all samples, weighted by the margins of their temperatures, not calibrated"
        groups = grouped([node.answer for node in voters], self.same)
        totals = [(sum(votes[p][0] for p in group), sum(votes[p][1] for p in group)) for group in groups]
        best = max(range(len(groups)), key=lambda i: (totals[i], len(groups[i]), -groups[i][0]))
        share = totals[best][0] / max(sum(total for total, _ in totals), 1e-300)
        return Appraisal(voters[groups[best][0]].id, share, source)

    def _margin_of(self, node: Node, winners: dict[float, tuple[Node, float]]) -> float:
        number = self.number_of(node.id)
        temperature = None if number is None else self._temperatures[number]
        return winners[temperature][1] if temperature in winners else 0.0
