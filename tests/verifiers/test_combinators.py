"""Verifiers made of others: votes, all, any, weighted means, adapters, caches, calibrations, fast and slow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from math import comb

import pytest

import branchwise as bw
from branchwise.core.errors import UsageError, VerifierError
from branchwise.core.protocols import Candidate, Verifier
from branchwise.core.types import Verdict
from branchwise.search import Calibration
from branchwise.verifiers import (
    Adapted,
    All,
    Any,
    Cached,
    Calibrated,
    FastSlow,
    Legality,
    Listwise,
    Tests,
    Vote,
    Weighted,
    false_accept_threshold,
)

from .judged import Counting, candidate_of, judged, tree_of


def fixed(value: float, passed: bool | None = None, name: str = "fixed", **options: object) -> Verifier:
    """A verifier that always says the same."""
    return bw.verifier(name=name, **options)(lambda _c: Verdict(value, "outcome", name, passed, f"{name} says so"))  # type: ignore[call-overload,no-any-return]


def noisy(accuracy: Callable[[Candidate], float], name: str = "noisy") -> Verifier:
    """A verifier that is right about answers that begin with "right" with some probability, drawn anew with every call."""

    @bw.verifier(name=name)
    def judge(candidate: Candidate) -> bool:
        well = random.Random(f"{name} {candidate.seed}").random() < accuracy(candidate)
        return (candidate.answer or "").startswith("right") == well

    return judge


async def test_a_vote_takes_the_mean_and_leaves_out_who_has_no_verdict() -> None:
    """Each judgement has a seed of its own and is charged; one that fails is dropped, not counted as zero."""
    seeds: list[int] = []

    @bw.verifier(name="shaky")
    def shaky(candidate: Candidate) -> float:
        seeds.append(candidate.seed)
        if len(seeds) == 2:
            raise VerifierError("no verdict")
        return 0.25 * len(seeds)

    counting = Counting()
    verdict = await Vote(shaky, k=4).judge(candidate_of(tree_of("5"), charged=counting))
    assert (verdict.value, verdict.calls, verdict.passed, verdict.verifier) == (pytest.approx(2 / 3), 3, None, "shaky")
    assert len(set(seeds)) == 4
    assert counting.calls == ["shaky"] * 4


async def test_a_vote_decides_by_majority_and_a_tie_is_a_no() -> None:
    """And the words are those of one that goes with the result."""
    turn = iter([True, True, False, False, True])

    @bw.verifier(name="turns")
    def turns(_candidate: Candidate) -> Verdict:
        passed = next(turn)
        return Verdict(float(passed), "outcome", "", passed, f"said {passed}")

    tied = await Vote(turns, k=4, by="majority").judge(candidate_of(tree_of("5")))
    assert (tied.value, tied.passed) == (0.5, False)
    alone = await Vote(turns, k=1).judge(candidate_of(tree_of("5")))
    assert (alone.passed, alone.feedback) == (True, "said True")


async def test_a_vote_without_any_verdict_is_an_error_and_other_errors_are_not_swallowed() -> None:
    """The node stays unjudged. Where the budget ends amid the vote, those that it was enough for count."""
    enough = iter([True, True] + [False] * 20)

    @bw.verifier
    def mute(_candidate: Candidate) -> bool:
        raise VerifierError("nothing")

    @bw.verifier
    def poor(_candidate: Candidate) -> bool:
        if next(enough):
            return True
        raise bw.BudgetExceeded("tokens", allowed=1, spent=1, asked=1)

    @bw.verifier
    def broken(candidate: Candidate) -> bool:
        return candidate.seed % 2 == 0 or 1 // 0 > 0

    candidate = candidate_of(tree_of("5"))
    with pytest.raises(VerifierError, match="nothing"):
        await Vote(mute, k=3).judge(candidate)
    assert (await Vote(poor, k=5).judge(candidate)).calls == 2
    with pytest.raises(bw.BudgetExceeded):
        await Vote(poor, k=5).judge(candidate)
    with pytest.raises(ZeroDivisionError):
        await Vote(broken, k=16).judge(candidate)


async def test_voting_is_as_good_as_the_binomial_law_says_and_no_better_for_what_persists() -> None:
    """Five calls that are right with .7 each: .837. An error that persists stays, however often one asks (ablation)."""

    async def share(verifier: Verifier) -> float:
        tree = tree_of("right", "wrong")
        hits = 0
        for number in range(300):
            verdict = await Vote(verifier, k=5).judge(candidate_of(tree, 1 + number % 2, seed=number))
            hits += verdict.passed == (number % 2 == 0)
        return hits / 300

    assert await share(noisy(lambda _c: 0.7)) == pytest.approx(0.837, abs=4 * (0.837 * 0.163 / 300) ** 0.5)

    @bw.verifier
    def stubborn(_candidate: Candidate) -> bool:
        return True

    assert await share(stubborn) == 0.5


async def test_all_stops_at_the_first_refusal() -> None:
    """Its value is the lowest; who was not asked is not charged. What only scores does not decide."""
    counting = Counting()
    candidate = candidate_of(tree_of("5"), charged=counting)
    three = (fixed(0.9, True, "a"), fixed(0.2, False, "b"), fixed(1.0, True, "c"))
    verdict = await All(*three).judge(candidate)
    assert (verdict.value, verdict.passed, counting.calls) == (0.2, False, ["a", "b"])
    assert verdict.feedback == "[a] a says so\n\n[b] b says so"
    assert verdict.per_constraint == {"a": 0.9, "b": 0.2}
    assert (await All(*three, lazy=False).judge(candidate)).calls == 3
    assert (await All(fixed(0.5), fixed(0.7)).judge(candidate)).passed is None
    assert (await All(fixed(0.5, True), fixed(0.7)).judge(candidate)).passed is True


async def test_any_stops_at_the_first_acceptance_and_refuses_only_together() -> None:
    """Its value is the highest."""
    counting = Counting()
    candidate = candidate_of(tree_of("5"), charged=counting)
    verdict = await Any(fixed(0.2, False, "a"), fixed(0.9, True, "b"), fixed(1.0, True, "c")).judge(candidate)
    assert (verdict.value, verdict.passed, counting.calls) == (0.9, True, ["a", "b"])
    assert (await Any(fixed(0.2, False), fixed(0.1, False)).judge(candidate)).passed is False
    assert (await Any(fixed(0.2, False), fixed(0.1)).judge(candidate)).passed is None


async def test_a_composed_verdict_is_as_well_protected_as_the_weakest_part() -> None:
    """One that is not by execution has no protection; one that only looks for violations takes none away."""

    def level(integrity: str | None, semantics: str = "outcome") -> Verifier:
        made = Verdict(1.0, semantics, "", True, integrity=integrity)  # type: ignore[arg-type]
        return bw.verifier(name=f"{integrity} {semantics}", semantics=semantics)(lambda _c: made)  # type: ignore[call-overload,no-any-return]

    candidate = candidate_of(tree_of("5"))
    both = await All(level("host-io"), level("in-process"), level(None, "violation")).judge(candidate)
    assert both.integrity == "in-process"
    assert (await All(level("split"), level(None)).judge(candidate)).integrity is None


async def test_a_weighted_mean_weighs() -> None:
    """And accepts from a value on."""
    candidate = candidate_of(tree_of("5"))
    verdict = await Weighted(fixed(1.0, None, "a"), fixed(0.0, None, "b"), weights=(3, 1), accept=0.7).judge(candidate)
    assert (verdict.value, verdict.passed) == (0.75, True)
    assert (await Weighted(fixed(1.0), fixed(0.5)).judge(candidate)).value == 0.75


def test_values_of_different_meaning_are_not_mixed() -> None:
    """Refused when the verifier is made, with what would help; a named adapter helps, and violations go with everything."""
    likes = fixed(0.5, name="likes", semantics="preference")
    right = fixed(0.5, name="right")
    for make in (lambda: Weighted(likes, right), lambda: All(likes, right), lambda: FastSlow(likes, right)):
        with pytest.raises(UsageError, match=r"'likes' means 'preference'.*Adapted\(verifier, 'outcome'"):
            make()
    assert Weighted(Adapted(likes, "outcome", by="identity"), right).semantics == "outcome"
    assert All(Tests(), Legality()).semantics == "outcome"
    assert All(Legality()).semantics == "violation"


def test_verifiers_of_one_agent_have_names_of_their_own() -> None:
    """Strategies know by the name whose verdict they see."""
    with pytest.raises(UsageError, match="agent 'a' has two verifiers called 'same'; give one of them another name="):
        bw.Agent(name="a", model="embedded:x", verifiers=[fixed(0.5, name="same"), fixed(1.0, name="same")])


def test_parts_that_cannot_be_asked_one_by_one_are_refused() -> None:
    """None at all, no verifiers, and those that compare."""
    with pytest.raises(UsageError, match="All got 0 verifiers"):
        All()
    with pytest.raises(UsageError, match="is no verifier"):
        Vote(lambda _c: True)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'listwise' compares candidates"):
        Vote(Listwise())  # type: ignore[arg-type]
    for options in ({"k": 0}, {"tau": 0.5}):
        with pytest.raises(UsageError, match="FastSlow"):
            FastSlow(fixed(1.0), fixed(1.0), **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="2 positive numbers"):
        Weighted(fixed(1.0), fixed(0.0), weights=(1,))


def test_a_composed_verifier_judges_what_all_its_parts_can_judge() -> None:
    """States only where every part judges states."""
    state = fixed(1.0, name="state", scope="state")
    assert All(state, state).scope == "state"
    assert All(state, fixed(1.0)).scope == "answer"
    assert Vote(state).scope == "state"


async def test_steps_are_joined_over_the_path_by_the_adapter_that_is_named() -> None:
    """The lowest of the steps' own values, not of values that are joined already."""
    tree = tree_of("5")
    first = replace(tree[1], answer=None)
    tree._nodes[first.id] = first  # a step on the way
    values = iter([0.5, 0.8])
    steps = bw.verifier(name="steps", semantics="step", scope="state")(lambda _c: next(values))
    joined = Adapted(steps, "value", by="product")
    verdict = await joined.judge(candidate_of(tree))
    judged(tree, 1, verdict)
    tree._nodes[2] = replace(first, id=2, parent=1, depth=2)  # type: ignore[index,arg-type]
    assert (await joined.judge(candidate_of(tree, 2))).value == pytest.approx(0.4)
    with pytest.raises(UsageError, match="joins the values of steps"):
        Adapted(fixed(1.0), "value", by="min")


