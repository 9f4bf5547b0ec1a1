"""Pools of answers, judges that err, and virtual time: their exact properties."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.events import Cancel, Expand, Work
from branchwise.core.simulated.answers import (
    RIGHT,
    AnswerPool,
    DifficultyMix,
    LengthMix,
    PathGroup,
    TemperatureWindow,
)
from branchwise.core.simulated.judges import NoisyJudge
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import Tree, TreeView
from branchwise.core.types import ROOT, Node, NodeId, WorkId
from branchwise.search import BestOfN

POOL = AnswerPool([PathGroup(RIGHT, 0.4, 5), PathGroup("wrong", 0.35, 5), PathGroup("rare", 0.25, 500, distinct=True)])
VIEW = Tree(Node(ROOT, None, None))


def draws(world: object, count: int, temperature: float | None = None) -> list[object]:
    """Return what `count` expansions come to."""
    works = (Expand(WorkId(i), ROOT, temperature) for i in range(1, count + 1))
    return [world.draw(work, VIEW, random.Random(work.id)) for work in works]


def test_a_pool_is_what_it_says() -> None:
    """Masses are exact, frequencies follow them, and a path's log-probability is that of drawing it."""
    assert POOL.mass(RIGHT) == pytest.approx(0.4)
    assert POOL.mass("wrong") == pytest.approx(0.35)
    found = draws(POOL, 4000)
    share = sum(draw.answer == RIGHT for draw in found) / len(found)
    assert abs(share - 0.4) < 4 * math.sqrt(0.24 / len(found))
    by_text = Counter(draw.text for draw in found)
    chances = {draw.text: math.exp(draw.logprob) for draw in found}
    text, count = by_text.most_common(1)[0]
    assert abs(count / 4000 - chances[text]) < 4 * math.sqrt(chances[text] / 4000)
    assert len({draw.answer for draw in found if draw.answer.startswith("rare")}) > 100


def test_a_pool_without_mass_is_refused() -> None:
    """There must be something to draw."""
    with pytest.raises(UsageError, match="mass above 0"):
        AnswerPool([])


def test_problems_of_different_difficulty() -> None:
    """Levels come round; with `beta` every problem has a chance of its own, the same each time."""
    mix = DifficultyMix()
    assert [mix.chances(seed)[0] for seed in range(4)] == [0.15, 0.35, 0.7, 0.15]
    assert mix.problem(1).mass("popular") == pytest.approx(0.4)
    assert mix.problem(2).mass("popular") == pytest.approx(0.3)
    beta = DifficultyMix(beta=(2.0, 3.0))
    chances = [beta.chances(seed)[0] for seed in range(400)]
    assert abs(sum(chances) / 400 - 0.4) < 4 * 0.2 / 20
    assert chances[0] == beta.chances(0)[0]


def test_lengths_follow_their_laws() -> None:
    """Right and wrong trajectories have the means that were asked for; longer ones than the limit give no answer."""
    outcomes = list(LengthMix().outcomes(2000, seed=1))
    right = [tokens for tokens, well in outcomes if well]
    assert abs(sum(right) / len(right) - 6000) < 4 * 2000 / math.sqrt(len(right))
    cut = draws(LengthMix(longest=6000), 200)
    assert all(draw.tokens <= 6000 and (draw.answer is None) == draw.text.startswith("cut") for draw in cut)
    assert {draw.answer is None for draw in cut} == {True, False}


def test_a_window_opens_at_its_temperatures() -> None:
    """Inside the window most draws are right, outside none, at 0 all are the same, and hot ones say nothing."""
    window = TemperatureWindow(0.6, garbled=1.0)
    assert sum(draw.answer == RIGHT for draw in draws(window, 100, 0.7)) > 60
    assert not any(draw.answer == RIGHT for draw in draws(window, 100, 0.9))
    assert len({draw.text for draw in draws(window, 20, 0.0)}) == 1
    assert sum(draw.answer == "" for draw in draws(window, 100, 1.0)) > 60
    assert sum(draw.answer == RIGHT for draw in draws(TemperatureWindow(0.1, easy=True), 100)) > 60


