"""Simulated problems that one asks for an answer: pools of answers with exact log-probabilities, lengths, temperatures.

A world says what one sampled trajectory comes to (`Draw`); `core.simulated.time.TimedSearch` takes a strategy through it.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import log
from typing import Protocol

from ..errors import UsageError
from ..events import Expand
from ..tree import TreeView

Rng = random.Random

RIGHT = "right"
"""The right answer of every problem here."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What one sampled trajectory came to."""

    text: str
    """Equal texts are the same path."""
    answer: str | None
    """None: it was cut off before it gave one."""
    tokens: int
    """How long it took to sample it; the clock runs in tokens."""
    logprob: float | None = None
    """Natural log of the probability of this very text."""
    partial: bool = False
    """Whether the turn is not over."""


class AnswerWorld(Protocol):
    """A problem whose trajectories are one step long."""

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:
        """Return what an expansion comes to; the same `rng` gives the same."""
        ...

    def right(self, answer: str) -> bool:
        """Whether an answer is right."""
        ...


@dataclass(frozen=True, slots=True)
class PathGroup:
    """Some of a pool's paths, which share a mass of probability.

    Args:
        answer: what they answer; with `distinct` each path has an answer of its own that begins with this.
        mass: probability of them all, in [0, 1].
        paths: how many they are, >= 1.
        even: all equally probable; otherwise their shares are Dirichlet(1).
        distinct: every path has an answer of its own: the tail of rare mistakes.
        tokens: length of each.
    """

    answer: str
    mass: float
    paths: int = 1
    even: bool = False
    distinct: bool = False
    tokens: int = 100


@dataclass(frozen=True)
class AnswerPool:
    """Finitely many paths with known probabilities, each with an answer.

    Args:
        groups: the paths; their masses are normalised.
        seed: decides the shares within groups that are not even.

    Raises:
        UsageError: there are no paths, or they have no mass.
    """

    groups: Sequence[PathGroup]
    seed: int = 0
    _paths: tuple[tuple[str, str, int, float], ...] = field(init=False, repr=False)
    """Text, answer, length and probability of each."""
    _bounds: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        total = sum(group.mass for group in self.groups)
        if not total > 0:
            raise UsageError(f"groups={self.groups!r} have no probability; give at least one of them a mass above 0")
        rng = Rng(f"{self.seed} pool")
        paths: list[tuple[str, str, int, float]] = []
        for number, group in enumerate(self.groups):
            shares = [1.0 if group.even else rng.expovariate(1.0) for _ in range(group.paths)]
            scale = group.mass / total / sum(shares)
            for index, share in enumerate(shares):
                answer = f"{group.answer} {index}" if group.distinct else group.answer
                paths.append((f"path {number}.{index}", answer, group.tokens, share * scale))
        object.__setattr__(self, "_paths", tuple(paths))
        object.__setattr__(self, "_bounds", tuple(accumulate(chance for *_, chance in paths)))

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:  # noqa: ARG002 - every draw is alike
        """Return a path, drawn by its probability."""
        place = min(bisect_left(self._bounds, rng.random()), len(self._paths) - 1)
        text, answer, tokens, chance = self._paths[place]
        return Draw(text, answer, tokens, log(chance))

    def right(self, answer: str) -> bool:
        """Whether it is the right one."""
        return answer == RIGHT

    def mass(self, answer: str) -> float:
        """Return the exact probability of an answer."""
        return sum(chance for _, given, _, chance in self._paths if given == answer)


