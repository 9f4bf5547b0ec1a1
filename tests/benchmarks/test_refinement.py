"""The benchmark of refinement: everybody has the same calls, and the figures say what was measured."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
import refinement

from branchwise.core.simulated.refinement import Draft, Refinement


@dataclass(frozen=True)
class Counted(Refinement):
    """A problem that counts generations and verdicts."""

    calls: list[str] = field(default_factory=list[str])

    def fresh(self, rng: random.Random) -> Draft:
        """A new candidate."""
        self.calls.append("generation")
        return super().fresh(rng)

    def child(self, parent: Draft, rng: random.Random) -> Draft:
        """A refined candidate."""
        self.calls.append("generation")
        return super().child(parent, rng)

    def score(self, draft: Draft, rng: random.Random, judge: int = 0) -> float:
        """A verdict."""
        self.calls.append("verdict")
        return super().score(draft, rng, judge)


@pytest.mark.parametrize("solver", refinement.SOLVERS)
def test_everybody_has_the_same_calls(solver: str) -> None:
    """Of 96 calls nobody makes more, and nobody leaves more than a tenth."""
    problem = Counted(5, noise=0.15)
    chosen, confidence = refinement.SOLVERS[solver](problem, 96)
    assert 86 <= len(problem.calls) <= 96
    assert chosen is not None
    assert (confidence is not None) is (solver == refinement.OURS)
    if solver == refinement.OURS:
        assert problem.calls.count("verdict") > problem.calls.count("generation"), "it asks twice"


def test_the_best_peer_and_how_far_behind() -> None:
    """The best beside ours is named, and the distance is in standard errors of the difference."""
    found = {solver: {"sigma_10": refinement.Figures(0.2, 0.03)} for solver in refinement.SOLVERS}
    found[refinement.OURS] = {"sigma_10": refinement.Figures(0.4, 0.03, [(n / 40, n % 2 == 0) for n in range(40)])}
    found["particles, its-hub"] = {"sigma_10": refinement.Figures(0.5, 0.04)}
    row = refinement.to_json(found, ["sigma_10"])
    assert row["solved_sigma_10"] == 0.4
    assert (row["best_peer_sigma_10"], row["best_peer_name_sigma_10"]) == (0.5, "particles, its-hub")
    assert row["standard_errors_behind_sigma_10"] == pytest.approx(2.0)
    assert refinement.table(found, ["sigma_10"], 40, 256).row_count == 1


def test_confidence_is_judged_on_other_problems() -> None:
    """Confidences of which only the square comes true: calibrated on half, they are kept on the rest, and so are promises."""
    rng = random.Random(1)
    rows = [[(c := rng.random(), rng.random() < c * c) for _ in range(600)] for _ in range(3)]
    trusted = refinement.trust(rows)
    assert trusted.calibration_error < 0.04
    for promised in (0.7, 0.8):
        precision = trusted.precision[promised]
        assert precision is not None
        assert precision >= promised - 0.03
        assert 0 < trusted.answered[promised] < 0.5
