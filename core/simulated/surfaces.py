"""A simulated response surface: configurations whose worth is known, choices that help or hinder each other."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

Rng = random.Random


@dataclass(frozen=True)
class ResponseSurface:
    """What every combination of some choices is worth, from 0 for the worst to 1 for the best.

    Each value of a choice is worth something by itself, and each pair of values of two choices something more or less together.

    Args:
        choices: how many there are.
        values: of each.
        interaction: standard deviation of what a pair is worth, beside 1 for a value by itself.
        seed: decides which surface.
    """

    choices: int = 8
    values: int = 4
    interaction: float = 0.5
    seed: int = 0
    _single: list[list[float]] = field(init=False, repr=False, compare=False)
    _pairs: dict[tuple[int, int], list[list[float]]] = field(init=False, repr=False, compare=False)
    _bounds: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rng, values = Rng(f"{self.seed} surface"), range(self.values)
        single = [[rng.gauss(0, 1) for _ in values] for _ in range(self.choices)]
        pairs = {
            (one, other): [[rng.gauss(0, self.interaction) for _ in values] for _ in values]
            for one, other in itertools.combinations(range(self.choices), 2)
        }
        object.__setattr__(self, "_single", single)
        object.__setattr__(self, "_pairs", pairs)
        worths = [self._raw(chosen) for chosen in itertools.product(values, repeat=self.choices)]
        object.__setattr__(self, "_bounds", (min(worths), max(worths)))

    def _raw(self, chosen: Sequence[int]) -> float:
        alone = sum(worth[value] for worth, value in zip(self._single, chosen, strict=True))
        return alone + sum(worth[chosen[one]][chosen[other]] for (one, other), worth in self._pairs.items())

    def worth(self, chosen: Sequence[int]) -> float:
        """Return what a combination is worth, in [0, 1]: one number from 0 to `values` - 1 for each choice."""
        least, most = self._bounds
        return (self._raw(chosen) - least) / (most - least)

    def share(self, at_least: float) -> float:
        """Return the share of all combinations that are worth so much: what a random one is, is that by this chance."""
        every = itertools.product(range(self.values), repeat=self.choices)
        count = sum(self.worth(chosen) >= at_least for chosen in every)
        return count / math.pow(self.values, self.choices)
