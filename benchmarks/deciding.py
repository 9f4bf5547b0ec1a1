"""What the decisions of teams come to in simulation: which search is chosen, when edits stop, which logic block comes next.

    python benchmarks/deciding.py [--json] [--problems 3000]

No model is asked: the worlds are those of `core/simulated`, the decisions those of `search.UCB`, `teams.ConstraintLoop` and the
navigators, as the graphs make them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from branchwise.core.simulated.artifacts import Constraints as World
from branchwise.core.simulated.blocks import BlockWorld, Standing
from branchwise.graphs.solve import best
from branchwise.graphs.teams import ConstraintLoop
from branchwise.graphs.teams.constraining import Row
from branchwise.search import UCB, BlockRules, BlockScores, BlockSituation, BlockTable, BlockVisit, WanderingBlocks
from branchwise.search.bandit import Arm
from branchwise.search.navigation import Navigator
from branchwise.verifiers import Constraint

CHANCES = {"low": 0.3, "middle": 0.5, "best": 0.6}
OTHER = BlockWorld(easy=0.85, hard=0.5, debated=0.9, mends=0.5)


# --- which search is chosen -------------------------------------------------------------------------------------------


def pulled(bandit: UCB, rounds: int, seed: int, suits: Mapping[str, float] | None = None) -> float:
    """Return the share of rounds in which the best arm is taken."""
    rng, arms, taken = random.Random(seed), dict.fromkeys(CHANCES, Arm()), 0
    for _ in range(rounds):
        name = bandit.choose(arms, suits)
        arms[name] = arms[name].after(float(rng.random() < CHANCES[name]))
        taken += name == "best"
    return taken / rounds


def bandits(problems: int) -> dict[str, float]:
    """Return how often the best of three arms is taken."""
    right, wrong = {"low": 0.0, "middle": 0.0, "best": 1.0}, {"low": 1.0, "middle": 0.0, "best": 0.0}
    few = max(1, problems // 10)
    return {
        "300 rounds without a prior": fmean(pulled(UCB(prior=0), 300, seed) for seed in range(few)),
        "first 5 rounds, the prior is right": fmean(pulled(UCB(), 5, seed, right) for seed in range(problems)),
        "first 60 rounds, the prior is wrong": fmean(pulled(UCB(), 60, seed, wrong) for seed in range(few)),
    }


# --- when edits stop --------------------------------------------------------------------------------------------------


def mends(team: ConstraintLoop, world: World, seed: int, *, tpr: float = 1.0, fpr: float = 0.0) -> bool:
    """Return whether the loop's kept artifact meets all constraints in truth."""
    rng, rows = random.Random(seed), list[Row]()
    made: dict[str, str] = {}

    def check(name: str, artifact: str) -> None:
        made[name] = artifact
        met = [n for n, digit in enumerate(artifact) if rng.random() < (tpr if digit == "1" else fpr)]
        value = len(met) / world.count
        rows.append({"name": name, "node": 1, "value": value, "passed": value == 1.0, "met": met})

    check("draft", world.fresh(rng))
    while team.goes_on(rows):
        row = best(rows)
        violated = set(range(world.count)) - {*row["met"]}
        check(f"edit{len(rows)}", world.edited(made[str(row["name"])], rng, violated))
    return "0" not in made[str(best(rows)["name"])]


def loops(problems: int) -> dict[str, float]:
    """Return the share of problems of which all constraints are met in the end."""
    constraints = tuple(Constraint(f"digit {n} is 1") for n in range(8))
    teams = {patience: ConstraintLoop(constraints, patience=patience) for patience in (1, 2, None)}
    anew = World(start=0.6)
    found = {
        f"four edits, patience={patience}": fmean(mends(team, World(), seed) for seed in range(problems))
        for patience, team in teams.items()
    }
    found["the same, patience=None, a checker at random"] = fmean(
        mends(teams[None], World(), seed, tpr=0.5, fpr=0.5) for seed in range(problems)
    )
    found["five drafts made anew, each constraint met with .6"] = fmean(
        any("0" not in anew.fresh(random.Random(f"{seed} {n}")) for n in range(5)) for seed in range(problems)
    )
    return found


# --- which block comes next -------------------------------------------------------------------------------------------


def played(world: BlockWorld, navigator: Navigator, seed: int) -> list[BlockVisit]:
    """Return a problem taken to its end."""
    numbers = iter(range(1000))
    visits: list[BlockVisit] = []

    def choose(standing: Standing, marks: tuple[int, ...]) -> str:
        told = BlockSituation(BlockScores(marks), answered=standing.steps >= world.length, divided=standing.divided)
        block = navigator.choose(told, seed * 1000 + next(numbers))
        visits.append(BlockVisit(told, block, 0.0))
        return block

    rewards = [reward for *_, reward in world.play(choose, seed)]
    return [BlockVisit(v.situation, v.block, reward) for v, reward in zip(visits, rewards, strict=True)]


def navigators(problems: int) -> dict[str, float]:
    """Return what navigators come to, as a share of what one comes to who sees the truth."""
    here = BlockWorld()
    log = [played(here, WanderingBlocks(share=0.5), seed) for seed in range(2000)]
    chosen: dict[str, Navigator] = {
        "any block": WanderingBlocks(),
        "rules": BlockRules(),
        "learned from 2,000 runs": BlockTable.fit(log),
    }
    return {
        f"{name}, {where}": fmean(
            sum(visit.reward for visit in played(world, navigator, 10**6 + seed)) for seed in range(problems)
        )
        / world.optimum
        for where, world in (("where it was learned", here), ("where blocks succeed less", OTHER))
        for name, navigator in chosen.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--problems", type=int, default=3000, help="problems of each kind")
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {
        "the best of three arms is taken (share of rounds)": bandits(options.problems),
        "all of eight constraints are met (share of problems)": loops(options.problems),
        "logic blocks (share of the best return)": navigators(options.problems),
    }
    if options.json:
        print(json.dumps(found))
        return
    for title, rows in found.items():
        table = Table("", "", title=title, title_justify="left", show_header=False)
        for name, value in rows.items():
            table.add_row(name, f"{value:.3f}")
        Console().print(table)


if __name__ == "__main__":
    main()
