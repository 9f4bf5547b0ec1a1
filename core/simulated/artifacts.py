"""Simulated artifacts that must meet constraints, and paths that learn from their peers: worlds for `TimedSearch`."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ..events import Expand
from ..tree import TreeView
from ..types import ROOT, Node, NodeId, Verdict
from .answers import RIGHT, Draw

Rng = random.Random


@dataclass(frozen=True)
class Constraints:
    """An artifact with a number of constraints, some of which make sense only where others are met.

    An expansion of the root draws an artifact anew. One that shows an attempt (`Framing.shown`), or goes on from one, is an
    edit aimed at what is violated in it: each violated constraint is mended with the chance `mends`, each met one broken with
    the chance `breaks`.

    Args:
        count: constraints, >= 1.
        start: chance that a constraint is met in a fresh artifact.
        mends: chance that an edit mends a violated one.
        breaks: chance that an edit breaks a met one.
        needs: constraints by number, with those that must be met before they can be checked.
        tokens: length of a whole artifact; of an edit, the share that is violated.
    """

    count: int = 8
    start: float = 0.5
    mends: float = 0.7
    breaks: float = 0.05
    needs: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    tokens: int = 400

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:
        """Return a fresh or an edited artifact: a digit for each constraint, 1 where it is met."""
        shown = work.framing.shown if work.framing is not None else ()
        before = self._met(view[shown[-1] if shown else work.node])
        if before is None:
            text = self.fresh(rng)
            return Draw(text, text, self.tokens)
        text = self.edited("".join(str(int(one)) for one in before), rng)
        return Draw(text, text, self.tokens * before.count(False) // self.count)

    def fresh(self, rng: Rng) -> str:
        """Return an artifact drawn anew."""
        return "".join(str(int(rng.random() < self.start)) for _ in range(self.count))

    def edited(self, artifact: str, rng: Rng, aimed: Collection[int] | None = None) -> str:
        """Return an artifact after an edit.

        Args:
            artifact: what is edited.
            rng: decides what comes of it.
            aimed: the constraints that the edit was told to be violated; others that are stay as they are. All unless given.
        """
        met = [
            rng.random() >= self.breaks
            if digit == "1"
            else (aimed is None or place in aimed) and rng.random() < self.mends
            for place, digit in enumerate(artifact)
        ]
        return "".join(str(int(one)) for one in met)

    def right(self, answer: str) -> bool:
        """Whether all constraints are met."""
        return answer == "1" * self.count

    def judge(self, node: Node, rng: Rng, *, tpr: float = 1.0, fpr: float = 0.0) -> tuple[Verdict, ...]:
        """Check an artifact, constraint by constraint in their order; those whose needs are found violated are not checked.

        Args:
            node: with the artifact.
            rng: decides the checker's errors.
            tpr: chance that a met constraint is found met.
            fpr: chance that a violated one is found met.
        """
        met = self._met(node)
        if met is None:
            return ()
        found: dict[str, float] = {}
        for number in range(self.count):
            if all(found.get(str(need)) for need in self.needs.get(number, ())):
                found[str(number)] = float(rng.random() < (tpr if met[number] else fpr))
        value = sum(found.values()) / self.count
        return (Verdict(value, "violation", "checker", passed=value == 1.0, per_constraint=found, calls=len(found)),)

    @staticmethod
    def _met(node: Node) -> list[bool] | None:
        return None if node.step is None else [digit == "1" for digit in node.step.text]


@dataclass(frozen=True)
class PeerTrap:
    """Reasoning that a bad beginning traps, and what summaries of other paths do to it.

    The first step of a path is a good or a bad prefix; the second is its end. Paths whose ends are shown (`Framing.shown`) are its
    peers: one right peer is enough to repair a bad path, with the chance `repairs`; a wrong one with no right one beside it corrupts
    a good path with the chance `corrupts`.

    Args:
        good: chance of a good prefix.
        keeps: chance that a path with a good prefix ends well.
        escapes: the same with a bad prefix.
        repairs: chance that a right peer's summary repairs a path with a bad prefix.
        corrupts: chance that wrong peers' summaries corrupt a path with a good prefix.
        tokens: length of each of the two steps.
    """

    good: float = 0.5
    keeps: float = 0.9
    escapes: float = 0.1
    repairs: float = 0.6
    corrupts: float = 0.2
    tokens: int = 200

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:
        """Return a prefix where the root is expanded, else the end of the path."""
        if work.node == ROOT:
            return Draw("good prefix" if rng.random() < self.good else "bad prefix", None, self.tokens)
        step = view[work.node].step
        good = step is not None and step.text == "good prefix"
        shown = () if work.framing is None else work.framing.shown
        well = rng.random() < self.chance(good, [self._right(view, peer) for peer in shown])
        answer = RIGHT if well else f"wrong {rng.randrange(1000)}"
        return Draw(answer, answer, self.tokens)

    def chance(self, good: bool, peers: list[bool]) -> float:
        """Return the chance that a path ends well.

        Args:
            good: whether its prefix is.
            peers: of each peer that it sees, whether that one is right.
        """
        if good:
            lost = self.corrupts if peers and not any(peers) else 0.0
            return self.keeps * (1 - lost)
        saved = self.repairs if any(peers) else 0.0
        return saved * self.keeps + (1 - saved) * self.escapes

    def right(self, answer: str) -> bool:
        """Whether it is the right one."""
        return answer == RIGHT

    def _right(self, view: TreeView, peer: NodeId) -> bool:
        return self.right(view[peer].answer or "")
