"""Searches that a model starts and joins (spawn and join) against one search alone, on Countdown, at equal context and equal latency.

By default the model is scripted: it tries operations in a random order and writes down each, so the only difference is who tries which
where. It is run by the product's own spawn and join. `--model NAME` has a real model do both instead; what was done is kept, so that it goes
on where it was stopped.

    python benchmarks/countdown.py [--json] [--puzzles 300] [--context 4000] [--model NAME] [--state FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from countdown_model import MODEL_PUZZLES, compare_named, model_table
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.agents.helpers import Helpers
from branchwise.core.events import Expanded, Within
from branchwise.core.settings import home
from branchwise.core.simulated.countdown import Countdown
from branchwise.core.simulated.explorer import Explorer, turn
from branchwise.core.testing import count_tokens
from branchwise.core.types import ROOT, Node, Task
from branchwise.graphs import LocalRunner, RunStore

LARGEST = 50
"""Of the numbers: with them the search alone solves about as many within 4,000 tokens as the paper's does, 60 %."""

GOALS = {"context": 83.4 - 60.0, "critical_path": 75.2 - 57.3}
"""How many points spawn and join was ahead of one search in Pan et al. (2025): at 4,000 tokens of context, and at 5 s latency."""

ALONE, DIVIDED, MADE_UP = "alone", "spawn and join", "made-up conclusions"


@dataclass(frozen=True)
class Played:
    """What became of a puzzle."""

    solved: bool
    longest_tokens: int
    """Longest context: a prompt with its reply."""
    critical_path_tokens: int
    """Sampled one after the other, whatever else was sampled meanwhile."""
    sampled_tokens: int
    """In all."""
    joined: tuple[str, ...] = ()
    """What each join brought."""


@bw.verifier
def solved(candidate: bw.Candidate) -> bool:
    """Judge an answer to a puzzle or a part of it exactly, against the whole."""
    return Countdown.read(str(candidate.task.inputs["puzzle"])).solved_by(candidate.answer or "")


async def play(
    puzzle: Countdown, explorer: Explorer, runner: LocalRunner, *, divided: bool, context_tokens: int
) -> Played:
    """Have the scripted model solve a puzzle, alone or with helpers.

    Args:
        puzzle: the puzzle.
        explorer: the model.
        runner: runs it.
        divided: whether it may start helpers.
        context_tokens: of the model.
    """
    model = explorer.model(context_tokens=context_tokens, slots=explorer.branches + 1)
    agent = bw.Agent(
        name="explorer",
        model=model,
        verifiers=[solved],
        spawn=bw.Spawn(width=256, share=1.0) if divided else None,
        search=bw.search.BestOfN(n=1, depth=200 if divided else 1),
        sampling=bw.Sampling(max_tokens=context_tokens),
    )
    task = Task(prompt=str(puzzle), inputs={"puzzle": str(puzzle)})
    items = [item async for item in runner.stream(agent, task, bw.Budget(), seed=1)]
    result = items[-1]
    assert isinstance(result, bw.Result)
    joins = [o.text for node in result.tree for c, o in _observed(node) if c == "join"]
    return Played(
        result.accepted, model.longest_tokens, critical_path(items[:-1]), result.usage.completion_tokens, tuple(joins)
    )


def _observed(node: Node) -> list[tuple[str, Any]]:
    step = node.step
    return [] if step is None else [(c.name, o) for c, o in zip(step.calls, step.observations, strict=False)]


# --- the critical path ------------------------------------------------------------------------------------------------


def critical_path(items: Iterable[Any]) -> int:
    """Return how many tokens were sampled one after the other in a run, from its event stream.

    A helper begins when the turn that starts it was sampled; a join ends with the last helper that it waited for.
    """
    nodes: dict[str, dict[int, Node]] = {}
    for item in items:
        path, event = (item.path, item.event) if isinstance(item, Within) else ("", item)
        if isinstance(event, Expanded):
            nodes.setdefault(path, {})[event.node.id] = event.node
    return _length("", nodes)


def _length(path: str, nodes: dict[str, dict[int, Node]]) -> int:
    """Return how long a search took from its beginning."""
    here, ends, sampled = nodes.get(path, {}), {int(ROOT): 0}, {int(ROOT): 0}
    for number, node in sorted(here.items()):
        assert node.parent is not None
        sampled[number] = ends[node.parent] + node.usage.completion_tokens
        ends[number] = max([sampled[number], *(_helpers_end(path, here, node, sampled, nodes))])
    return max(ends.values())


def _helpers_end(
    path: str, here: dict[int, Node], node: Node, sampled: dict[int, int], nodes: dict[str, dict[int, Node]]
) -> list[int]:
    trail = [node]
    while (parent := here.get(trail[-1].parent or 0)) is not None:
        trail.append(parent)
    started = {f"h{number}": helper.name for number, helper in enumerate(Helpers.of(trail[::-1]).started, start=1)}
    ends: list[int] = []
    for call in node.step.calls if node.step is not None and started else ():
        if call.name == "join":
            for name in call.arguments.get("helpers") or list(started):
                inner = f"{path}/{started[name]}" if path else started[name]
                ends.append(sampled[int(started[name].split(".")[0])] + _length(inner, nodes))
    return ends