async def test_equal_answers_are_judged_once() -> None:
    """Also when they come at once, and after a resume: what the tree holds is known."""
    asked: list[str] = []

    @bw.verifier(name="slow")
    async def slow(candidate: Candidate) -> float:
        asked.append(candidate.answer or "")
        await asyncio.sleep(0)
        return 0.5

    tree = tree_of("5", " 5", "6", "5.0")
    cached = Cached(slow)
    verdicts = await asyncio.gather(*(cached.judge(candidate_of(tree, node)) for node in (1, 2, 3, 4)))
    assert asked == ["5", "6", "5.0"]
    assert [verdict.calls for verdict in verdicts] == [1, 0, 1, 1]
    judged(tree, 1, verdicts[0])
    resumed = Cached(slow, same="number")
    assert (await resumed.judge(candidate_of(tree, 4))).calls == 0
    assert len(asked) == 3


async def test_calibrated_scores_are_probabilities_and_may_be_another_kind_of_value() -> None:
    """By isotonic regression; a preference becomes an outcome by it."""
    outcomes = [(0.2, False)] * 9 + [(0.2, True)] + [(0.8, True)] * 8 + [(0.8, False)] * 2
    likes = fixed(0.8, True, name="likes", semantics="preference")
    verdict = await Calibrated(likes, Calibration.fit(outcomes)).judge(candidate_of(tree_of("5")))
    assert (verdict.semantics, verdict.passed) == ("outcome", None)
    assert verdict.value == pytest.approx(0.768, abs=0.01)
    with pytest.raises(UsageError, match="changes nothing"):
        Calibrated(likes)


