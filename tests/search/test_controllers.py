"""Searching with a verifier that errs: what is asked again, what is chosen, and what it is said to be worth."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchwise.core.errors import UsageError
from branchwise.core.events import Denied, Event, Expand, Failed, Judged, Score, Work, WorkStarted, decode, encode
from branchwise.core.protocols import Appraiser
from branchwise.core.simulated.refinement import Refinement, Refining
from branchwise.core.simulated.steps import Simulation, StepTree
from branchwise.core.tree import Tree
from branchwise.core.types import ROOT, Node, NodeId, Verdict
from branchwise.search import (
    BestFirst,
    BestOfN,
    Calibration,
    NoiseAware,
    expected_calibration_error,
    parse_strategy,
    threshold_for,
)
from branchwise.search.named import STRATEGIES
from branchwise.search.pieces import Pieces

Outcomes = list[tuple[float, bool]]


def solve(problems: range, *, calls: int = 256, blind: bool = False, slots: int = 1, **world: Any) -> Outcomes:
    """Confidence and success of a noise-aware search on seeded problems."""
    outcomes: Outcomes = []
    for seed in problems:
        problem = Refinement(seed, **world)
        strategy = NoiseAware(BestFirst(depth=200), right=problem.least_right).fresh(seed)
        run = Refining(strategy, problem, calls, slots=slots, blind=blind)
        chosen = run.run()
        assert run.spent <= calls
        confidence = strategy.appraise(run.tree).confidence
        assert confidence is not None
        outcomes.append((confidence, chosen is not None and chosen.right))
    return outcomes


def baseline(problems: range, **world: Any) -> float:
    """Share that the same best-first search solves when it takes every score at its word."""
    runs = [Refining(BestFirst(depth=200).fresh(seed), Refinement(seed, **world)).run() for seed in problems]
    return sum(draft is not None and draft.right for draft in runs) / len(runs)


def share(outcomes: Outcomes) -> float:
    """Share of right answers."""
    return sum(right for _, right in outcomes) / len(outcomes)


# --- what it is for -----------------------------------------------------------------------------------------------------


def test_solves_what_taking_scores_at_their_word_does_not() -> None:
    """With noise of .15 at 256 calls: measured .5 of 300 problems against .03; here 16 of them, with slack."""
    problems = range(16)
    assert share(solve(problems, noise=0.15)) > baseline(problems, noise=0.15) + 0.15


def test_the_advantage_is_the_verdicts() -> None:
    """Ablation: with scores that say nothing, nothing is solved beyond luck, and no confidence is pretended."""
    outcomes = solve(range(15), blind=True)
    assert share(outcomes) <= 0.07
    assert sum(confidence for confidence, _ in outcomes) / len(outcomes) < 0.15


def test_costs_nothing_where_there_is_no_noise() -> None:
    """A verifier that repeats itself is found out by two calls; then every call goes to the search."""
    problem = Refinement(1)
    strategy = NoiseAware(BestFirst(depth=200), right=problem.least_right).fresh(1)
    run = Refining(strategy, problem)
    run.run()
    again = [e for e in run.events if isinstance(e, Judged) and len(run.tree.verdicts(e.node)) > 1]
    assert len(again) <= 6
    assert len(run.drafts) >= 126


@pytest.mark.parametrize("inner", [BestFirst(depth=3), BestOfN(n=5, depth=3)])
def test_executing_verifiers_are_never_asked_twice(inner: Any) -> None:
    """With verdicts by execution the search does exactly what the inner strategy alone does."""

    def run(strategy: Any) -> list[Event]:
        simulation = Executing(strategy.fresh(0), StepTree(3, 3, seed=4), slots=3)
        simulation.run(40, random.Random(0))
        return simulation.events

    plain = [event for event in run(inner) if isinstance(event, Judged)]
    aware = [event for event in run(NoiseAware(inner)) if isinstance(event, Judged)]
    assert [event.node for event in aware] == [event.node for event in plain]


class Executing(Simulation):
    """A simulation whose verdicts come from execution."""

    def verdict(self, node: NodeId) -> Verdict:
        """The simulated verdict, with the level of its integrity."""
        verdict = super().verdict(node)
        return Verdict(verdict.value, "outcome", "tests", verdict.passed, integrity="split")


def test_works_under_best_of_n() -> None:
    """Of independent candidates the noisy best is not the best: second looks at contenders choose a better one."""
    gains: list[float] = []
    for seed in range(30):
        problem = Refinement(seed, noise=0.2)
        run = Refining(NoiseAware(BestOfN(n=30, depth=1)).fresh(seed), problem, 120)
        chosen = run.run()
        first = max(run.drafts, key=lambda node: run.tree.verdicts(node)[0].value)
        assert chosen is not None
        gains.append((sum(chosen.bits) - sum(run.drafts[first].bits)) / 16)
    assert len(run.drafts) == 30
    assert sum(gains) / len(gains) > 0.03


DRAFTING = [name for name, made in STRATEGIES.items() if not issubclass(made, Pieces)]
"""Those that write pieces of texts have nothing to go by where drafts have no text."""


@pytest.mark.parametrize("name", DRAFTING)
def test_works_under_every_strategy(name: str) -> None:
    """Whatever the strategy: it goes on, `ask` stays pure, second looks are taken, all calls are accounted for."""
    run = Refining(NoiseAware(STRATEGIES[name]()).fresh(3), Refinement(3, noise=0.15), calls=90, slots=3)
    while run.spent < run.calls:
        run.tree.share_left = 1 - run.spent / run.calls
        run._fill()
        before = deepcopy(run.strategy)
        assert list(run.strategy.ask(run.tree, 3)) == list(run.strategy.ask(run.tree, 3))
        assert run.strategy == before
        if not run.tree.in_flight:
            break
        run._take(run._done(next(iter(run.tree.in_flight.values()))))
    looks = [e for e in run.events if isinstance(e, WorkStarted) and isinstance(e.work, Score) and e.work.verifiers]
    assert looks, "noise of .15 must be looked at twice"
    assert len(run.drafts) >= 8
    node = run.strategy.select(run.tree)
    assert node is not None
    again, tree = NoiseAware(STRATEGIES[name]()).fresh(3), Tree(Node(ROOT, None, None))
    for event in run.events:
        tree.apply(event)
        again.tell((event,), tree)
    assert again == run.strategy


def test_several_slots_are_used() -> None:
    """With eight slots the same calls are spent; some speed is worth some guidance, but not all of it."""
    assert share(solve(range(10), noise=0.1, slots=8)) > 0.2


def test_the_less_noisy_judge_is_asked_again() -> None:
    """Of two judges the one whose repetition tells more gets the second looks."""
    rng = random.Random(0)
    b = Judged2(NoiseAware(BestFirst(depth=5)).fresh(0), rng)
    for _ in range(60):
        b.step()
    assert b.again["good"] > 3 * b.again["bad"]


def test_a_judge_that_repeats_its_error_is_not_asked_again() -> None:
    """Errors that persist: a few repetitions show that it says the same every time; then every call is a new candidate."""
    problem = Refinement(4, persistent=0.15)
    run = Refining(NoiseAware(BestFirst(depth=200), right=problem.least_right).fresh(4), problem, 120)
    run.run()
    again = [e for e in run.events if isinstance(e, WorkStarted) and isinstance(e.work, Score) and e.work.verifiers]
    assert len(again) <= 8
    assert len(run.drafts) >= 56


class Judged2:
    """A search whose nodes a good and a bad judge value, at .05 and .25 of noise around .5."""

    def __init__(self, strategy: NoiseAware, rng: random.Random) -> None:
        self.run = Refining(strategy, Refinement(0, judges=2), 10_000)
        self.rng = rng
        self.again = {"good": 0, "bad": 0}
        self.truth: dict[NodeId, float] = {}

    def step(self) -> None:
        """Let the oldest work end."""
        run = self.run
        run._fill()
        work: Work = next(iter(run.tree.in_flight.values()))
        if isinstance(work, Expand) or work.node == ROOT:
            run._take(run._done(work))
            return
        assert isinstance(work, Score)
        truth = self.truth.setdefault(work.node, self.rng.uniform(0.35, 0.65))
        names = work.verifiers or ("good", "bad")
        for name in work.verifiers:
            self.again[name] += 1
        noise = {"good": 0.05, "bad": 0.25}
        values = {name: min(0.99, max(0.01, self.rng.gauss(truth, noise[name]))) for name in names}
        run._take(Judged(work.id, work.node, tuple(Verdict(v, "value", n) for n, v in values.items())))


# --- what the choice is worth -------------------------------------------------------------------------------------------


def test_the_winners_curse_is_corrected() -> None:
    """The score by which a choice was made is far too high; what the choice is believed to be worth is not.

    Measured over 100 problems with noise of .075 on the scale of scores: first scores .157 too high, beliefs .010.
    """
    off_scores: list[float] = []
    off_beliefs: list[float] = []
    for seed in range(3000, 3030):
        problem = Refinement(seed, noise=0.15, clipped=False)
        strategy = NoiseAware(BestFirst(depth=200), right=problem.least_right).fresh(seed)
        run = Refining(strategy, problem, 130)
        run.run()
        lucky = max(run.drafts, key=lambda node: run.tree.verdicts(node)[0].value)
        off_scores.append(run.tree.verdicts(lucky)[0].value - (sum(run.drafts[lucky].bits) / 16 + 0.5) / 2)
        chosen = strategy.select(run.tree)
        assert chosen is not None
        off_beliefs.append(strategy.worth(chosen)[0] - (sum(run.drafts[chosen].bits) / 16 + 0.5) / 2)
    assert sum(off_scores) / len(off_scores) > 0.1
    assert abs(sum(off_beliefs)) / len(off_beliefs) < 0.02


@pytest.fixture(scope="module")
def known_and_held_out() -> tuple[Outcomes, Outcomes]:
    """Outcomes on 100 tasks to calibrate on and on 100 others; noise that varies from task to task."""
    outcomes: Outcomes = []
    for seed in range(200):
        outcomes += solve(range(seed, seed + 1), calls=96, size=12, noise=(0.03, 0.06, 0.1, 0.15)[seed % 4])
    return outcomes[:100], outcomes[100:]


def test_confidence_is_calibrated(known_and_held_out: tuple[Outcomes, Outcomes]) -> None:
    """Calibrated on tasks with known answers, confidence says how often answers to others are right."""
    known, held_out = known_and_held_out
    calibration = Calibration.fit(known)
    calibrated = [(calibration(confidence), right) for confidence, right in held_out]
    # Six bins: with 100 tasks the error of a perfect forecast is .05 by chance alone; the benchmark has 300.
    assert expected_calibration_error(calibrated, bins=4) < 0.1


def test_abstaining_keeps_the_promise(known_and_held_out: tuple[Outcomes, Outcomes]) -> None:
    """Answers above the threshold for a precision are right that often, and far more often than all answers."""
    known, held_out = known_and_held_out
    threshold = threshold_for(0.7, known)
    kept = [right for confidence, right in held_out if confidence >= threshold]
    assert len(kept) >= 10
    assert sum(kept) / len(kept) >= 0.7 - 2 * (0.21 / len(kept)) ** 0.5
    assert sum(kept) / len(kept) > share(held_out) + 0.1
    # The promise is one on average over what one calibrates on: within two points of it, not only above.
    pool, rng, precisions = [*known, *held_out], random.Random(8), list[float]()
    for _ in range(400):
        rng.shuffle(pool)
        threshold = threshold_for(0.7, pool[:100])
        precisions.append(share([outcome for outcome in pool[100:] if outcome[0] >= threshold]))
    assert abs(sum(precisions) / len(precisions) - 0.7) < 0.02


def appraised(value: float, *, passed: bool | None = None, times: int = 6, **options: Any) -> tuple[NoiseAware, Tree]:
    """A search with one node that a noisy judge gave about this value, several times."""
    strategy = NoiseAware(BestFirst(), **options).fresh(0)
    run = Refining(strategy, Refinement(0))
    rng = random.Random(3)
    while len(run.tree) < 2:
        run._fill()
        run._take(run._done(next(iter(run.tree.in_flight.values()))))
    run._fill()
    score = next(work for work in run.tree.in_flight.values() if isinstance(work, Score))
    for number in range(times):
        verdict = Verdict(min(1.0, value + rng.uniform(-0.02, 0.02)), "value", "judge", passed)
        run._take(Judged(score.id if number == 0 else NodeId(900 + number), score.node, (verdict,)))
    return strategy, run.tree


def test_abstains_with_the_reason() -> None:
    """Below the wanted probability there is no answer, but the probability and what it rests on."""
    strategy, tree = appraised(0.3, abstain=0.5)
    appraisal = strategy.appraise(tree)
    assert appraisal.node is None
    assert strategy.select(tree) is None
    assert appraisal.confidence is not None
    assert appraisal.confidence < 0.5
    assert "less than 0.5" in appraisal.source
    strategy, tree = appraised(0.97, abstain=0.5, right=0.8)
    assert strategy.select(tree) is not None
    assert strategy.appraise(tree).source.endswith("not calibrated")


def test_calibration_is_named_in_the_source() -> None:
    """The confidence that is given is the calibrated one, and says on how many tasks."""
    calibration = Calibration((0.0, 0.5), (0.1, 0.6), 120)
    strategy, tree = appraised(0.97, right=0.8, calibration=calibration)
    appraisal = strategy.appraise(tree)
    assert appraisal.confidence == 0.6
    assert "calibrated on 120 tasks" in appraisal.source


def test_a_noisy_pass_must_be_likely_right() -> None:
    """A noisy verifier's "passed" alone ends nothing; it does where the posterior agrees."""
    doubtful, tree = appraised(0.8, passed=True, right=0.9)
    (node,) = (node.id for node in tree if node.id != ROOT)
    assert tree.passed(node)
    assert not doubtful.accepts(node, tree)
    certain, tree = appraised(0.97, passed=True, right=0.8)
    assert certain.accepts(node, tree)
    assert isinstance(certain, Appraiser)


