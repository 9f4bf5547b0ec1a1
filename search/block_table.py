"""What each logic block is worth in each situation, learned from logged runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import UsageError
from .common import within
from .navigation import BLOCKS, Block, BlockRules, BlockScores, BlockSituation, Navigator


@dataclass(frozen=True, slots=True)
class BlockVisit:
    """One block of a logged run."""

    situation: BlockSituation
    block: Block
    reward: float
    """What it brought at once: for the last one whether the answer was right; less what it cost, where that counts."""


def block_episode(
    visits: Sequence[Mapping[str, Any]], outcome: float, *, cost: float = 0.01, process: float = 0.0
) -> list[BlockVisit]:
    """Return a logged run as something to learn from.

    Args:
        visits: the run's blocks as `Result.report["blocks"]` of `teams.LogicBlocks` has them.
        outcome: what its answer was worth, for example 1 if it was right and else 0.
        cost: of each block, on the same scale.
        process: weight of what the process verifiers said of each block beyond what they said of the one before.
    """
    made: list[BlockVisit] = []
    before = 0.5
    for place, row in enumerate(visits, start=1):
        value = before if row["value"] is None else float(row["value"])
        reward = process * (value - before) - cost + (outcome if place == len(visits) else 0.0)
        made.append(BlockVisit(situation_of(row), row["block"], reward))
        before = value
    return made


def situation_of(row: Mapping[str, Any]) -> BlockSituation:
    """Return the situation that a logged block was chosen in."""
    return BlockSituation(BlockScores(tuple(row["marks"])), row["answered"], row["divided"], row["stuck"])


@dataclass(slots=True)
class _Tried:
    """What came of a block in a situation."""

    about: str
    """The situation's coarser name."""
    count: int = 0
    reward: float = 0.0
    """Sum."""
    followed: dict[tuple[str, tuple[Block, ...]], int] = field(default_factory=dict[tuple[str, tuple[Block, ...]], int])
    """How often each situation came after it, with what is allowed there."""


@dataclass(frozen=True, repr=False)
class BlockTable:
    """What each block is worth in each situation, learned from logged runs: a navigator without a network.

    The paper trains a network of less than 3,000 weights by double Q-learning; a table over the three sums of marks has as many
    entries, is learned from a few thousand episodes in seconds, and can be read. Situations are told apart by the sums; in those
    that the log hardly knows their thirds decide, and where it does not know these either, the rules.

    Args:
        values: by situation (`key`, `coarse`), what each block is worth.
        rules: decide where nothing is known.
    """

    values: Mapping[str, Mapping[Block, float]]
    rules: Navigator = field(default_factory=BlockRules)

    def choose(self, situation: BlockSituation, seed: int) -> Block:
        """Return the allowed block that is worth most."""
        for known in (key(situation), coarse(situation)):
            found: Mapping[Block, float] = self.values.get(known, {})
            worth: dict[Block, float] = {b: value for b, value in found.items() if b in situation.allowed}
            if worth:
                return max(worth, key=lambda block: worth[block])
        return self.rules.choose(situation, seed)

    @classmethod
    def fit(
        cls, episodes: Iterable[Sequence[BlockVisit]], *, discount: float = 0.95, pull: float = 8.0, sweeps: int = 60
    ) -> BlockTable:
        """Return what logged runs teach: the values of the decision process that they are samples of.

        Args:
            episodes: the blocks of each run, in order. Their choices should vary (`WanderingBlocks`): what was never tried is not learned.
            discount: what a reward one block later is worth, in (0, 1]; below 1 it does not go in circles where marks hide what a
                block changed.
            pull: what is known of situations with the same thirds counts like so many observations, >= 0.
            sweeps: rounds of value iteration, >= 1: at least as many as the longest run has blocks.

        Raises:
            UsageError: there is nothing to learn from, or an option is out of range.
        """
        within("discount", discount, 1e-9, 1.0)
        within("pull", pull, 0.0)
        within("sweeps", sweeps, 1)
        kept = [list(run) for run in episodes if run]
        if not kept:
            raise UsageError("there is nothing to learn from; give at least one episode")
        about = _iterated(_counted(kept, coarse), {}, 0, discount, sweeps)
        fine = _iterated(_counted(kept, key), about, pull, discount, sweeps)
        return cls({**about, **fine})

    @property
    def version(self) -> str:
        """A digest of what it knows."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"BlockTable(version={self.version!r})"

    def to_json(self) -> str:
        """Return the table as text."""
        return json.dumps({name: dict(worth) for name, worth in self.values.items()}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> BlockTable:
        """Return the table that `to_json` wrote.

        Raises:
            UsageError: the text is no such table.
        """
        try:
            data: dict[str, dict[Any, Any]] = json.loads(text)
            values = {name: {block: float(value) for block, value in worth.items()} for name, worth in data.items()}
        except (ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"{text[:60]!r} is no table of values; give what BlockTable.to_json() wrote") from error
        if unknown := {block for worth in values.values() for block in worth} - {*BLOCKS}:
            raise UsageError(f"the table knows a block {min(unknown)!r}; there are: {', '.join(BLOCKS)}")
        return cls(values)


def key(situation: BlockSituation) -> str:
    """Return a situation's name by the sums of its marks."""
    return f"{'-'.join(map(str, situation.scores.groups))} {_flags(situation)}"


