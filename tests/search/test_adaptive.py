"""As many samples as a fresh one is expected to beat, and beginnings that are given up."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest

from branchwise.core.events import Expand, Expanded, Judged
from branchwise.core.simulated.answers import Draw, Rng
from branchwise.core.simulated.thoughts import StreamSearch, ThoughtStream
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.tree import Tree, TreeView
from branchwise.core.types import ROOT, Node, NodeId, Step, Verdict, WorkId
from branchwise.search import AdaptiveSampling, BestOfN, Calibration, EarlyPruning, by_rank, restart_outcomes

NORMAL = NormalDist()
PUBLISHED = {0.05: (11.2, 0.98), 0.1: (8.2, 0.91), 0.2: (4.9, 0.78), 0.3: (3.4, 0.65)}
"""Mean number of samples, and share of what 16 samples gain, by gamma: measured for normal scores and a perfect probe."""


class Scores:
    """Answers with scores that are N(0, 1); the text is the share of answers with a lower one."""

    def draw(self, work: Expand, view: TreeView, rng: Rng) -> Draw:
        """Draw one."""
        share = rng.random()
        return Draw(str(share), str(share), 10)

    def right(self, answer: str) -> bool:
        """No answer is right or wrong."""
        return False


def perfect(node: Node, rng: Rng) -> tuple[Verdict, ...]:
    """1 - P(a fresh one is better)."""
    return () if node.answer is None else (Verdict(float(node.answer), "value", "better"),)


def blind(node: Node, rng: Rng) -> tuple[Verdict, ...]:
    """A probe that guesses."""
    return () if node.answer is None else (Verdict(rng.random(), "value", "better"),)


def sampled(gamma: float, problems: int, judge: object = perfect) -> tuple[float, float]:
    """Mean number of samples, and mean score of what is chosen."""
    number, score = 0, 0.0
    for seed in range(problems):
        strategy = AdaptiveSampling(gamma=gamma).fresh(seed)
        search = TimedSearch(strategy, Scores(), judge, slots=4, seed=seed)  # type: ignore[arg-type]
        node = search.run().node
        assert node is not None
        number += len(search.tree) - 1
        score += NORMAL.inv_cdf(float(search.tree[node].answer or ""))
    return number / problems, score / problems


@pytest.mark.parametrize("gamma", PUBLISHED)
def test_samples_and_gain_by_gamma(gamma: float) -> None:
    """The rule is that of the strategy: sample by sample here, and over 40,000 problems the numbers within 3 %."""
    rng = random.Random(7)
    number, gain, most = 0, 0.0, 0.0
    for _ in range(40_000):
        scores = [rng.random() for _ in range(16)]
        count = next((n for n, score in enumerate(scores, 1) if 1 - score <= gamma), 16)
        number += count
        gain += NORMAL.inv_cdf(max(scores[:count]))
        most += NORMAL.inv_cdf(max(scores))
    samples, share = PUBLISHED[gamma]
    assert number / 40_000 == pytest.approx(samples, rel=0.03)
    assert gain / most == pytest.approx(share, abs=0.03)
    found, score = sampled(gamma, 120)
    assert found == pytest.approx(samples, abs=4 * samples / math.sqrt(120))
    assert score == pytest.approx(gain / 40_000, abs=4 / math.sqrt(120))


def test_each_problem_stops_at_the_first_good_answer() -> None:
    """Not earlier and not later, with a probe that is perfect."""
    for seed in range(30):
        search = TimedSearch(AdaptiveSampling(gamma=0.2).fresh(seed), Scores(), perfect, seed=seed)
        search.run()
        scores = [float(node.answer or "") for node in search.tree if node.id != ROOT]
        assert all(1 - score > 0.2 for score in scores[:-1])
        assert len(scores) == 16 or 1 - scores[-1] <= 0.2


def test_a_probe_that_guesses_gains_nothing() -> None:
    """The ablation: as many samples, but one of them at random."""
    number, score = sampled(0.2, 200, blind)
    assert number == pytest.approx(4.9, abs=1.4)
    assert abs(score) < 4 / math.sqrt(200)


def test_later_answers_are_bolder() -> None:
    """The first is greedy, the last is at the highest temperature."""
    strategy = AdaptiveSampling(most=5, hottest=1.2)
    assert [round(strategy.temperature(n), 2) for n in range(5)] == [0.0, 0.3, 0.6, 0.9, 1.2]


# --- given up in the middle ---


def pruned(insight: float, *, problems: int = 250, n: int = 4) -> tuple[float, float]:
    """Share solved by one of n texts, chosen at a quarter of its length, and mean tokens."""
    solved = tokens = 0
    for seed in range(problems):
        world = ThoughtStream(seed=seed, insight=insight)
        search = StreamSearch(EarlyPruning(n=n, keep=1 / n, checkpoint_tokens=100).fresh(seed), world, slots=4)
        search.run(100)
        solved += search.solved
        tokens += search.tokens
    return solved / problems, tokens / problems


@pytest.mark.parametrize("insight", [0.0, 0.6, 1.0])
def test_what_pruning_loses_is_what_the_probe_does_not_know(insight: float) -> None:
    """One of four by a probe with this correlation: the share solved is the analytic one; with none it is that of one text."""
    q = ThoughtStream().chance()
    yes, no = insight + (1 - insight) * q, (1 - insight) * q
    none = (1 - q) ** 4
    share, tokens = pruned(insight)
    assert share == pytest.approx((1 - none) * yes + none * no, abs=4 * 0.5 / math.sqrt(250))
    assert tokens == 4 * 100 + 300
    if insight == 0.0:
        assert (1 - none) * yes + none * no == pytest.approx(q), "the ablation: the advantage is gone"


def test_all_are_finished_where_all_are_kept() -> None:
    """Then it is best-of-n, and costs as much."""
    world = ThoughtStream(seed=5)
    search = StreamSearch(EarlyPruning(n=4, keep=1.0).fresh(5), world, slots=3)
    search.run(100)
    assert search.tokens == 4 * world.tokens
    plain = StreamSearch(BestOfN(n=4).fresh(5), world, slots=3)
    plain.run(100)
    assert search.tokens == plain.tokens


def test_failures_at_the_checkpoint_do_not_hold_the_others_up() -> None:
    """A beginning that fails for good is not waited for; the rest goes on."""
    search = StreamSearch(EarlyPruning(n=3, keep=0.4, checkpoint_tokens=100).fresh(1), ThoughtStream(), slots=1)
    for _ in range(200):
        search.fill()
        flying = list(search.tree.in_flight)
        if not flying:
            break
        work = search.tree.in_flight[flying[0]]
        fails = isinstance(work, Expand) and work.node == ROOT and len(search.tree) > 2
        search.finish(flying[0], "failed" if fails else "well")
    assert search.strategy.select(search.tree) is not None
    assert sum(node.answer is not None for node in search.tree) == 2


# --- what the probe is worth ---


def answered(*pairs: tuple[float, float]) -> Tree:
    """A tree of answers, each with what the probe and the judge said of it."""
    tree = Tree(Node(ROOT, None, None))
    for number, (said, worth) in enumerate(pairs, 1):
        tree.apply(Expanded(WorkId(number), Node(NodeId(number), ROOT, Step("answer", "a"), answer="a")))
        verdicts = (Verdict(said, "value", "better"), Verdict(worth, "outcome", "tests"))
        tree.apply(Judged(WorkId(100 + number), NodeId(number), verdicts))
    return tree


def test_outcomes_for_calibration_come_from_pairs_of_answers() -> None:
    """Each other answer stands for a fresh one; a probe that is too sure of itself is brought down to what it is worth."""
    pairs = sorted(restart_outcomes(answered((0.9, 1.0), (0.8, 0.0), (0.2, 0.5)), by="tests"))
    assert pairs == [(0.2, False), (0.2, True), (0.8, False), (0.8, False), (0.9, True), (0.9, True)]
    rng = random.Random(1)
    outcomes: list[tuple[float, bool]] = []
    for _ in range(80):
        worths = [rng.random() for _ in range(4)]
        outcomes += restart_outcomes(answered(*((min(1.0, 0.5 + worth), worth) for worth in worths)), by="tests")
    calibration = Calibration.fit(outcomes)
    assert calibration(0.55) < 0.2
    assert calibration(0.9) == pytest.approx(0.4, abs=0.15)


def test_ranks_stand_in_for_labels() -> None:
    """Half of the values below: worth one half."""
    ranks = by_rank([0.9, 0.1, 0.5, 0.5])
    assert [ranks(value) for value in (0.0, 0.1, 0.5, 0.7, 0.95)] == [0.125, 0.125, 0.5, 0.5, 0.875]
