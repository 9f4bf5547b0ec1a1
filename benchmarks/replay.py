"""Sampling, selection and search on recorded replies of a real model: no model is needed, every decision is the product's own.

Chain-of-thought samples of GPT-4 on 50 puzzles of the Game of 24, 100 each, given out one by one; and GPT-4's recorded tree-of-thought
searches on the same puzzles, whose proposals and values other searches are let loose on. Every sample and every judgement is
one call. The checker is exact, or it errs: in every call anew, and persistently about an answer.

    python benchmarks/replay.py [--json] [--data FOLDER] [--plot FILE] [--repeats 4] [--calls 4 8 16 ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from game24 import (
    LEVELS,
    SEARCHES,
    Puzzle,
    RecordedAnswers,
    RecordedTree,
    Replay,
    puzzles,
    recorded_value,
    records,
)
from public_data import DATA
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.cli.chart import chart
from branchwise.core.protocols import Strategy
from branchwise.core.simulated.judges import AnswerJudge, NoisyJudge, Rng
from branchwise.core.simulated.time import TimedSearch
from branchwise.core.types import Node, NodeId, Verdict

CALLS = (2, 4, 8, 16, 32, 64, 100)

NOISY = {"noise": 0.5, "persistent": 0.25, "scale": (-1.0, 2.0)}
"""The checker that errs: standard deviations where a wrong answer is worth 0 and a right one 1."""

HALFWAY = 0.5
"""Between a wrong and a right answer on the noisy checker's scale."""


# --- samples -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A way to spend calls on samples.

    Args:
        make: the strategy for a number of calls.
        judged: whether it has answers judged; those that go by agreement or length alone do not.
        together: whether all samples are begun at once.
    """

    make: Callable[[int], Strategy]
    judged: bool = True
    together: bool = False


METHODS: dict[str, Method] = {
    "one sample": Method(lambda _calls: bw.search.BestOfN(n=1), judged=False),
    "first finish": Method(lambda calls: bw.search.FirstFinish(n=calls), judged=False, together=True),
    "short majority": Method(
        lambda calls: bw.search.ShortMajority(n=calls, m=min(3, calls)), judged=False, together=True
    ),
    "self-consistency": Method(lambda calls: bw.search.SelfConsistency(n=calls, retries=0), judged=False),
    "weighted vote": Method(lambda calls: bw.search.SelfConsistency(n=calls // 2, weight="value", retries=0)),
    "best-of-majority": Method(lambda calls: bw.search.MajoritySampling(n=max(1, 2 * calls // 3))),
    "best-of-n": Method(lambda calls: bw.search.BestOfN(n=calls)),
    "saturation, best-of-n": Method(lambda calls: bw.search.Saturation(bw.search.BestOfN(n=calls))),
    "noise-aware best-of-n": Method(lambda calls: bw.search.NoiseAware(bw.search.BestOfN(n=calls), right=HALFWAY)),
}
"""Those that need log-probabilities, several temperatures or another prompt have nothing to go by in these records."""


@dataclass
class Budgeted(TimedSearch):
    """A search that may make so many calls: samples and judgements together.

    Args:
        calls: how many.
    """

    calls: int = 100

    @property
    def spent(self) -> int:
        """Calls that ended; what is in flight at the end was never waited for."""
        return len(self.tree) - 1 + len(self.cancelled) + self.verifier_calls

    def _fill(self) -> bool:
        self.tree.share_left = max(0.0, 1 - self.spent / self.calls)
        return self.spent < self.calls and super()._fill()


def exact(world: RecordedAnswers) -> AnswerJudge:
    """Return the checker that never errs; what it accepts ends the search."""

    def judge(node: Node, _rng: Rng) -> tuple[Verdict, ...]:
        right = node.answer is not None and world.right(node.answer)
        return (Verdict(float(right), "outcome", "checker", passed=right, integrity="host-io"),)

    return judge


def noisy(world: RecordedAnswers, seed: int) -> AnswerJudge:
    """Return the checker that errs."""
    return NoisyJudge(**NOISY, seed=seed).of(world)  # type: ignore[arg-type]  # the settings are of several types


def solve(method: Method, puzzle: Puzzle, calls: int, seed: int, *, errs: bool) -> tuple[bool, int]:
    """Return whether a method's choice is right, and how many of the calls it has made."""
    world = RecordedAnswers(puzzle, seed)
    judge = None if not method.judged else noisy(world, seed) if errs else exact(world)
    search = Budgeted(
        method.make(calls).fresh(seed), world, judge, slots=calls if method.together else 1, seed=seed, calls=calls
    )
    search.run()
    return search.right, search.spent


@dataclass(frozen=True)
class Point:
    """What a method came to with a number of calls."""

    allowed: int
    spent: float
    """Mean over the puzzles: searches end when an answer is accepted, or nothing is to be done."""
    solved: float


def curve(method: Method, given: Sequence[Puzzle], calls: Sequence[int], repeats: int, *, errs: bool) -> list[Point]:
    """Return what a method comes to for each number of calls."""
    points: list[Point] = []
    for count in calls:
        found = [solve(method, puzzle, count, seed, errs=errs) for puzzle in given for seed in range(repeats)]
        right, spent = (sum(column) / len(found) for column in zip(*found, strict=True))
        points.append(Point(count, spent, right))
    return points


# --- searches ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Searched:
    """What a search came to on all recorded trees."""

    solved: int
    expansions: int
    """States that were expanded."""
    proposals: int
    """States that were made and valued."""


SEARCH: dict[str, Callable[[RecordedTree], Strategy]] = {
    "tot-bfs": lambda tree: bw.search.TotBFS(beams=5, width=tree.widest, depth=LEVELS),
    "best-first": lambda _tree: bw.search.BestFirst(depth=LEVELS),
    "a-star": lambda _tree: bw.search.AStar(width=64, depth=LEVELS),
    "uct": lambda _tree: bw.search.UCT(width=64, depth=LEVELS),
}