def test_what_passed_is_looked_at_again_at_once() -> None:
    """A verifier that never errs costs a few second looks, before its first yes is believed."""
    simulation = Simulation(NoiseAware(BestOfN(n=50, depth=2)).fresh(0), StepTree(2, 2, seed=1), slots=1)
    accepted = False
    for _ in range(200):
        simulation.fill()
        event = simulation.finish(next(iter(simulation.tree.in_flight)))
        assert isinstance(simulation.strategy, NoiseAware)
        if isinstance(event, Judged) and simulation.strategy.accepts(event.node, simulation.tree):
            accepted = True
            break
    looks = [
        e for e in simulation.events if isinstance(e, WorkStarted) and isinstance(e.work, Score) and e.work.verifiers
    ]
    assert accepted
    assert 2 <= len(looks) <= 12


# --- what the search machine relies on ----------------------------------------------------------------------------------

SCHEDULES = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from(["well"] * 7 + ["failed", "cancelled", "denied"])), max_size=50
)


@settings(max_examples=40, deadline=None)
@given(schedule=SCHEDULES, slots=st.integers(1, 5), noise=st.sampled_from([0.0, 0.1]), many=st.booleans())
def test_any_order_of_completion(schedule: list[tuple[int, Any]], slots: int, noise: float, many: bool) -> None:
    """Whatever ends next and however: `ask` is pure, work is numbered in order, a replay gives the same strategy."""
    template = NoiseAware(BestOfN(n=4, depth=3) if many else BestFirst(width=2, depth=4))
    run = Refining(template.fresh(1), Refinement(2, noise=noise), slots=slots)
    for index, outcome in schedule:
        run._fill()
        before = deepcopy(run.strategy)
        works = list(run.strategy.ask(run.tree, slots))
        assert list(run.strategy.ask(run.tree, slots)) == works
        assert run.strategy == before
        assert [work.id for work in works] == [run.tree.next_work + number for number in range(len(works))]
        flying = list(run.tree.in_flight.values())
        if not flying:
            break
        work = flying[index % len(flying)]
        event: Event
        match outcome:
            case "well":
                event = run._done(work)
            case "denied":
                event = Denied(work.id, work.node, "calls")
            case _:
                event = Failed(work.id, work.node, "ModelTimeout", "")
        run._take(event)
    again, tree = template.fresh(1), Tree(Node(ROOT, None, None))
    for event in decode(encode(run.events)):
        tree.apply(event)
        again.tell((event,), tree)
    assert again == run.strategy
    assert repr(vars(again)) == repr(vars(run.strategy))


