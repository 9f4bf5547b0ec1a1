"""Perplexity consistency with pruning, and the mixture that prunes."""

from __future__ import annotations

import math
import random

import pytest

from branchwise.core.errors import UsageError
from branchwise.core.simulated.answers import RIGHT, AnswerPool, PathGroup
from branchwise.core.simulated.time import TimedSearch
from branchwise.search import BestOfN, PerplexityConsistency, Vote
from branchwise.search.perplexity import log_sum
from branchwise.search.voting import answered
from branchwise.search.weibull import fit_mixture

from .sampled import Answers

PLAIN = PerplexityConsistency("exact", prune=False)
GROUPS = [PathGroup(RIGHT, 0.4, 5), PathGroup("wrong", 0.35, 5), PathGroup("rare", 0.25, 500, distinct=True)]


NOISY = [
    PathGroup(RIGHT, 0.45, 5, even=True),
    PathGroup("wrong", 0.35, 5, even=True),
    PathGroup("rare", 0.2, 200, distinct=True),
]
"""The same with nothing improbable but the noise."""


def sampled(seed: int, n: int, groups: list[PathGroup] = GROUPS) -> TimedSearch:
    """Return `n` trajectories from problem `seed`: five right paths, five wrong ones, five hundred rare ones."""
    search = TimedSearch(BestOfN(n=n, depth=1).fresh(seed), AnswerPool(groups, seed), seed=seed)
    search.run()
    return search


def mass_of(answer: str, search: TimedSearch) -> float:
    """Estimate an answer's probability by the distinct paths that were sampled."""
    nodes = answered(search.tree)
    masses = PLAIN.masses(nodes, [node.step.logprob for node in nodes], search.tree)
    return next((math.exp(log) for node, log in masses if search.tree[node].answer == answer), 0.0)


def share_of(answer: str, search: TimedSearch) -> float:
    """Estimate it by counting."""
    nodes = answered(search.tree)
    return sum(node.answer == answer for node in nodes) / len(nodes)


@pytest.mark.parametrize(("n", "by_mass", "by_count"), [(16, 0.010, 0.012), (32, 0.0025, 0.005), (64, 0.0005, 0.0025)])
def test_probabilities_converge_faster_than_counts(n: int, by_mass: float, by_count: float) -> None:
    """Mean squared error of the right answer's probability: .0018 against .0071 at 32 samples, .0003 against .0038 at 64."""
    searches = [sampled(seed, n) for seed in range(60)]
    error = sum((mass_of(RIGHT, search) - 0.4) ** 2 for search in searches) / 60
    counted = sum((share_of(RIGHT, search) - 0.4) ** 2 for search in searches) / 60
    assert error < by_mass < by_count < counted
    assert error < counted / 1.5


def test_it_chooses_better_than_a_vote() -> None:
    """At 32 samples the right answer is chosen in more than .8 of the problems, by counts in less than .75."""
    searches = [sampled(seed, 32) for seed in range(80)]

    def right(selector: PerplexityConsistency | Vote) -> float:
        chosen = (selector.choose(search.tree).node for search in searches)
        return sum(search.tree[node].answer == RIGHT for search, node in zip(searches, chosen, strict=True)) / 80

    assert right(PLAIN) > 0.8
    assert right(Vote("exact")) < 0.75
    assert right(PerplexityConsistency("exact")) > right(Vote("exact")) + 0.08


def test_without_the_signal_there_is_no_advantage() -> None:
    """With log-probabilities that say nothing of the paths it chooses no better than a vote."""
    rng = random.Random(1)
    right = {"probable": 0, "vote": 0}
    for seed in range(100):
        nodes = answered(sampled(seed, 32).tree)
        blind = Answers()
        for node in nodes:
            blind.add(node.answer, logprob=rng.gauss(-4, 1), text=str(node.id))
        for name, selector in (("probable", PLAIN), ("vote", Vote("exact"))):
            right[name] += blind.tree[selector.choose(blind.tree).node].answer == RIGHT
    assert right["probable"] <= right["vote"] + 4 * math.sqrt(100 * 0.25)