def coarse(situation: BlockSituation) -> str:
    """Return its name by the thirds that the means of its marks fall into."""
    counts = (3, 2, 2)
    thirds = (round(total / count) for total, count in zip(situation.scores.groups, counts, strict=True))
    return f"about {'-'.join(map(str, thirds))} {_flags(situation)}"


def _flags(situation: BlockSituation) -> str:
    named = {"answered": situation.answered, "divided": situation.divided, "stuck": situation.stuck}
    return " ".join(name for name, holds in named.items() if holds)


def _counted(
    episodes: Sequence[Sequence[BlockVisit]], name: Callable[[BlockSituation], str]
) -> dict[tuple[str, Block], _Tried]:
    """Return what came of each block in each situation."""
    tried: dict[tuple[str, Block], _Tried] = {}
    for episode in episodes:
        for visit, after in zip(episode, [*episode[1:], None], strict=True):
            one = tried.setdefault((name(visit.situation), visit.block), _Tried(coarse(visit.situation)))
            one.count += 1
            one.reward += visit.reward
            if after is not None:
                then = (name(after.situation), after.situation.allowed)
                one.followed[then] = one.followed.get(then, 0) + 1
    return tried


def _iterated(
    tried: Mapping[tuple[str, Block], _Tried],
    about: Mapping[str, Mapping[Block, float]],
    pull: float,
    discount: float,
    sweeps: int,
) -> dict[str, dict[Block, float]]:
    """Return what each block is worth: the mean of its rewards and of what the best block is worth where it led to.

    Args:
        tried: what came of each.
        about: what they are worth in situations that are told apart less.
        pull: as how many observations that counts.
        discount: what a reward one block later is worth.
        sweeps: rounds at most.
    """
    worth: dict[str, dict[Block, float]] = {}
    for name, block in tried:
        worth.setdefault(name, {})[block] = 0.0
    for _ in range(sweeps):
        change = 0.0
        for (name, block), one in tried.items():
            later = sum(times * _best(worth[then], allowed) for (then, allowed), times in one.followed.items())
            prior = about.get(one.about, {}).get(block, 0.0)
            value = (one.reward + discount * later + pull * prior) / (one.count + pull)
            change = max(change, abs(value - worth[name][block]))
            worth[name][block] = value
        if change < 1e-6:
            break
    return worth


def _best(worth: Mapping[Block, float], allowed: Sequence[Block]) -> float:
    return max((value for block, value in worth.items() if block in allowed), default=0.0)