@dataclass(frozen=True)
class DifficultyMix:
    """Problems of different difficulty: each an `AnswerPool` with one right answer, one popular mistake and rare ones.

    Args:
        levels: chance of the right answer and of the popular mistake, for every difficulty; each is equally frequent.
        tail: number of rare mistakes that share the rest.
        beta: draw the right answer's chance from Beta(a, b) instead; the popular mistake gets half of the rest.
    """

    levels: Sequence[tuple[float, float]] = ((0.15, 0.3), (0.35, 0.4), (0.7, 0.3))
    tail: int = 50
    beta: tuple[float, float] | None = None

    def chances(self, seed: int) -> tuple[float, float]:
        """Return the right answer's and the popular mistake's chance in problem `seed`."""
        if self.beta is None:
            return self.levels[seed % len(self.levels)]
        success = Rng(f"{seed} difficulty").betavariate(*self.beta)
        return success, (1 - success) / 2

    def problem(self, seed: int) -> AnswerPool:
        """Return problem `seed`."""
        success, popular = self.chances(seed)
        rest = max(0.0, 1 - success - popular)
        groups = [PathGroup(RIGHT, success), PathGroup("popular", popular)]
        if rest > 1e-9:
            groups.append(PathGroup("rare", rest, self.tail, even=True, distinct=True))
        return AnswerPool(groups, seed)


@dataclass(frozen=True)
class LengthMix:
    """A problem whose right and wrong trajectories differ in length. Wrong answers are all distinct.

    Args:
        success: chance that a trajectory is right, in [0, 1].
        right: mean and standard deviation of a right one's length in tokens.
        wrong: the same of a wrong one.
        least: shortest length in tokens.
        longest: a trajectory that would be longer is cut off there without an answer; None for no such limit.
    """

    success: float = 0.5
    lengths_right: tuple[float, float] = (6000.0, 2000.0)
    lengths_wrong: tuple[float, float] = (10_000.0, 3000.0)
    least: int = 200
    longest: int | None = None

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:  # noqa: ARG002 - every draw is alike
        """Return a trajectory."""
        well = rng.random() < self.success
        tokens = max(self.least, round(rng.gauss(*(self.lengths_right if well else self.lengths_wrong))))
        answer = RIGHT if well else f"wrong {work.id}"
        if self.longest is not None and tokens > self.longest:
            return Draw(f"cut off before {answer}", None, self.longest)
        return Draw(answer, answer, tokens)

    def right(self, answer: str) -> bool:
        """Whether it is the right one."""
        return answer == RIGHT

    def outcomes(self, count: int, seed: int) -> Iterable[tuple[int, bool]]:
        """Return length in tokens and rightness of `count` trajectories: a calibration set."""
        for number in range(count):
            rng = Rng(f"{seed} outcome {number}")
            well = rng.random() < self.success
            law = self.lengths_right if well else self.lengths_wrong
            yield max(self.least, round(rng.gauss(*law))), well


@dataclass(frozen=True)
class TemperatureWindow:
    """A problem that is solved only when it is asked at temperatures around one of its own.

    Args:
        centre: that temperature.
        width: how far the window reaches to both sides.
        success: chance of the right answer within it; outside of it there is none.
        easy: solved at every temperature.
        garbled: temperature from which most replies are no answer at all.
        mistakes: how many wrong answers there are, all equally likely.
        tokens: length of each trajectory.
        usual: temperature of an expansion that names none.
    """

    centre: float
    width: float = 0.15
    success: float = 0.8
    easy: bool = False
    garbled: float = 2.0
    mistakes: int = 50
    tokens: int = 100
    usual: float = 0.8

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:  # noqa: ARG002 - no other trajectory matters
        """Return a trajectory at the expansion's temperature; at 0 it is always the same one."""
        temperature = self.usual if work.temperature is None else work.temperature
        if temperature == 0.0:
            rng = Rng(f"{self.centre} greedy")
        chance, garbled, mistake = rng.random(), rng.random(), rng.randrange(self.mistakes)
        if temperature >= self.garbled and garbled < 0.8:
            return Draw(f"noise {mistake}", "", self.tokens)
        inside = self.easy or abs(temperature - self.centre) <= self.width
        answer = RIGHT if inside and chance < self.success else f"wrong {mistake}"
        return Draw(f"{answer} {mistake}", answer, self.tokens)

    def right(self, answer: str) -> bool:
        """Whether it is the right one."""
        return answer == RIGHT
