"""Further rounds of a judge: only where they are shown to help; the detector of complete solutions."""

from __future__ import annotations

import random

import pytest

from branchwise.core.errors import UsageError, VerifierError
from branchwise.core.simulated.critics import SimulatedCritic, fences
from branchwise.core.testing import ScriptedModel
from branchwise.core.types import ROOT, ModelRequest, Node, NodeId, Step, Task
from branchwise.verifiers import Complete, Judge, extra_rounds, known_candidate, known_outcomes, rounds_slope
from branchwise.verifiers.showing import shown

from .judged import candidate_of, tree_of


def outcomes(delta: float, seed: int, n: int = 400) -> list[list[bool]]:
    """A judge that is right with .65, and with `delta` more after each further round."""
    rng = random.Random(seed)
    return [[rng.random() < 0.65 + delta * rounds for rounds in range(4)] for _ in range(n)]


def test_the_sign_of_the_slope_is_found_with_95_percent_power_at_400() -> None:
    """Over 120 calibration sets: with .05 a round further rounds are enabled, with -.05 never, with 0 in one of twenty (ablation)."""
    enabled = {
        delta: sum(extra_rounds(outcomes(delta, seed)) > 0 for seed in range(120)) / 120 for delta in (0.05, 0.0, -0.05)
    }
    assert enabled[0.05] >= 0.95
    assert enabled[-0.05] == 0.0
    assert enabled[0.0] <= 0.05 + 4 * (0.05 * 0.95 / 120) ** 0.5


def test_the_slope_is_measured_on_the_same_candidates() -> None:
    """In accuracy per round, with its error; as many rounds as were best."""
    slope = rounds_slope(outcomes(0.05, 1))
    assert slope.mean == pytest.approx(0.05, abs=4 * slope.error)
    assert slope.positive()
    peaked = [[number % 3 == 0, number % 2 == 0, number % 5 != 0, number % 5 != 1] for number in range(60)]
    assert extra_rounds(peaked) == 2
    for rows in ([[True, False]] * 29, [[True]] * 30, [[True, False], [True]] * 20):
        with pytest.raises(UsageError, match="tell nothing of a slope"):
            rounds_slope(rows)


async def test_a_judge_is_tried_on_known_answers() -> None:
    """Whether it is right about them after each number of rounds; a critic that never errs is right always."""
    known = [
        (Task(prompt="2 + 3?"), f"right {number}" if number % 2 else "wrong", bool(number % 2)) for number in range(6)
    ]
    model = ScriptedModel(SimulatedCritic(lambda text: float("right" in text)))
    rows = await known_outcomes(Judge(), known, model, most=2)
    assert rows == [[True] * 3] * 6
    assert len(model.requests) == 6 * (1 + 2 + 3)


async def test_an_answer_outside_of_a_search_has_no_sandbox() -> None:
    """Said in words where a verifier wants one."""
    candidate = known_candidate(Task(prompt="?"), "5")
    with pytest.raises(UsageError, match="has no sandbox"):
        candidate.open(None)
    with pytest.raises(VerifierError, match="no model"):
        await Judge().judge(candidate)


async def test_a_detector_sees_what_an_unfinished_turn_has_said_so_far() -> None:
    """Whole, without gaps between the segments, and answers with one token."""
    tree = tree_of()
    for number, text in enumerate(["The sum ", "is 5, so we", " are done. But"], 1):
        tree._nodes[NodeId(number)] = Node(NodeId(number), NodeId(number - 1), Step("partial", text), None, number)
    asked: list[ModelRequest] = []

    def script(request: ModelRequest) -> str:
        asked.append(request)
        return '{"verdict": "yes"}'

    verdict = await Complete().judge(candidate_of(tree, 3, model=ScriptedModel(script)))
    assert (verdict.value, verdict.passed, verdict.semantics, verdict.verifier) == (1.0, None, "likelihood", "complete")
    assert fences(asked[0])["solution"] == "The sum is 5, so we are done. But"
    assert asked[0].sampling.max_tokens <= 24
    tree._nodes[NodeId(4)] = Node(NodeId(4), NodeId(3), Step("answer", " yes."), None, 4, answer="x")
    assert shown(candidate_of(tree, 4), "steps") == "The sum is 5, so we are done. But yes.\n\nFinal answer: x"
    assert tree.root.id == ROOT
