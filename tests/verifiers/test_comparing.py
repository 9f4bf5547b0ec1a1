"""`Listwise` and `GroupScores`: judges that see all candidates at once."""

from __future__ import annotations

import json
import random
from statistics import fmean, pvariance

import pytest

from branchwise.core.errors import UsageError, VerifierError
from branchwise.core.simulated.critics import SimulatedCritic, fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ModelRequest, NodeId
from branchwise.verifiers import GroupScores, Listwise
from branchwise.verifiers.group_scores import agreement, best_samples, mean_scores, tied
from branchwise.verifiers.listwise import seats

from .judged import Counting, candidate_of, tree_of

FIVE = tree_of("worth 0.2", "worth 0.4", "worth 0.9", "worth 0.5", "worth 0.1")


def worth(text: str) -> float:
    """Solutions say what they are worth."""
    return float(text.rsplit(maxsplit=1)[-1])


def chosen(ranking: object) -> int:
    """The node that ranks first."""
    assert isinstance(ranking, dict)
    return int(max(ranking, key=lambda node: ranking[node]))


async def test_one_call_names_the_best_whatever_its_letter() -> None:
    """The ranking is by node; the checklist is in the prompt; each call is charged."""
    model = ScriptedModel(SimulatedCritic(worth))
    counting = Counting()
    judge = Listwise(checklist=("units are given",), k=3)
    verdict = await judge.judge(candidate_of(FIVE, 0, model=model, charged=counting))
    assert verdict.ranking == {1: 0.0, 2: 0.0, 3: 1.0, 4: 0.0, 5: 0.0}
    assert (verdict.value, verdict.passed, verdict.semantics, verdict.calls) == (1.0, None, "preference", 3)
    assert "node 3 is the best" in verdict.feedback
    assert counting.calls == ["listwise"] * 3
    assert all("- units are given" in request.messages[0].content for request in model.requests)
    assert len({next(iter(list(fences(request).values())[1:])) for request in model.requests}) == 3