async def test_a_conformal_threshold_bounds_what_is_wrongly_accepted() -> None:
    """On average over calibration sets of 59 the share of wrong candidates accepted is .1 within 2 points, and never just all."""
    rng = random.Random(7)
    shares: list[float] = []
    for _ in range(200):
        threshold = false_accept_threshold(0.1, [rng.gauss(0.4, 0.2) for _ in range(59)])
        shares.append(sum(rng.gauss(0.4, 0.2) >= threshold for _ in range(100)) / 100)
    assert sum(shares) / 200 <= 0.1 + 0.01
    assert sum(shares) / 200 >= 0.1 - 0.03
    assert false_accept_threshold(0.05, [0.5] * 10) == float("inf")
    verdict = await Calibrated(fixed(0.8, None), accept=0.7).judge(candidate_of(tree_of("5")))
    assert verdict.passed is True


async def test_fast_and_slow_cost_what_the_formula_says_and_are_better_than_fast_alone() -> None:
    """A fourth of the candidates is hard: there the fast one guesses. Zhong et al. (2025): k fast calls and P(disagree) slow ones."""
    hard = [f"{'right' if n % 2 else 'wrong'} {'hard' if n % 8 < 2 else 'easy'}" for n in range(8)]
    tree = tree_of(*hard)
    fast = noisy(lambda c: 0.55 if "hard" in (c.answer or "") else 0.97, "fast")
    slow = noisy(lambda _c: 0.95, "slow")
    counting = Counting()
    flexible, alone = 0, 0
    trials = 400
    for number in range(trials):
        node = 1 + number % 8
        truth = hard[node - 1].startswith("right")
        candidate = candidate_of(tree, node, seed=number, charged=counting)
        flexible += (await FastSlow(fast, slow, k=8, tau=0.8).judge(candidate)).passed == truth
        alone += (await Vote(fast, k=8, by="majority").judge(candidate_of(tree, node, seed=number))).passed == truth
    assert flexible / trials >= alone / trials + 0.05
    assert counting.calls.count("fast") == 8 * trials
    # P(fewer than 7 of 8 agree), exactly, for both kinds.
    disagree = 0.25 * _disagreement(0.55) + 0.75 * _disagreement(0.97)
    asked_slow = counting.calls.count("slow") / trials
    assert asked_slow == pytest.approx(disagree, abs=4 * (disagree * (1 - disagree) / trials) ** 0.5)
    # A verdict of 100 tokens against a verification of 8,000.
    assert (8 * 100 + asked_slow * 8_000) / 8_000 <= 0.4


def _disagreement(accuracy: float) -> float:
    return sum(comb(8, n) * accuracy**n * (1 - accuracy) ** (8 - n) for n in range(2, 7))


async def test_without_any_fast_verdict_the_slow_one_decides() -> None:
    """And where the fast one says only noise, the slow one is asked most of the time (ablation)."""

    @bw.verifier(name="mute")
    def mute(_candidate: Candidate) -> bool:
        raise VerifierError("nothing")

    verdict = await FastSlow(mute, fixed(1.0, True, "slow")).judge(candidate_of(tree_of("5")))
    assert (verdict.passed, verdict.per_constraint) == (True, {"agreement": 0.5, "slow": 1.0})
    counting = Counting()
    guess = noisy(lambda _c: 0.5, "guess")
    for seed in range(60):
        await FastSlow(guess, fixed(1.0, True, "slow")).judge(candidate_of(tree_of("5"), seed=seed, charged=counting))
    assert counting.calls.count("slow") >= 45
