"""Which logic block a line of reasoning needs next, from what a model says of its own work: the situations, and rules for them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, get_args

from ..core.errors import UsageError
from .common import within

Block = Literal["reason", "decompose", "debate", "refine", "terminate"]

BLOCKS: Final[tuple[Block, ...]] = get_args(Block)
"""Reason one step; divide the rest into parts; set several ways against each other; mend the last step; give the answer."""

ASPECTS: Final = ("modelling", "clarity", "calculation", "difficulty", "alternatives", "closeness", "wholeness")
"""What a model judges of its own work, each from 1 to 3: three of how right it is, two of how complex what is left is, two of how
complete it is (RL of Thoughts, 2025)."""

_GROUPS: Final = (slice(0, 3), slice(3, 5), slice(5, 7))


@dataclass(frozen=True, slots=True)
class BlockScores:
    """A model's marks for its own work, in the order of `ASPECTS`.

    Raises:
        UsageError: not seven marks from 1 to 3.
    """

    marks: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.marks) != len(ASPECTS) or not all(mark in (1, 2, 3) for mark in self.marks):
            raise UsageError(f"scores {self.marks!r} must be {len(ASPECTS)} marks from 1 to 3: {', '.join(ASPECTS)}")

    @property
    def groups(self) -> tuple[int, int, int]:
        """Sums of the marks for rightness (3 to 9), complexity (2 to 6) and completeness (2 to 6)."""
        right, complexity, complete = (sum(self.marks[group]) for group in _GROUPS)
        return right, complexity, complete


@dataclass(frozen=True, slots=True)
class BlockSituation:
    """Where a line of reasoning is."""

    scores: BlockScores
    answered: bool = False
    """Whether there is an answer yet."""
    divided: bool = False
    """Whether it was decomposed before, or is itself a part."""
    stuck: bool = False
    """Whether the last block was a refinement that changed nothing."""

    @property
    def allowed(self) -> tuple[Block, ...]:
        """The blocks that make sense: no end before an answer, one division at most, no refining again of what it left as it was."""
        barred: set[Block] = set()
        if not self.answered:
            barred.add("terminate")
        if self.divided:
            barred.add("decompose")
        if self.stuck:
            barred.add("refine")
        return tuple(block for block in BLOCKS if block not in barred)


class Navigator(Protocol):
    """Chooses blocks. Its `repr` tells its version: runs are recorded with it."""

    def choose(self, situation: BlockSituation, seed: int) -> Block:
        """Return one of the situation's allowed blocks; `seed` is for those that leave something to chance."""
        ...


@dataclass(frozen=True)
class BlockRules:
    """A table of rules made by hand: mend what is wrong, divide what is complex while it is early, end what is complete.

    Args:
        wrong: sum of the marks for rightness, from 3 to 9, up to which the last step is mended.
        complex: sum of the marks for complexity, from 2 to 6, from which the task is divided, or several ways are debated.
        complete: sum of the marks for completeness, from 2 to 6, from which it ends.
    """

    wrong: int = 5
    complex: int = 5
    complete: int = 5

    def choose(self, situation: BlockSituation, seed: int) -> Block:  # noqa: ARG002 - nothing is left to chance
        """Return the first block whose rule holds."""
        right, complexity, complete = situation.scores.groups
        ends = complete >= self.complete
        rules: tuple[tuple[Block, bool], ...] = (
            ("refine", right <= self.wrong),
            ("debate", right <= self.wrong),
            ("terminate", ends),
            ("reason", ends),  # it says that it is there, and has not said the answer
            ("decompose", complexity >= self.complex),
            ("debate", complexity >= self.complex),
        )
        for block, holds in rules:
            if holds and block in situation.allowed:
                return block
        return "reason"


@dataclass(frozen=True)
class WanderingBlocks:
    """Another navigator's choice, but for a share of the rounds in which any allowed block is taken: for runs to learn from.

    Args:
        inner: the other navigator.
        share: of the rounds, in [0, 1].
    """

    inner: Navigator = field(default_factory=BlockRules)
    share: float = 1.0

    def __post_init__(self) -> None:
        within("share", self.share, 0.0, 1.0)

    def choose(self, situation: BlockSituation, seed: int) -> Block:
        """Return the other's choice, or any."""
        rng = random.Random(f"{seed} wandering")  # noqa: S311 - chance, not secrecy
        if rng.random() < self.share:
            return rng.choice(situation.allowed)
        return self.inner.choose(situation, seed)