def test_every_turn_seats_candidates_elsewhere() -> None:
    """Shuffled once, then moved on."""
    orders = [seats(4, 5, turn, 4) for turn in range(4)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert all(len({order.index(candidate) for order in orders}) == 4 for candidate in range(4))
    assert seats(4, 5, 0, 1) != seats(4, 6, 0, 1)


async def test_a_judge_that_prefers_places_chooses_none_by_its_number() -> None:
    """Five equal candidates, a judge that takes the first one shown: chi-square over 200 runs stays below its .01 bound.

    Without shuffling it would take the first one always.
    """
    model = ScriptedModel(SimulatedCritic(lambda _t: 0.3, place=0.5))
    equal = tree_of(*(f"worth 0.3 {'.' * number}" for number in range(5)))
    counts = [0] * 6
    for seed in range(200):
        verdict = await Listwise(k=1).judge(candidate_of(equal, 0, model=model, seed=seed))
        counts[chosen(verdict.ranking)] += 1
    assert sum((count - 40) ** 2 / 40 for count in counts[1:]) < 13.28
    assert max(counts) < 100


async def test_letters_are_weighed_by_their_probabilities_and_mute_calls_left_out() -> None:
    """The votes of what is left are shared; where nothing is left there is no verdict."""
    seats_left = iter([True, False, True])

    def script(_request: ModelRequest) -> str:
        return json.dumps({"critique": "", "best": "A"}) if next(seats_left) else "{"

    verdict = await Listwise(k=3).judge(candidate_of(FIVE, 0, model=ScriptedModel(script)))
    assert verdict.ranking is not None
    assert sorted(verdict.ranking.values()) == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert verdict.per_constraint == {"dropped": 1.0}
    with pytest.raises(VerifierError, match="found no verdict"):
        await Listwise().judge(candidate_of(FIVE, 0, model=ScriptedModel(lambda _r: "{")))


async def test_only_the_candidates_that_are_named_are_compared() -> None:
    """And fewer than two are nothing to compare."""
    model = ScriptedModel(SimulatedCritic(worth))
    verdict = await Listwise().judge(candidate_of(FIVE, 0, model=model, among=(NodeId(1), NodeId(4))))
    assert verdict.ranking == {1: 0.0, 4: 1.0}
    with pytest.raises(VerifierError, match="compares 2 to 26 candidates and was given 1"):
        await Listwise().judge(candidate_of(FIVE, 0, model=model, among=(NodeId(1),)))


async def test_scores_of_all_candidates_are_added_up_over_calls() -> None:
    """From 1 to 10, one form for all; the mean is finer than one score."""
    model = ScriptedModel(SimulatedCritic(worth, noise=0.1))
    counting = Counting()
    verdict = await GroupScores(k=8, meta="none").judge(candidate_of(FIVE, 0, model=model, charged=counting))
    assert chosen(verdict.ranking) == 3
    assert len(counting.calls) == verdict.calls == 8
    assert verdict.ranking is not None
    assert abs(verdict.ranking[NodeId(4)] - 0.5) < 0.12


async def test_a_tie_is_broken_by_one_more_call() -> None:
    """Where two share the first place."""
    scores = iter([{"A": 5, "B": 5}, {"A": 5, "B": 5}, {"A": 7, "B": 5}])
    script = lambda _r: json.dumps({"principles": "", "critique": "", "scores": next(scores)})  # noqa: E731
    verdict = await GroupScores(k=2, meta="none").judge(
        candidate_of(FIVE, 0, model=ScriptedModel(script), among=(NodeId(1), NodeId(2)))
    )
    assert verdict.calls == 3
    assert verdict.ranking is not None
    assert not tied(verdict.ranking)


async def test_critiques_are_checked_and_the_better_half_counts() -> None:
    """A critique that the check doubts does not count; scores that are missing or out of range are left out."""
    told = iter([{"A": 9, "B": 1}, {"A": 1, "B": 9}, {"A": 9, "B": 2}, {"A": 99, "B": 1}])

    def script(request: ModelRequest) -> str:
        properties = (request.response_schema or {})["properties"]
        if "verdict" in properties:
            return json.dumps({"verdict": "no" if "lies" in fences(request)["critique"] else "yes"})
        scores = next(told)
        critique = "lies" if scores["B"] == 9 else "true"
        return json.dumps({"principles": "", "critique": critique, "scores": scores})

    judge = GroupScores(k=4, keep=2, meta="check")
    counting = Counting()
    candidate = candidate_of(
        tree_of("one", "two"), 0, model=ScriptedModel(script), among=(NodeId(1), NodeId(2)), charged=counting
    )
    verdict = await judge.judge(candidate)
    assert verdict.per_constraint == {"dropped": 1.0}
    assert len(counting.calls) == 4 + 3
    # Every call shows another order, so letters differ: what counts are the two that were not doubted.
    assert verdict.ranking is not None
    assert sorted(round(value * 9) for value in verdict.ranking.values()) in ([4, 4], [0, 8], [1, 8], [4, 5])


@pytest.mark.parametrize("options", [{"k": 0}, {"keep": 9}, {"meta": "trust"}])
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    """With the value that was given."""
    with pytest.raises(UsageError, match="GroupScores"):
        GroupScores(**options)  # type: ignore[arg-type]


# --- the law of votes and of the filter, on the very functions that count them ---


def samples_of(
    rng: random.Random, truth: dict[NodeId, float], sigmas: list[float], stays: dict[NodeId, float]
) -> list[dict[NodeId, float]]:
    """What calls with these spreads say, on a scale of ten."""
    return [
        {node: round(9 * min(1.0, max(0.0, t + stays[node] + rng.gauss(0, sigma)))) / 9 for node, t in truth.items()}
        for sigma in sigmas
    ]


def accuracy(
    k: int, keep: int | None, *, bad: float = 0.24, meta: str = "none", persistent: float = 0.1
) -> tuple[float, float]:
    """How often the best of four is found in 400 problems, and the variance of its score around what persists."""
    rng = random.Random(f"{k} {bad}")
    found, errors = 0, []
    for number in range(400):
        problem = random.Random(f"problem {number}")
        truth = {NodeId(node): problem.uniform(0.35, 0.65) for node in range(1, 5)}
        stays = {node: problem.gauss(0, 1) * persistent for node in truth}
        sigmas = [0.08 if call % 2 else bad for call in range(k)]
        samples = samples_of(rng, truth, sigmas, stays)
        if keep is not None:
            lots = [rng.random() for _ in sigmas]
            quality = {"agreement": agreement(samples), "told": [-s for s in sigmas], "noise": lots}[meta]
            samples = best_samples(samples, quality, keep)
        ranking = mean_scores(samples)
        found += chosen(ranking) == max(truth, key=lambda node: truth[node])
        errors.append(ranking[NodeId(1)] - truth[NodeId(1)] - stays[NodeId(1)])
    return found / 400, pvariance(errors)


def test_more_votes_help_up_to_what_persists() -> None:
    """Per-call noise goes with the votes; the error that every call makes alike is the ceiling."""
    shares = [accuracy(k, None)[0] for k in (1, 4, 32, 128)]
    assert shares[0] + 0.1 < shares[1] + 0.05 < shares[2]
    assert abs(shares[3] - shares[2]) <= 0.04
    assert accuracy(128, None, persistent=0.0)[0] > shares[3] + 0.1


def test_an_informative_filter_halves_the_variance_and_a_blind_one_costs_little() -> None:
    """Half of the critiques are thrice as noisy: less than half the variance where one knows which, little more by agreement.

    Where the filter says nothing (ablation) it loses at most what half of the votes are worth.
    """
    plain, spread = accuracy(32, None)
    told, told_spread = accuracy(32, 16, meta="told")
    alike, alike_spread = accuracy(32, 16, meta="agreement")
    blind, _ = accuracy(32, 16, meta="noise")
    assert told_spread <= spread / 2
    assert alike_spread <= 0.8 * spread
    assert min(told, alike) >= plain - 0.04
    assert blind >= plain - 0.04


def test_agreement_needs_three_and_sets_levels_aside() -> None:
    """A generous judge that orders them like the others agrees with them."""
    base = {NodeId(1): 0.1, NodeId(2): 0.5}
    generous = {NodeId(1): 0.5, NodeId(2): 0.9}
    against = {NodeId(1): 0.9, NodeId(2): 0.1}
    assert agreement([base, generous]) == [0.0, 0.0]
    quality = agreement([base, generous, against])
    assert quality[0] == pytest.approx(quality[1])
    assert quality[2] < quality[0]
    assert fmean(mean_scores([base, generous]).values()) == 0.5
