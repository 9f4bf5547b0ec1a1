"""The demonstration on pages: one trajectory against search in a small shop, same model, same tokens, the shop's own state as the judge.

Run it with `make demo-web`, or `python examples/demo_web.py [TASK ...]`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from shop import TASKS, Shop
from shopper import MODEL, shopper

import branchwise as bw
from branchwise.cli.tree_view import draw
from branchwise.core.events import Event, Expanded, Within
from branchwise.models import connect

CHOSEN = ("lamp", "green-cushion", "take-out-kettle", "log-in", "last-of-audio")
TOKENS = 12_000
"""For every task and way: read and sampled tokens of all calls, those that came from the cache included."""
SLOTS = 2
CONTEXT_TOKENS = 4096
WAYS = {"one trajectory": False, "search": True}


@dataclass
class Scores:
    """The table that fills up while the demonstration runs."""

    names: list[str]
    tokens: int
    results: dict[tuple[str, str], bw.Result] = field(default_factory=dict[tuple[str, str], bw.Result])
    now: tuple[str, str] | None = None
    last: str = ""
    """What was done last, and where."""
    steps: int = 0

    def __rich__(self) -> Table:
        table = Table(
            title=f"Five tasks in a shop, {self.tokens} tokens for each" if len(self.names) == 5 else "Tasks in a shop",
            caption=escape(self.last[:100]),
        )
        table.add_column("task")
        for way in WAYS:
            table.add_column(way, justify="right")
        for name in self.names:
            table.add_row(name, *(self.cell(way, name) for way in WAYS))
        table.add_section()
        table.add_row("[bold]done", *(f"[bold]{self.done(way)} of {len(self.names)}" for way in WAYS))
        for title, key in (("tokens", "tokens"), ("of them sampled", "completion_tokens"), ("calls", "calls")):
            table.add_row(title, *(str(sum(getattr(r.usage, key) for r in self.of(way))) for way in WAYS))
        table.add_row("seconds", *(f"{sum(r.seconds for r in self.of(way)):.0f}" for way in WAYS))
        return table

    def of(self, way: str) -> list[bw.Result]:
        """The results of one way so far."""
        return [result for (done, _), result in self.results.items() if done == way]

    def done(self, way: str) -> int:
        """How many tasks were done in one way so far."""
        return sum(result.accepted for result in self.of(way))

    def cell(self, way: str, name: str) -> str:
        """What the table says about a task."""
        result = self.results.get((way, name))
        if result is None:
            return f"[cyan]step {self.steps}[/]" if (way, name) == self.now else ""
        mark = "[green]✔ done[/]" if result.accepted else "[red]✘[/]"
        return f"{mark} {len(result.tree) - 1:2d} steps {result.usage.tokens:6d} tok {result.seconds:4.0f} s"

    def heard(self, event: Event | Within) -> None:
        """Take in what happens."""
        if isinstance(event, Expanded):
            self.steps += 1
            place = event.node.place
            self.last = "" if place is None else f"{place.action} -> {place.address}"


async def main(names: list[str], tokens: int, console: Console, model: bw.Model | None = None) -> int:
    """Do every task in both ways; return the exit status.

    Args:
        names: of the tasks.
        tokens: for each task and way.
        console: where it is shown.
        model: the embedded one unless given.
    """
    scores, began = Scores(names, tokens), time.monotonic()
    if model is None:
        console.print("Starting the model …", style="dim")
        model = await connect(MODEL, slots=SLOTS, context_tokens=CONTEXT_TOKENS)
    live = console.is_terminal
    with Shop() as shop, Live(scores, console=console, refresh_per_second=2) if live else nullcontext():
        for name in names:
            for way, search in WAYS.items():
                scores.now, scores.steps = (way, name), 0
                task = TASKS[name].on(shop)
                agent = replace(shopper(task, model, search=search), slots=SLOTS if search else 1)
                async for event in agent.stream(task.goal, budget=bw.Budget(tokens=tokens), seed=1):
                    if isinstance(event, bw.Result):
                        scores.results[way, name] = event
                    else:
                        scores.heard(event)
                if not live:
                    console.print(f"{name}, {way}: {scores.cell(way, name)}", highlight=False)
    await model.aclose()
    if not live:
        console.print(scores)
    _show_tree(scores, console)
    alone, search_done = (scores.done(way) for way in WAYS)
    console.print(
        f"\nOne trajectory did {alone} of {len(names)} tasks, search {search_done} of {len(names)}, with the same model and at most the same "
        f"tokens for each ({time.monotonic() - began:.0f} s in all). Whether a task is done is looked up in the shop's state.",
        style="bold",
        highlight=False,
    )
    return 0


def _show_tree(scores: Scores, console: Console) -> None:
    """Print the tree of a search, one that did what the single trajectory did not where there is such."""
    searches = {name: result for (way, name), result in scores.results.items() if way == "search"}
    won = {
        name: result
        for name, result in searches.items()
        if result.accepted and not scores.results["one trajectory", name].accepted
    }
    name, result = max((won or searches).items(), key=lambda one: len(one[1].tree))
    console.print("\nThe tree of one search (value: how near the page looks to the goal; 1 where it is done):")
    console.print(draw(result.tree, title=name, most=40))
    console.print(f"Look closer, with pictures: branchwise view {result.run_id}", style="dim", highlight=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"some of: {', '.join(TASKS)}")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="for each task and way")
    given = parser.parse_args()
    if unknown := set(given.tasks) - set(TASKS):
        parser.error(f"no such task: {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}")
    try:
        sys.exit(asyncio.run(main(given.tasks or list(CHOSEN), given.tokens, Console())))
    except bw.BranchwiseError as error:
        sys.exit(f"demo-web: {error}")