def test_gives_up_where_everything_fails() -> None:
    """Where no work ever succeeds the search ends by itself."""
    run = Refining(NoiseAware(BestFirst()).fresh(1), Refinement(0))
    failures = 0
    for _ in range(300):
        run._fill()
        if not run.tree.in_flight:
            break
        work = next(iter(run.tree.in_flight.values()))
        failures += 1
        run._take(Failed(work.id, work.node, "ModelTimeout", ""))
    assert not run.tree.in_flight
    assert failures < 100
    assert run.strategy.select(run.tree) is None


def test_a_judge_that_fails_holds_nothing_up() -> None:
    """Where second looks fail the search goes on without them."""
    run = Refining(NoiseAware(BestFirst(depth=50)).fresh(1), Refinement(0, noise=0.1))
    for _ in range(120):
        run._fill()
        work = next(iter(run.tree.in_flight.values()))
        second = isinstance(work, Score) and bool(work.verifiers)
        run._take(Failed(work.id, work.node, "VerifierError", "") if second else run._done(work))
    assert len(run.drafts) > 20


def test_by_name() -> None:
    """On the command line it stands before the strategy that it runs."""
    assert parse_strategy("noise-aware") == NoiseAware(BestFirst())
    assert parse_strategy("noise-aware:best-of-n:n=3") == NoiseAware(BestOfN(n=3))
    with pytest.raises(UsageError, match="twice"):
        parse_strategy("noise-aware:noise-aware")


@pytest.mark.parametrize(
    "wrong", [{"right": 1.2}, {"accept": -1}, {"abstain": -0.1}, {"certainty": 0}, {"optimism": -1}, {"reserve": 1.0}]
)
def test_wrong_use(wrong: dict[str, Any]) -> None:
    """A parameter out of range is refused with its name."""
    with pytest.raises(UsageError, match=next(iter(wrong))):
        NoiseAware(**wrong)
