"""Pages: what scripts achieve, what looks, steps and containers cost, whether forks are exact, what episodes leave behind.

    python benchmarks/web.py [--json] [--parts oracles looks forks steps episodes contained pictures] [--seeds 3] [--only NAME ...] [--repeats 15]
        [--points 200] [--begin 0] [--episodes 1000]

Each part is a module beside this one (`web_oracles` ...), which says what it measures. Tree search over pages is `benchmarks/web_search.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import web_contained
import web_episodes
import web_forks
import web_looks
import web_oracles
import web_pictures
import web_steps
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

Figures = dict[str, float]
Part = Callable[[Progress, argparse.Namespace], Awaitable[Figures]]

PARTS: dict[str, Part] = {
    "oracles": lambda bar, given: web_oracles.measure(bar, given.seeds, given.only),
    "looks": lambda bar, given: web_looks.measure(bar, given.repeats),
    "forks": lambda bar, given: web_forks.measure(bar, given.points, given.begin),
    "steps": lambda bar, _: web_steps.measure(bar),
    "episodes": lambda bar, given: web_episodes.measure(bar, given.episodes),
    "contained": lambda bar, _: web_contained.measure(bar),
    "pictures": lambda bar, _: web_pictures.measure(bar),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is to be."""

    most: float | None = None
    least: float | None = None

    def __str__(self) -> str:
        return f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}"

    def met(self, value: float) -> bool:
        """Whether it is."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


GOALS = {
    "miniwob_tasks_oracle_solved": Goal(least=100),
    "miniwob_targets_seen": Goal(least=0.97),
    "shop_tasks_oracle_solved": Goal(least=30),
    "observation_tokens_email": Goal(most=300),
    "observation_tokens_list": Goal(most=3100),
    "observation_tokens_long": Goal(most=2000),
    "observation_ms_email": Goal(most=15),
    "observation_ms_list": Goal(most=60),
    "observation_ms_long": Goal(most=120),
    "observation_ms_over_best_peer": Goal(most=1),
    "observation_tokens_over_best_peer_long_page": Goal(most=round(1 / 30, 4)),
    "fork_wrong": Goal(most=0),
    "step_ms_median": Goal(most=200),
    "steps_per_second": Goal(least=5),
    "reset_ms_median": Goal(most=200),
    "back_ms_median_depth_5": Goal(most=700),
    "episodes_processes_left": Goal(most=0),
    "episodes_contexts_left": Goal(most=0),
    "episodes_folders_left": Goal(most=0),
}


async def measure(parts: list[str], given: argparse.Namespace) -> Figures:
    """Return the figures of some parts."""
    figures: Figures = {}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for name in parts:
            begun = time.monotonic()
            figures |= await PARTS[name](bar, given)
            figures[f"{name}_seconds"] = round(time.monotonic() - begun, 1)
    return figures


def table(figures: Figures) -> Table:
    """The figures for people, with the goals beside them."""
    view = Table("figure", "value", "goal", "")
    for name, value in figures.items():
        goal = GOALS.get(name)
        met = "" if goal is None else "yes" if goal.met(value) else "no"
        view.add_row(name.replace("_", " "), f"{value:g}", "" if goal is None else str(goal), met)
    return view


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="what is measured")
    parser.add_argument("--seeds", type=int, default=3, help="oracles: seeds of each task of MiniWoB++")
    parser.add_argument("--only", nargs="*", default=[], help="oracles: names of tasks (default: all)")
    parser.add_argument("--repeats", type=int, default=15, help="looks: looks at every page")
    parser.add_argument("--points", type=int, default=200, help="forks: branch points")
    parser.add_argument("--begin", type=int, default=0, help="forks: number of the first branch point")
    parser.add_argument("--episodes", type=int, default=1000, help="episodes: how many")
    given = parser.parse_args()
    figures = asyncio.run(measure(given.parts, given))
    if given.json:
        print(json.dumps(figures))
    else:
        Console().print(table(figures))


if __name__ == "__main__":
    main()
