"""Searching with a noisy verifier at equal calls: how many problems are solved, ours and peers' in the same run.

The problem is `branchwise.core.simulated.refinement.Refinement`: 16 bits, each right or wrong; a child keeps 95 % of its parent's right
bits and mends some of the wrong ones; a verifier reports the share of right bits with errors. Every generation and every
verdict is one call, and everybody has the same number of calls. Solved: all bits of the candidate that was chosen are right.
The problems are none of those that anything was tuned on.

    python benchmarks/refinement.py [--json] [--problems 300] [--calls 256] [--conditions sigma_0 sigma_15]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from math import sqrt
from typing import Any

from refinement_peers import PEERS, Solver
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.core.simulated.refinement import Draft, Refinement, Refining
from branchwise.search.calibration import Calibration, expected_calibration_error, threshold_for


def _half(sigma: float) -> dict[str, float]:
    """Errors of which half the variance is a call's own, and half persists and is inherited by refined candidates."""
    return {"noise": sigma / sqrt(2), "persistent": sigma / sqrt(2), "inherited": 0.8}


CONDITIONS: dict[str, dict[str, Any]] = {
    "sigma_0": {},
    "sigma_10": {"noise": 0.10},
    "sigma_15": {"noise": 0.15},
    "sigma_25": {"noise": 0.25},
    "correlated_10": _half(0.10),
    "correlated_15": _half(0.15),
    "correlated_25": _half(0.25),
    "traps_0": {"traps": 0.05},
    "traps_10": {"traps": 0.05, "noise": 0.10},
    "traps_15": {"traps": 0.05, "noise": 0.15},
    "traps_25": {"traps": 0.05, "noise": 0.25},
    "persistent_10": {"persistent": 0.10},
    "mixed_10": {"noise": 0.10, "persistent": 0.10},
    "two_judges_10": {"noise": 0.10, "persistent": 0.10, "judges": 2, "shared": 0.5},
    "unclipped_15": {"noise": 0.15, "clipped": False},
}
"""What goes wrong: noise of each call; errors that persist for a candidate and that descendants inherit; traps that look
better than they are; errors that persist alone, with noise, with a second judge whose errors are like the first one's (which
only ours asks, and pays for); scores that are not cut off."""

FIRST_PROBLEM = 100_000
"""Of the problems that are reported on; smaller numbers are for tuning."""

DEPTH = 200
"""Longer than any chain that the calls allow: nothing is cut off."""

PATIENCE = 0.02
"""Of both best-first searches of ours: a step changes little here."""

PROMISED = (0.7, 0.8, 0.9)
"""Precisions for which a threshold is asked."""

OURS = "NoiseAware(BestFirst())"

Outcomes = Sequence[tuple[float, bool]]
"""Confidence and success on each problem."""


def noise_aware(world: Refinement, calls: int) -> tuple[Draft | None, float | None]:
    """Ours, as it comes."""
    strategy = bw.search.NoiseAware(bw.search.BestFirst(depth=DEPTH, patience=PATIENCE), right=world.least_right)
    run = Refining(strategy.fresh(world.seed), world, calls)
    chosen = run.run()
    assert isinstance(run.strategy, bw.search.NoiseAware)
    return chosen, run.strategy.appraise(run.tree).confidence


def best_first(world: Refinement, calls: int) -> tuple[Draft | None, float | None]:
    """The same search that takes scores at their word."""
    return Refining(bw.search.BestFirst(depth=DEPTH, patience=PATIENCE).fresh(world.seed), world, calls).run(), None


SOLVERS: dict[str, Solver] = {OURS: noise_aware, "BestFirst(), ours": best_first, **PEERS}


@dataclass(frozen=True)
class Figures:
    """How one solver fared under one condition."""

    solved: float
    error: float
    """Standard error of `solved`."""
    outcomes: Outcomes = ()
    """Where it says how sure it is."""


def measure(solver: str, condition: str, problems: int, calls: int) -> Figures:
    """Let a solver work on all problems."""
    solved = 0
    outcomes: list[tuple[float, bool]] = []
    for seed in range(FIRST_PROBLEM, FIRST_PROBLEM + problems):
        chosen, confidence = SOLVERS[solver](Refinement(seed, **CONDITIONS[condition]), calls)
        right = chosen is not None and chosen.right
        solved += right
        if confidence is not None:
            outcomes.append((confidence, right))
    share = solved / problems
    return Figures(share, sqrt(share * (1 - share) / problems), tuple(outcomes))


@dataclass(frozen=True)
class Trust:
    """What confidences are worth on problems that they were not calibrated on."""

    calibration_error: float
    precision: Mapping[float, float | None]
    """Share of right answers among those above the threshold for a promised precision; None where none is."""
    answered: Mapping[float, float]