def test_what_is_pruned_is_the_noise() -> None:
    """Of the trajectories that are left out at least 80 % are of the improbable component."""
    pruned = rare = 0
    for seed in range(25):
        nodes = answered(sampled(seed, 64, NOISY).tree)
        for node, kept in zip(nodes, PerplexityConsistency().keeps([n.step.logprob for n in nodes]), strict=True):
            pruned += not kept
            rare += not kept and node.answer.startswith("rare")
    assert pruned > 100
    assert rare / pruned >= 0.8


def test_a_path_counts_once() -> None:
    """The same words twice are one trajectory; other words with the same answer are another."""
    answers = Answers()
    for text in ("x", "x", "x"):
        answers.add("a", logprob=math.log(0.2), text=text)
    for text in ("y", "z"):
        answers.add("b", logprob=math.log(0.15), text=text)
    appraisal = PLAIN.choose(answers.tree)
    assert appraisal.node == 4
    assert appraisal.confidence == pytest.approx(0.3 / 0.5)
    assert "share of the probability of 5 trajectories" in appraisal.source


def test_long_trajectories_do_not_underflow() -> None:
    """Probabilities of e^-5000 are told apart; by the mean per token length does not count."""
    answers = Answers()
    answers.add("a", logprob=-5000.0, tokens=5000)
    answers.add("b", logprob=-5001.0, tokens=10_000)
    assert PLAIN.choose(answers.tree).node == 1
    assert PLAIN.choose(answers.tree).confidence == pytest.approx(1 / (1 + math.exp(-1)))
    assert PerplexityConsistency("exact", lengths="mean").choose(answers.tree).node == 2


def test_without_log_probabilities_it_is_a_vote() -> None:
    """A trajectory whose probability is not known makes it an ordinary vote, which the source says."""
    answers = Answers.of(["a", "b", "b"])
    answers.add("a", logprob=-0.1)
    appraisal = PLAIN.choose(answers.tree)
    assert (appraisal.node, appraisal.confidence) == (1, 0.5)
    assert "log-probabilities are missing" in appraisal.source


def test_edges() -> None:
    """One trajectory is its own answer; none is an abstention; what is empty is chosen by nobody."""
    one = Answers()
    one.add("a", logprob=-3.0)
    assert (PLAIN.choose(one.tree).node, PLAIN.choose(one.tree).confidence) == (1, 1.0)
    assert PLAIN.choose(Answers().tree).node is None
    one.add("", logprob=-0.1)
    assert PLAIN.choose(one.tree).node == 1
    with pytest.raises(UsageError, match="lengths"):
        PerplexityConsistency(lengths="median")
    with pytest.raises(UsageError, match="same"):
        PerplexityConsistency(same="sense")


def test_the_mixture_finds_what_was_mixed() -> None:
    """Two Weibull distributions are found again, and the scale of the values does not matter."""
    rng = random.Random(2)
    logs = [math.log(rng.weibullvariate(1.0, 4.0)) for _ in range(300)]
    logs += [math.log(rng.weibullvariate(0.05, 1.5)) for _ in range(200)]
    fit = fit_mixture(logs)
    assert fit is not None
    assert fit.weight == pytest.approx(0.6, abs=0.08)
    assert fit.good.shape == pytest.approx(4.0, rel=0.25)
    assert math.exp(fit.good.log_scale) == pytest.approx(1.0, rel=0.1)
    assert fit.bad.shape == pytest.approx(1.5, rel=0.25)
    far = fit_mixture([log - 3000 for log in logs])
    assert far is not None
    assert far.good.shape == pytest.approx(fit.good.shape, rel=1e-3)
    assert [fit.prefers_good(log) for log in logs] == [far.prefers_good(log - 3000) for log in logs]


def test_nothing_to_tell_apart() -> None:
    """Equal values make no mixture; nothing is pruned then, nor where there are few."""
    assert fit_mixture([-1.0] * 20) is None
    assert fit_mixture([]) is None
    assert PerplexityConsistency().keeps([-1.0] * 20) == [True] * 20
    assert PerplexityConsistency().keeps([-1.0, -9.0] * 3) == [True] * 6


def test_a_sum_of_logarithms() -> None:
    """It is the logarithm of the sum, also where the sum itself would be 0."""
    assert log_sum([math.log(0.25), math.log(0.5)]) == pytest.approx(math.log(0.75))
    assert log_sum([-2000.0, -2000.0]) == pytest.approx(-2000 + math.log(2))