def test_a_judge_errs_as_told() -> None:
    """Persistent errors stay, noise does not, yes and no follow their rates, and a share of the rare answers is hacked."""
    rng = random.Random(1)
    stubborn = NoisyJudge(right=0.6, wrong=0.3, persistent=0.1)
    first = stubborn.score(RIGHT, right=True, rng=rng)
    assert first == stubborn.score(RIGHT, right=True, rng=rng) != 0.6
    noisy = NoisyJudge(right=0.6, noise=0.1)
    scores = [noisy.score(RIGHT, right=True, rng=rng) for _ in range(400)]
    assert abs(sum(scores) / 400 - 0.6) < 4 * 0.1 / 20
    binary = NoisyJudge(tpr=0.75, fpr=0.35)
    passes = sum(binary.score("a", right=False, rng=rng) for _ in range(2000)) / 2000
    assert abs(passes - 0.35) < 4 * math.sqrt(0.35 * 0.65 / 2000)
    hacked = NoisyJudge(hacked=0.02)
    share = sum(hacked.is_hacked(f"rare {i}") for i in range(5000)) / 5000
    assert abs(share - 0.02) < 4 * math.sqrt(0.02 / 5000)
    assert not hacked.is_hacked(RIGHT)
    assert NoisyJudge(right=2.0, scale=(0.0, 4.0)).score(RIGHT, right=True, rng=rng) == 0.5


@dataclass
class StopsAll(BestOfN):
    """Cancels everything that is in flight when the first trajectory has ended."""

    name: ClassVar[str] = "stops-all"
    flying: dict[WorkId, NodeId] = field(default_factory=dict, init=False, repr=False)
    stopping: bool = field(default=False, init=False, repr=False)

    def expansions(self, view: TreeView, slots: int, first: WorkId) -> list[Work]:
        """Cancel, once the first has ended."""
        if not self.stopping:
            return super().expansions(view, slots, first)
        return [Cancel(WorkId(first + i), node, work, "enough") for i, (work, node) in enumerate(self.flying.items())]

    def started(self, work: Work, view: TreeView) -> None:
        """Remember what flies."""
        if isinstance(work, Expand):
            self.flying[work.id] = work.node
        elif isinstance(work, Cancel):
            self.flying.pop(work.target)
        super().started(work, view)

    def over(self, number: int, node: NodeId | None, view: TreeView) -> None:
        """The first has ended."""
        self.stopping = True
        self.flying.pop(node, None)

    def undone(self, work: WorkId, node: NodeId, view: TreeView) -> None:
        """What was cancelled is not begun again."""


@pytest.mark.parametrize("overshoot", [0, 50])
def test_time_and_tokens_add_up(overshoot: int) -> None:
    """Slots sample side by side; what is cancelled is charged to the moment it is stopped, and for what came after that."""
    search = TimedSearch(StopsAll(n=5, depth=1).fresh(0), LengthMix(), slots=5, overshoot_tokens=overshoot)
    search.run()
    usage = search.tree.usage
    assert usage.completion_tokens == search.now_tokens
    assert len(search.cancelled) == 4
    assert usage.cancelled_tokens == 4 * (search.now_tokens + overshoot)
    assert usage.calls == 5


def test_slots_bound_what_flies() -> None:
    """With one slot trajectories follow each other; with many the longest decides."""
    one = TimedSearch(BestOfN(n=6, depth=1).fresh(0), LengthMix(), slots=1)
    one.run()
    assert one.now_tokens == one.tree.usage.completion_tokens
    many = TimedSearch(BestOfN(n=6, depth=1).fresh(0), LengthMix(), slots=6)
    many.run()
    assert many.now_tokens == max(node.usage.completion_tokens for node in many.tree)
    assert many.tree.usage.completion_tokens == one.tree.usage.completion_tokens


def test_verifier_calls_are_counted() -> None:
    """Every answer is judged once, by a judge that draws alike for the same work."""
    world = LengthMix()
    searches: Sequence[TimedSearch] = [
        TimedSearch(BestOfN(n=4, depth=1).fresh(0), world, NoisyJudge(noise=0.1).of(world)) for _ in range(2)
    ]
    choices = [search.run() for search in searches]
    assert choices[0] == choices[1]
    assert searches[0].verifier_calls == 4 == searches[0].tree.usage.verifier_calls
    assert searches[0].events == searches[1].events