def formula(puzzle: Countdown, explorer: Explorer, context_tokens: int) -> int:
    """Return the critical path by the method's own formula: over the rounds, what the parent says and the longest helper.

    Only where no helper is cut off by the context.
    """
    total, turns, forks = 0, 0, explorer.order(puzzle)
    for begin in range(0, len(forks), explorer.branches):
        replies = [explorer.alone(fork, context_tokens) for fork in forks[begin : begin + explorer.branches]]
        spawned, joined = explorer.divided(puzzle, turns, ""), explorer.divided(puzzle, turns + 1, "")
        total += count_tokens(spawned) + max(count_tokens(joined), *map(count_tokens, replies))
        turns += 2
        found = [str(json.loads(reply)["args"]["text"]) for reply in replies]
        if answer := next((text for text in found if text != "none"), None):
            return total + count_tokens(turn("answer", "", text=answer))
    return total + count_tokens(turn("answer", "", text="none"))


# --- putting it together ----------------------------------------------------------------------------------------------


async def collect(progress: Progress, puzzles: int, context_tokens: int) -> dict[str, list[Played]]:
    """Play all puzzles in each way. Alone also without a limit of the context, for what it does within a latency."""
    ways = {
        ALONE: (False, 0.0, context_tokens),
        f"{ALONE}, unlimited": (False, 0.0, 64 * context_tokens),
        DIVIDED: (True, 0.0, context_tokens),
        MADE_UP: (True, 1.0, context_tokens),
    }
    bar = progress.add_task("playing", total=puzzles * len(ways))
    found: dict[str, list[Played]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        runner = LocalRunner(RunStore(Path(folder)))
        for seed in range(puzzles):
            puzzle = Countdown.drawn(seed, largest=LARGEST)
            for way, (divided, made_up, context) in ways.items():
                explorer = Explorer(seed, made_up=made_up)
                found[way].append(await play(puzzle, explorer, runner, divided=divided, context_tokens=context))
                progress.advance(bar)
    return found


def share(rows: Sequence[bool]) -> float:
    """Return the share of the true ones, in percent."""
    return 100 * sum(rows) / len(rows)


def figures(found: dict[str, list[Played]], context_tokens: int) -> dict[str, Any]:
    """What is compared: at equal context, at equal latency, at equal work; and what of the other limits was used."""
    alone, free, divided, noise = (found[way] for way in (ALONE, f"{ALONE}, unlimited", DIVIDED, MADE_UP))
    work = sum(p.sampled_tokens for p in divided) // len(divided)

    def within(rows: Sequence[Played], limit: int, what: str) -> float:
        return share([p.solved and getattr(p, what) <= limit for p in rows])

    row: dict[str, Any] = {
        "puzzles": len(alone),
        "context_tokens": context_tokens,
        "equal_context": {ALONE: share([p.solved for p in alone]), DIVIDED: share([p.solved for p in divided])},
        "equal_critical_path": {
            ALONE: within(free, context_tokens, "critical_path_tokens"),
            DIVIDED: within(divided, context_tokens, "critical_path_tokens"),
        },
        "equal_work": {ALONE: within(free, work, "sampled_tokens"), DIVIDED: within(divided, work, "sampled_tokens")},
        "ablation_made_up": share([p.solved for p in noise]),
        "longest_context": max(p.longest_tokens for p in divided),
        "mean_work": work,
        "mean_critical_path": sum(p.critical_path_tokens for p in divided) // len(divided),
        "goals_points_ahead": {name: round(points, 1) for name, points in GOALS.items()},
    }
    return row


def table(row: dict[str, Any]) -> Table:
    """The figures for people."""
    n = row["puzzles"]
    view = Table(
        title=f"share solved of {n} puzzles",
        caption=f"longest context of spawn and join {row['longest_context']:,} tokens, work {row['mean_work']:,} and critical path "
        f"{row['mean_critical_path']:,} tokens on average; with made-up conclusions {row['ablation_made_up']:.1f} %",
    )
    for title in ("at equal", ALONE, DIVIDED, "ahead", "± 1 SE", "goal"):
        view.add_column(title, justify="left" if title == "at equal" else "right")
    goals = {"equal_context": GOALS["context"], "equal_critical_path": GOALS["critical_path"]}
    for key, name in (
        ("equal_context", f"context ({row['context_tokens']:,} tokens)"),
        ("equal_critical_path", f"critical path ({row['context_tokens']:,} tokens)"),
        ("equal_work", f"work ({row['mean_work']:,} tokens)"),
    ):
        alone, divided = row[key][ALONE], row[key][DIVIDED]
        error = sqrt(sum(p * (100 - p) / n for p in (alone, divided)))
        goal = f"≥ {goals[key]:.1f}" if key in goals else "-"
        view.add_row(name, f"{alone:.1f}", f"{divided:.1f}", f"{divided - alone:+.1f}", f"{error:.1f}", goal)
    return view


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--puzzles", type=int, help=f"300 with the scripted model, {MODEL_PUZZLES} with a real one")
    parser.add_argument("--context", type=int, default=4000, help="tokens of the scripted model's context")
    parser.add_argument("--model", help="a real model, for example embedded:qwen2.5-coder-1.5b")
    parser.add_argument(
        "--state", type=Path, default=home() / "benchmarks" / "countdown", help="what is kept to go on later"
    )
    given = parser.parse_args()
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        try:
            if given.model:
                given.state.mkdir(parents=True, exist_ok=True)
                row = asyncio.run(compare_named(given.model, given.puzzles or MODEL_PUZZLES, given.state, progress))
                view = model_table(row)
            else:
                row = figures(asyncio.run(collect(progress, given.puzzles or 300, given.context)), given.context)
                view = table(row)
        except bw.BranchwiseError as error:
            sys.exit(f"bench-countdown: {error}")
    if given.json:
        print(json.dumps(row))
    else:
        Console(width=max(110, Console().width)).print(view)


if __name__ == "__main__":
    main()
