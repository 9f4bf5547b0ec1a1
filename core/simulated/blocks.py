"""A line of reasoning as a decision process over logic blocks, with a known best policy and a noisy view of itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

Rng = random.Random

BLOCKS = ("reason", "decompose", "debate", "refine", "terminate")

COSTS = {"reason": 0.01, "decompose": 0.02, "debate": 0.03, "refine": 0.015, "terminate": 0.0}
"""What a block costs, in shares of a right answer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The truth about a line of reasoning."""

    steps: int = 0
    """How far it is."""
    sound: bool = True
    """Whether everything so far is right."""
    knotted: bool = False
    """Whether what is left is complex."""
    divided: bool = False
    """Whether it was decomposed."""


@dataclass(frozen=True)
class BlockWorld:
    """Problems that take a number of steps; half of them are knotted until they are decomposed.

    A step of reasoning may go wrong, more often where the problem is knotted; a debate goes wrong less often, costs more, and finds
    some mistakes; refining mends a mistake, and may make one. A right answer is worth 1, less what the blocks cost.

    Args:
        length: steps to an answer, >= 1.
        knotted: chance that a problem is knotted.
        easy: chance that a step stays sound.
        hard: the same in a knotted problem.
        debated: chance that a step that was debated stays sound.
        settles: chance that a debate finds and mends an earlier mistake.
        mends: chance that refining mends a mistake.
        breaks: chance that refining makes one.
        unties: chance that decomposing unties a knot.
        error: chance that a mark of the self-evaluation is another one.
        longest: blocks after which a problem is given up.
    """

    length: int = 4
    knotted: float = 0.5
    easy: float = 0.92
    hard: float = 0.6
    debated: float = 0.95
    settles: float = 0.3
    mends: float = 0.6
    breaks: float = 0.05
    unties: float = 0.9
    error: float = 0.1
    longest: int = 12

    def begin(self, rng: Rng) -> Standing:
        """Return a new problem."""
        return Standing(knotted=rng.random() < self.knotted)

    def allowed(self, standing: Standing) -> tuple[str, ...]:
        """Return the blocks that make sense: no end before an answer, one division."""
        barred = {
            *(() if standing.steps >= self.length else ("terminate",)),
            *(("decompose",) if standing.divided else ()),
        }
        return tuple(block for block in BLOCKS if block not in barred)

    def marks(self, standing: Standing, rng: Rng) -> tuple[int, ...]:
        """Return the self-evaluation: three marks of rightness, two of complexity, two of completeness, each from 1 to 3."""
        right = 3 if standing.sound else 1
        complex_ = 3 if standing.knotted else 1
        complete = 1 + (2 * standing.steps) // self.length
        true = (right, right, right, complex_, complex_, complete, complete)
        return tuple(
            rng.choice([other for other in (1, 2, 3) if other != mark]) if rng.random() < self.error else mark
            for mark in true
        )

    def outcomes(self, standing: Standing, block: str) -> Iterator[tuple[float, Standing]]:
        """Yield where a block leads to, each with its chance; not for "terminate"."""
        on = min(self.length, standing.steps + 1)
        if block == "decompose":
            yield from _either(self.unties if standing.knotted else 1.0, lambda well: Standing(
                standing.steps, standing.sound, standing.knotted and not well, divided=True
            ))  # fmt: skip
            return
        if block == "refine":
            chance, on = (1 - self.breaks if standing.sound else self.mends), standing.steps
        elif block == "debate":
            chance = self.debated if standing.sound else self.settles
        else:
            chance = (self.hard if standing.knotted else self.easy) if standing.sound else 0.0
        yield from _either(chance, lambda sound: Standing(on, sound, standing.knotted, standing.divided))

    def act(self, standing: Standing, block: str, rng: Rng) -> tuple[float, Standing | None]:
        """Take a block; return its reward and where it led to, None at the end."""
        if block == "terminate":
            return float(standing.sound and standing.steps >= self.length), None
        chance = rng.random()
        for share, after in self.outcomes(standing, block):
            chance -= share
            if chance < 0:
                return -COSTS[block], after
        return -COSTS[block], standing

    def play(
        self, choose: Callable[[Standing, tuple[int, ...]], str], seed: int
    ) -> list[tuple[Standing, tuple[int, ...], str, float]]:
        """Take a problem to its end; return each standing with its marks, the block taken and its reward.

        Args:
            choose: returns a block by the truth and the marks.
            seed: which problem, and which luck.
        """
        rng = Rng(f"{seed} blocks")
        standing: Standing | None = self.begin(rng)
        taken: list[tuple[Standing, tuple[int, ...], str, float]] = []
        while standing is not None and len(taken) < self.longest:
            marks = self.marks(standing, rng)
            block = choose(standing, marks)
            reward, after = self.act(standing, block, rng)
            taken.append((standing, marks, block, reward))
            standing = after
        return taken

    @cached_property
    def values(self) -> dict[Standing, float]:
        """What each standing is worth to somebody who sees the truth and always takes the best block, by value iteration."""
        flags = (False, True)
        standings = [Standing(n, s, k, d) for n in range(self.length + 1) for s in flags for k in flags for d in flags]
        worth = dict.fromkeys(standings, 0.0)
        for _ in range(200):
            worth = {one: max(self.worth(one, block, worth) for block in self.allowed(one)) for one in standings}
        return worth

    def worth(self, standing: Standing, block: str, worth: dict[Standing, float] | None = None) -> float:
        """Return what a block is worth, where everything after it is done best."""
        if block == "terminate":
            return float(standing.sound and standing.steps >= self.length)
        known = self.values if worth is None else worth
        return sum(share * known[after] for share, after in self.outcomes(standing, block)) - COSTS[block]

    def best(self, standing: Standing) -> str:
        """Return the best block for somebody who sees the truth."""
        return max(self.allowed(standing), key=lambda block: self.worth(standing, block))

    @property
    def optimum(self) -> float:
        """The best return on average."""
        return self.knotted * self.values[Standing(knotted=True)] + (1 - self.knotted) * self.values[Standing()]


def _either(chance: float, make: Callable[[bool], Standing]) -> Iterator[tuple[float, Standing]]:
    for share, well in ((chance, True), (1 - chance, False)):
        if share > 0:
            yield share, make(well)