def searched(make: Callable[[RecordedTree], Strategy], trees: Iterable[RecordedTree]) -> Searched:
    """Let a strategy search all trees, until the exact checker accepts an answer or nothing is left."""
    solved = expansions = proposals = 0
    for tree in trees:
        run = Replay(make(tree).fresh(0), tree, slots=1, judge=recorded_value)
        run.run(len(tree.states))
        solved += run.solved
        expansions += len(run.expanded)
        proposals += len(run.tree) - 1
    return Searched(solved, expansions, proposals)


def same_selections(tree: RecordedTree) -> bool:
    """Whether breadth-first search over the recorded proposals and values selects at every step what the record says."""
    strategy = bw.search.TotBFS(beams=5, width=tree.widest, depth=LEVELS).fresh(0)
    run = Replay(strategy, replace(tree, checked=False), slots=1, judge=recorded_value)
    run.run(len(tree.states))
    by_level: dict[int, list[Any]] = {}
    for node in run.expanded:
        by_level.setdefault(run.tree[node].depth, []).append(tree.path(run.tree[node]))
    answers = [node.id for node in run.tree if node.depth == LEVELS]
    last = [tree.path(run.tree[NodeId(node)]) for node in strategy.best(answers, 5)]
    chosen = [tuple(by_level.get(level, ())) for level in range(1, LEVELS)]
    return [*chosen, tuple(last)] == list(tree.selections)


# --- putting it together ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figures:
    """Everything that was measured."""

    exact: dict[str, list[Point]]
    noisy: dict[str, list[Point]]
    searches: dict[str, Searched]
    same: int
    """Recorded searches whose selections came out the same at every step."""
    recorded: int


def collect(progress: Progress, folder: Path, calls: Sequence[int], repeats: int) -> Figures:
    """Run everything."""
    given = puzzles(folder)
    trees = [RecordedTree.read(row) for row in records(folder, SEARCHES)]
    bar = progress.add_task("replaying", total=2 * len(METHODS) + len(SEARCH))
    curves: dict[bool, dict[str, list[Point]]] = {False: {}, True: {}}
    for errs in (False, True):
        for name, method in METHODS.items():
            progress.update(bar, description=f"{name}, {'noisy' if errs else 'exact'} checker")
            known = curves[False].get(name) if errs and not method.judged else None
            curves[errs][name] = known or curve(method, given, calls, repeats, errs=errs)
            progress.advance(bar)
    searches: dict[str, Searched] = {}
    for name, make in SEARCH.items():
        searches[name] = searched(make, trees)
        progress.advance(bar)
    return Figures(curves[False], curves[True], searches, sum(map(same_selections, trees)), len(trees))


def table(figures: Figures, calls: Sequence[int]) -> Table:
    """The figures for people."""
    searches = "; ".join(
        f"{name} {row.solved} solved, {row.expansions} states expanded, {row.proposals} proposals valued"
        for name, row in figures.searches.items()
    )
    view = Table(
        title=f"share of {figures.recorded} puzzles solved, by calls (samples and judgements), recorded samples of GPT-4",
        caption=f"Recorded tree-of-thought searches: {figures.same} of {figures.recorded} reproduced step for step. Over the "
        f"same proposals and values: {searches}.",
    )
    view.add_column("checker")
    view.add_column("method")
    for count in calls:
        view.add_column(str(count), justify="right")
    view.add_column("spent of them", justify="right")
    for kind, curves in (("exact", figures.exact), ("noisy", figures.noisy)):
        for name, points in curves.items():
            view.add_row(kind, name, *(f"{point.solved:.3f}" for point in points), f"{points[-1].spent:.1f}")
        view.add_section()
    return view


def to_json(figures: Figures) -> dict[str, Any]:
    """The figures for programs."""
    return {
        "exact": {name: [vars(point) for point in points] for name, points in figures.exact.items()},
        "noisy": {name: [vars(point) for point in points] for name, points in figures.noisy.items()},
        "recorded_searches": figures.recorded,
        "reproduced_step_for_step": figures.same,
        "searches": {name: vars(row) for name, row in figures.searches.items()},
    }


def plot(figures: Figures, path: Path) -> list[Path]:
    """Write a chart for each checker; return the files."""
    files: list[Path] = []
    for kind, curves in (("exact", figures.exact), ("noisy", figures.noisy)):
        file = path.with_name(f"{path.stem}-{kind}.svg")
        title = f"Game of 24, recorded samples of GPT-4, {kind} checker"
        lines = {name: [(point.spent, point.solved) for point in points] for name, points in curves.items()}
        file.write_text(chart(title, "calls (samples and judgements) spent on average", "share solved", lines))
        files.append(file)
    return files


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the records")
    parser.add_argument("--plot", type=Path, default=Path("build/replay.svg"), help="name of the charts")
    parser.add_argument("--repeats", type=int, default=4, help="orders in which the samples are given")
    parser.add_argument("--calls", type=int, nargs="*", default=CALLS)
    given = parser.parse_args()
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            figures = collect(progress, given.data, given.calls, given.repeats)
    except FileNotFoundError as error:
        sys.exit(f"bench-replay: {error}")
    given.plot.parent.mkdir(parents=True, exist_ok=True)
    files = plot(figures, given.plot)
    if given.json:
        print(json.dumps({**to_json(figures), "plots": [str(file) for file in files]}))
    else:
        Console(width=max(112, Console().width)).print(table(figures, given.calls))
        print("charts:", *files)


if __name__ == "__main__":
    main()
