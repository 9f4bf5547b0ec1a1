"""The demonstration: one trajectory against search, same model, same budget, real tests.

Run it with `make demo`, or `python examples/demo.py [REPO ...]`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from coder import coder
from rich.console import Console
from rich.live import Live
from rich.table import Table

import branchwise as bw
from branchwise.cli.tree_view import draw
from branchwise.models import connect

REPOS = Path(__file__).parent / "repos"
TASK = "Make the failing tests pass."
BUDGET = bw.Budget(completion_tokens=800)
"""For every task, with and without search: sampled tokens, those of cancelled calls included."""

SETTINGS = {
    "one trajectory": replace(coder, search=None, slots=1, sampling=replace(coder.sampling, temperature=0.0)),
    "search": coder,
}
SIDE_BY_SIDE = {"one trajectory": 4, "search": 1}
"""How many tasks run at once: a search fills the model's four slots by itself, a single trajectory only one."""


class Scores:
    """The table that fills up while the demonstration runs."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.results: dict[tuple[str, str], bw.Result] = {}
        self.busy: set[tuple[str, str]] = set()
        self.seconds: dict[str, float] = {}
        """Wall clock of each setting."""

    def __rich__(self) -> Table:
        table = Table(title=f"{TASK} Budget per task: {BUDGET.completion_tokens} sampled tokens")
        table.add_column("repository")
        for setting in SETTINGS:
            table.add_column(setting, justify="right")
        for name in self.names:
            table.add_row(name, *(self.cell(setting, name) for setting in SETTINGS))
        table.add_section()
        table.add_row("[bold]solved", *(f"[bold]{self.solved(setting)} of {len(self.names)}" for setting in SETTINGS))
        table.add_row("sampled tokens", *(str(self.tokens(setting)) for setting in SETTINGS))
        table.add_row("seconds", *(f"{self.seconds.get(setting, 0):.0f}" for setting in SETTINGS))
        return table

    def cell(self, setting: str, name: str) -> str:
        """What the table says about a task."""
        result = self.results.get((setting, name))
        if result is None:
            return "[cyan]running[/]" if (setting, name) in self.busy else ""
        mark = "[green]✔ solved[/]" if result.accepted else f"[red]✘ {result.confidence or 0:.2f}[/]"
        return f"{mark}  {_sampled(result):4d} tok {result.seconds:4.0f} s"

    def solved(self, setting: str) -> int:
        """How many tasks a setting solved so far."""
        return sum(result.accepted for (done, _), result in self.results.items() if done == setting)

    def tokens(self, setting: str) -> int:
        """Tokens that a setting sampled so far."""
        return sum(_sampled(result) for (done, _), result in self.results.items() if done == setting)


def _sampled(result: bw.Result) -> int:
    return result.usage.completion_tokens + result.usage.cancelled_tokens


async def main(names: list[str], console: Console) -> int:
    """Run every task in every setting; return the exit status."""
    scores = Scores(names)
    began = time.monotonic()
    console.print("Starting the model …", style="dim")
    model = await connect(str(coder.model))
    with Live(scores, console=console, refresh_per_second=2) if console.is_terminal else nullcontext():
        for setting, agent in SETTINGS.items():
            await _run_all(scores, setting, replace(agent, model=model), console)
    await model.aclose()
    if not console.is_terminal:
        console.print(scores)
    _show_tree(scores, console)
    alone, search = (scores.solved(setting) for setting in SETTINGS)
    console.print(
        f"\nOne trajectory solved {alone} of {len(names)}, search {search} of {len(names)}, with the same model and the same "
        f"budget per task ({time.monotonic() - began:.0f} s in all).",
        style="bold",
        highlight=False,
    )
    return 0


async def _run_all(scores: Scores, setting: str, agent: bw.Agent, console: Console) -> None:
    """Run every task in one setting, a few side by side."""
    places = asyncio.Semaphore(SIDE_BY_SIDE[setting])
    began = time.monotonic()

    async def run(name: str) -> None:
        async with places:
            scores.busy.add((setting, name))
            scores.results[setting, name] = await agent.run(TASK, files=REPOS / name, budget=BUDGET, seed=1)
            scores.seconds[setting] = time.monotonic() - began
            if not console.is_terminal:
                console.print(f"{setting}, {name}: {scores.cell(setting, name)}", highlight=False)

    async with asyncio.TaskGroup() as group:
        for name in scores.names:
            group.create_task(run(name))


def _show_tree(scores: Scores, console: Console) -> None:
    """Print the tree of a task that only the search solved, the largest of them."""
    won = [
        result
        for (setting, name), result in scores.results.items()
        if setting == "search" and (result.accepted, scores.results["one trajectory", name].accepted) == (True, False)
    ]
    shown = max(won or [r for (s, _), r in scores.results.items() if s == "search"], key=lambda r: len(r.tree))
    name = next(n for (_, n), r in scores.results.items() if r is shown)
    console.print("\nThe tree of one search (value: share of the tests that pass):")
    console.print(draw(shown.tree, title=name, most=40))
    console.print(f"Look closer: branchwise view {shown.run_id}", style="dim", highlight=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    known = sorted(path.name for path in REPOS.iterdir() if path.is_dir() and path.name != "fixes")
    parser.add_argument("repos", nargs="*", metavar="REPO", help=f"some of: {', '.join(known)}")
    chosen = parser.parse_args().repos or known
    if unknown := set(chosen) - set(known):
        parser.error(f"no such repository: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    try:
        sys.exit(asyncio.run(main(chosen, Console())))
    except bw.BranchwiseError as error:
        sys.exit(f"demo: {error}")
