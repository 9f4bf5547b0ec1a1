# The peers' signatures are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
"""Searching with a noisy verifier at equal calls: how many problems are solved, ours and peers' in the same run.

The problem is `branchwise.core.refinement.Refinement`: 16 bits, each right or wrong; a child keeps 95 % of its parent's right
bits and mends some of the wrong ones; a verifier reports the share of right bits with errors. Every generation and every
verdict is one call, and everybody has the same number of calls. Solved: all bits of the candidate that was chosen are right.

    python benchmarks/refinement.py [--json] [--problems 300] [--calls 256] [--conditions 0 .15]
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.core.refinement import Draft, Refinement, Refining
from branchwise.search.calibration import Calibration, expected_calibration_error, threshold_for

CONDITIONS: dict[str, dict[str, float | bool]] = {
    "sigma_0": {},
    "sigma_10": {"noise": 0.10},
    "sigma_15": {"noise": 0.15},
    "sigma_25": {"noise": 0.25},
    "unclipped_15": {"noise": 0.15, "clipped": False},
    "persistent_10": {"persistent": 0.10},
    "mixed_10": {"noise": 0.10, "persistent": 0.10},
    "inherited_10": {"noise": 0.10, "persistent": 0.10, "inherited": 0.8},
    "traps_0": {"traps": 0.05},
    "traps_10": {"noise": 0.10, "traps": 0.05},
}
"""What goes wrong: noise of each call; scores that are not cut off; errors that persist for a candidate, alone, with noise and
with descendants that inherit them; traps that look better than they are."""

DEPTH = 200
"""Longer than any chain that the calls allow: nothing is cut off."""

PATIENCE = 0.02
"""Of both best-first searches of ours: a step changes little here."""

PROMISED = 0.8
"""Precision for which a threshold is asked."""

Solver = Callable[[Refinement, int], tuple[Draft | None, float | None]]
"""Takes a problem and a number of calls; returns what it chose, and how sure it is where it says so."""


# --- ours -------------------------------------------------------------------------------------------------------------


def noise_aware(world: Refinement, calls: int) -> tuple[Draft | None, float | None]:
    strategy = bw.search.NoiseAware(bw.search.BestFirst(depth=DEPTH, patience=PATIENCE), right=world.least_right).fresh(
        world.seed
    )
    run = Refining(strategy, world, calls)
    chosen = run.run()
    return chosen, strategy.appraise(run.tree).confidence


def best_first(world: Refinement, calls: int) -> tuple[Draft | None, float | None]:
    return Refining(bw.search.BestFirst(depth=DEPTH, patience=PATIENCE).fresh(world.seed), world, calls).run(), None


# --- peers and baselines: one verdict for every generation, the best score is chosen -----------------------------------


def best_scored(world: Refinement, calls: int, parent: Callable[[list[Draft]], Draft | None]) -> tuple[Draft, None]:
    """Generate from the parent that `parent` names, None: afresh."""
    rng = random.Random(f"{world.seed} baseline")
    drafts: list[Draft] = []
    scores: list[float] = []
    for _ in range(calls // 2):
        above = parent(drafts)
        drafts.append(world.fresh(rng) if above is None else world.child(above, rng))
        scores.append(world.score(drafts[-1], rng))
    return drafts[scores.index(max(scores))], None


def repeated_sampling(world: Refinement, calls: int) -> tuple[Draft, None]:
    return best_scored(world, calls, lambda _drafts: None)


def sequential_refinement(world: Refinement, calls: int) -> tuple[Draft, None]:
    return best_scored(world, calls, lambda drafts: drafts[-1] if drafts else None)


def treequest(make: Callable[[], Any]) -> Solver:
    """Run one of treequest's algorithms as its documentation does; its state is changed in place, which it is faster with."""

    def solve(world: Refinement, calls: int) -> tuple[Draft, None]:
        import treequest

        rng = random.Random(f"{world.seed} treequest")
        np.random.seed(world.seed)  # noqa: NPY002 - AB-MCTS draws from the global generator

        def generate(parent: Draft | None) -> tuple[Draft, float]:
            draft = world.fresh(rng) if parent is None else world.child(parent, rng)
            return draft, world.score(draft, rng)

        algorithm = make()
        state = algorithm.init_tree()
        for _ in range(calls // 2):
            state = algorithm.step(state, {"refine": generate}, inplace=True)
        return treequest.top_k(state, algorithm, k=1)[0][0], None

    return solve


def _peers() -> dict[str, Solver]:
    from treequest import ABMCTSA, StandardMCTS, TreeOfThoughtsBFSAlgo
    from treequest.algos.best_first_search import BestFirstSearchAlgo

    return {
        "repeated sampling": repeated_sampling,
        "sequential refinement": sequential_refinement,
        "best-first, ours plain": best_first,
        "best-first, treequest": treequest(BestFirstSearchAlgo),
        "ToT-BFS, treequest": treequest(TreeOfThoughtsBFSAlgo),
        "StandardMCTS, treequest": treequest(StandardMCTS),
        "AB-MCTS-A, treequest": treequest(ABMCTSA),
    }


# --- putting it together ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """How one solver fared under one condition."""

    solved: float
    outcomes: tuple[tuple[float, bool], ...] = ()
    """Confidence and success on each problem, for who says how sure it is."""


def measure(solve: Solver, condition: dict[str, Any], problems: int, calls: int) -> Figures:
    """Let a solver work on all problems."""
    solved = 0
    outcomes: list[tuple[float, bool]] = []
    for seed in range(problems):
        chosen, confidence = solve(Refinement(seed, **condition), calls)
        right = chosen is not None and chosen.right
        solved += right
        if confidence is not None:
            outcomes.append((confidence, right))
    return Figures(solved / problems, tuple(outcomes))


@dataclass(frozen=True)
class Trust:
    """What confidences are worth on problems that they were not calibrated on."""

    calibration_error: float
    precision: float | None
    """Share of right answers among those above the threshold for `PROMISED`; None where none is."""
    answered: float


def trust(rows: Iterable[Sequence[tuple[float, bool]]]) -> Trust:
    """Calibrate each condition on every other problem, and look at the rest; then the other way round."""
    held_out: list[tuple[float, bool]] = []
    answers: list[bool] = []
    for outcomes in rows:
        for known, rest in ((outcomes[::2], outcomes[1::2]), (outcomes[1::2], outcomes[::2])):
            calibration = Calibration.fit(known)
            threshold = threshold_for(PROMISED, known)
            held_out += [(calibration(confidence), right) for confidence, right in rest]
            answers += [right for confidence, right in rest if confidence >= threshold]
    precision = sum(answers) / len(answers) if answers else None
    return Trust(expected_calibration_error(held_out), precision, len(answers) / len(held_out))


def collect(progress: Progress, names: list[str], problems: int, calls: int) -> dict[str, dict[str, Figures]]:
    """Run everything; return figures by solver and condition."""
    solvers = {"best-first, ours NoiseAware": noise_aware, **_peers()}
    bar = progress.add_task("measuring", total=len(solvers) * len(names))
    found: dict[str, dict[str, Figures]] = {solver: {} for solver in solvers}
    for condition in names:
        for name, solve in solvers.items():
            progress.update(bar, description=f"{name}, {condition}")
            found[name][condition] = measure(solve, CONDITIONS[condition], problems, calls)
            progress.advance(bar)
    return found


def table(found: dict[str, dict[str, Figures]], names: list[str], problems: int, calls: int) -> Table:
    """The figures for people."""
    ours = next(iter(found))
    trusted = trust(found[ours][name].outcomes for name in names)
    precision = "none given" if trusted.precision is None else f"{trusted.precision:.3f} of them right"
    view = Table(
        title=f"share solved of {problems} problems at {calls} calls",
        caption=f"calibrated on other problems: calibration error {trusted.calibration_error:.3f}; answered with a promised "
        f"{PROMISED:g}: {trusted.answered:.3f}, {precision}",
    )
    view.add_column("")
    for solver in found:
        view.add_column(solver.replace(", ", "\n").replace(" ", "\n"), justify="right", no_wrap=True)
    for name in names:
        view.add_row(name, *(f"{row[name].solved:.3f}" for row in found.values()))
    return view


def to_json(found: dict[str, dict[str, Figures]], names: list[str]) -> dict[str, Any]:
    """The figures for programs."""
    ours, *peers = found
    row: dict[str, Any] = {}
    for name in names:
        best = max(peers, key=lambda peer: found[peer][name].solved)
        row[f"solved_{name}"] = round(found[ours][name].solved, 3)
        row[f"best_peer_{name}"] = round(found[best][name].solved, 3)
        row[f"best_peer_name_{name}"] = best
    trusted = trust(found[ours][name].outcomes for name in names)
    row["calibration_error_held_out"] = round(trusted.calibration_error, 3)
    row["precision_promised"] = PROMISED
    row["precision_held_out"] = None if trusted.precision is None else round(trusted.precision, 3)
    row["answered_share"] = round(trusted.answered, 3)
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
        Console(width=max(112, Console().width)).print(table(found, given.conditions, given.problems, given.calls))


if __name__ == "__main__":
    main()