def trust(rows: Iterable[Outcomes]) -> Trust:
    """Calibrate each condition on every other problem, and look at the rest; then the other way round."""
    held_out: list[tuple[float, bool]] = []
    answers: dict[float, list[bool]] = {promised: [] for promised in PROMISED}
    for outcomes in rows:
        for known, rest in ((outcomes[::2], outcomes[1::2]), (outcomes[1::2], outcomes[::2])):
            calibration = Calibration.fit(known)
            held_out += [(calibration(confidence), right) for confidence, right in rest]
            for promised, given in answers.items():
                threshold = threshold_for(promised, known)
                given += [right for confidence, right in rest if confidence >= threshold]
    return Trust(
        expected_calibration_error(held_out),
        {promised: sum(given) / len(given) if given else None for promised, given in answers.items()},
        {promised: len(given) / len(held_out) for promised, given in answers.items()},
    )


# --- putting it together ----------------------------------------------------------------------------------------------

Found = dict[str, dict[str, Figures]]
"""Figures by solver and condition."""


def collect(progress: Progress, names: Sequence[str], problems: int, calls: int) -> Found:
    """Run everything, a process for each processor."""
    bar = progress.add_task("measuring", total=len(SOLVERS) * len(names))
    found: Found = {solver: {} for solver in SOLVERS}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = {
            pool.submit(measure, solver, name, problems, calls): (solver, name) for name in names for solver in SOLVERS
        }
        for job in as_completed(jobs):
            solver, name = jobs[job]
            found[solver][name] = job.result()
            progress.update(bar, advance=1, description=f"{name}, {solver}")
    return found


def best_peer(found: Found, condition: str) -> str:
    """Return the name of the solver that is best beside ours."""
    return max((solver for solver in found if solver != OURS), key=lambda solver: found[solver][condition].solved)


def behind(found: Found, condition: str) -> float:
    """Return by how many standard errors of the difference ours is behind the best peer; negative where it is ahead."""
    ours, peer = found[OURS][condition], found[best_peer(found, condition)][condition]
    error = sqrt(ours.error**2 + peer.error**2)
    return (peer.solved - ours.solved) / error if error else 0.0


def table(found: Found, names: Sequence[str], problems: int, calls: int) -> Table:
    """The figures for people."""
    trusted = trust(found[OURS][name].outcomes for name in names)
    promises = "; ".join(
        f"promised {promised:g}: {trusted.answered[promised]:.2f} answered, "
        + ("none" if (precision := trusted.precision[promised]) is None else f"{precision:.3f} of them right")
        for promised in PROMISED
    )
    view = Table(
        title=f"share solved of {problems} problems at {calls} calls (generations + verdicts)",
        caption=f"confidence, calibrated on other problems: calibration error {trusted.calibration_error:.3f}; {promises}",
    )
    view.add_column("")
    for solver in found:
        view.add_column(
            solver.replace(", ", "\n").replace("(B", "\n(B").replace(" ", "\n"), justify="right", no_wrap=True
        )
    for name in names:
        best = best_peer(found, name)
        view.add_row(
            name,
            *(
                f"[b]{row[name].solved:.3f}[/]" if s in (OURS, best) else f"{row[name].solved:.3f}"
                for s, row in found.items()
            ),
        )
    return view


def to_json(found: Found, names: Sequence[str]) -> dict[str, Any]:
    """The figures for programs."""
    row: dict[str, Any] = {}
    for name in names:
        best = best_peer(found, name)
        row[f"solved_{name}"] = round(found[OURS][name].solved, 3)
        row[f"best_peer_{name}"] = round(found[best][name].solved, 3)
        row[f"best_peer_name_{name}"] = best
        row[f"standard_errors_behind_{name}"] = round(behind(found, name), 2)
    trusted = trust(found[OURS][name].outcomes for name in names)
    row["calibration_error_held_out"] = round(trusted.calibration_error, 3)
    for promised in PROMISED:
        precision = trusted.precision[promised]
        row[f"precision_promised_{100 * promised:.0f}"] = None if precision is None else round(precision, 3)
        row[f"answered_promised_{100 * promised:.0f}"] = round(trusted.answered[promised], 3)
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--calls", type=int, default=256, help="generations and verdicts together, for each problem")
    parser.add_argument("--conditions", nargs="*", default=list(CONDITIONS), choices=list(CONDITIONS))
    given = parser.parse_args()
    if given.problems < 20:
        parser.error(f"--problems {given.problems}: at least 20, for half of them calibrate")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        found = collect(progress, given.conditions, given.problems, given.calls)
    if given.json:
        print(json.dumps(to_json(found, given.conditions)))
    else:
        Console(width=max(120, Console().width)).print(table(found, given.conditions, given.problems, given.calls))


if __name__ == "__main__":
    main()
