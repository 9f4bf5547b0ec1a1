"""Searching for an architecture: how many configurations have to be measured, and whether what is found beats the best single layer.

Three parts. `surface`: 65,536 combinations of choices that help and hinder each other, against random search. `panel`: simulated models of two
strengths, a whole search under a cap of calls, then everything measured on problems that no search saw. `real`: the same with a real small
model on grade-school maths; its replies are kept, so what was stopped goes on.

    python benchmarks/archon.py [--json] [--parts surface panel real] [--seeds 20] [--problems 100] [--calls 3000] [--plot FILE]
        [--data FILE] [--state FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from public_data import DATA
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import branchwise as bw
from branchwise.cli.chart import chart
from branchwise.cli.tuning import finals, plot
from branchwise.core.protocols import Model
from branchwise.core.settings import home
from branchwise.core.simulated.panel import Panel
from branchwise.core.simulated.surfaces import ResponseSurface
from branchwise.graphs import LocalRunner, RunStore
from branchwise.graphs.teams.architecture import Exercise, score_by
from branchwise.graphs.teams.tuning import Measured, Notes, Tuned, Tuner
from branchwise.models import RecordedModel, connect

MODEL = "embedded:qwen2.5-coder-1.5b"

NEAR = 0.99
"""Within one per cent of the optimum, on the scale from the worst to the best."""

MOST = 1200
"""Configurations that the optimiser may measure on a surface; where it has not found one by then it counts as that many."""


# --- the surface -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnSurface:
    """What one surface took."""

    by_chance: int
    """Configurations that random search measured until one was near the optimum."""
    learnt: int
    best: Sequence[float]
    """Best so far of the optimiser, by number of configurations."""
    best_by_chance: Sequence[float]


def on_surface(seed: int) -> OnSurface:
    """Search one surface both ways."""
    surface = ResponseSurface(seed=seed)
    every = list(itertools.product(range(surface.values), repeat=surface.choices))
    random.Random(seed).shuffle(every)
    luck = list(itertools.accumulate(map(surface.worth, every), max))
    values: list[float] = []

    async def measure(configuration: tuple[int, ...], item: int, budget: bw.Budget, notes: Notes) -> Measured:  # noqa: ARG001
        values.append(surface.worth(configuration))
        return Measured(values[-1])

    def chosen(choices: Mapping[str, Any]) -> tuple[int, ...]:
        if values and max(values) >= NEAR:
            raise bw.UsageError("found")  # nothing more has to be measured
        return tuple(choices.values())

    choices = {f"x{number}": tuple(range(surface.values)) for number in range(surface.choices)}
    asyncio.run(Tuner(choices, chosen, measure, items=1, trials=MOST, seed=seed).run())
    best = list(itertools.accumulate(values, max))
    return OnSurface(1 + sum(one < NEAR for one in luck), len(values) if best[-1] >= NEAR else MOST, best, luck)


def surface_lines(found: Sequence[OnSurface]) -> dict[str, list[tuple[float, float]]]:
    """Return the median best so far of both ways, at powers of two."""
    places = [1 << power for power in range(17)]

    def line(rows: Sequence[Sequence[float]], last: int) -> list[tuple[float, float]]:
        return [(n, median(row[min(n, len(row)) - 1] for row in rows)) for n in places if n <= last]

    return {
        "learnt": line([one.best for one in found], MOST),
        "by chance": line([one.best_by_chance for one in found], places[-1]),
    }


# --- whole searches ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """A search, and what was then measured on problems that it had not seen."""

    tuned: Tuned[bw.teams.Archon]
    plain: Mapping[str, float]
    """Share solved by each single layer."""
    found: float
    """Share solved by what the search found."""
    calls: float
    """Mean calls of what was found."""
    problems: int

    @property
    def best_plain(self) -> tuple[str, float]:
        """The single layer that did best on these very problems."""
        return max(self.plain.items(), key=lambda pair: pair[1])


async def solved(
    agent: bw.Agent, exercises: Sequence[Exercise], same: Literal["text", "number"], *, at_once: int = 4
) -> tuple[float, float]:
    """Return the share of exercises that an agent solves, and its mean number of calls."""
    score, room = score_by(same), asyncio.Semaphore(at_once)
    with tempfile.TemporaryDirectory() as folder:
        runner = LocalRunner(RunStore(Path(folder)))

        async def one(number: int, exercise: Exercise) -> tuple[float, int]:
            async with room:
                result = await runner.run(agent, exercise.task, bw.Budget(), seed=10_000 + number)
                if result.stop_reason == "failed":  # a server that is out of order says nothing about an Archon
                    raise RuntimeError(f"a run failed ({result.stop_detail}); what is known is kept, so begin again")
                return score(exercise, result), result.usage.calls

        rows = await asyncio.gather(*(one(number, exercise) for number, exercise in enumerate(exercises)))
    return sum(score for score, _ in rows) / len(rows), sum(calls for _, calls in rows) / len(rows)


async def compared(
    agent: bw.Agent,
    space: bw.teams.Space,
    exercises: Sequence[Exercise],
    unseen: Sequence[Exercise],
    progress: Progress,
    **options: Any,
) -> Compared:
    """Search, then measure what was found and every single layer on the same unseen exercises with the same seeds."""
    bar = progress.add_task(f"searching for {agent.name}", total=None)
    tuned = await bw.teams.architecture_search(
        agent,
        exercises,
        space=space,
        listener=lambda row: progress.update(bar, description=f"{agent.name}: {row.number}, best {row.best}"),
        **options,
    )
    plain = {repr(archon): archon for archon in map(space.archon, space.single_layers())}
    progress.update(bar, description=f"{agent.name}: comparing", total=len(plain) + 1, completed=0)
    shares: dict[str, tuple[float, float]] = {}
    for name, archon in {**plain, repr(tuned.best): tuned.best}.items():
        shares[name] = await solved(replace(agent, team=archon), unseen, options["score"])
        progress.advance(bar)
    progress.remove_task(bar)
    found, calls = shares[repr(tuned.best)]
    return Compared(tuned, {name: shares[name][0] for name in plain}, found, calls, len(unseen))


async def on_panel(seed: int, problems: int, calls: int, progress: Progress) -> Compared:
    """Search for simulated models of two strengths."""
    panel = Panel(skill={"simulated:small": 0.0, "simulated:large": 0.7}, seed=seed)
    small, large = panel.model(), panel.model("simulated:large")
    agent = bw.Agent(name="panel", model=small, form="text")
    space = bw.teams.Space(models=(None, large), samples=(0, 1, 2, 4), tests=(0, 1, 3), most_calls=40)

    def exercise(number: int) -> Exercise:
        return Exercise(panel.task(number), panel.right(number))

    return await compared(
        agent,
        space,
        [exercise(number) for number in range(64)],
        [exercise(number) for number in range(1000, 1000 + problems)],
        progress,
        budget=bw.Budget(calls=calls),
        seed=seed,
        fresh=0.375,
        score="text",
    )


def maths(path: Path) -> list[Exercise]:
    """Return grade-school problems with their answers.

    Raises:
        FileNotFoundError: with where to get the file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no problems at {path}; get train.jsonl from https://github.com/openai/grade-school-math (MIT licence) and name it by --data FILE"
        )
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [
        Exercise(bw.Task(prompt=row["question"]), re.sub(r"[^\d.-]", "", row["answer"].rpartition("####")[2]))
        for row in rows
    ]


async def on_maths(path: Path, state: Path, progress: Progress, *, searched: int, unseen: int, calls: int) -> Compared:
    """Search for a real small model. Replies are kept: configurations share their generations."""
    exercises = maths(path)[: searched + unseen]
    model: Model = RecordedModel(state / "replies.jsonl", await connect(MODEL, context_tokens=4096, slots=4))
    agent = bw.Agent(
        name="maths",
        instructions='You solve problems. Think in at most four short sentences. End with a line "answer: NUMBER".',
        model=model,
        form="native",
        sampling=bw.Sampling(max_tokens=200, temperature=0.8),
    )
    space = bw.teams.Space(
        samples=(1, 3),
        tests=(0,),
        checked=(False,),
        criticised=(False,),
        ranked=(0, 1),
        fusions=(0, 1),
        fusers=(1,),
    )
    try:
        return await compared(
            agent,
            space,
            exercises[:searched],
            exercises[searched:],
            progress,
            budget=bw.Budget(calls=calls),
            seed=1,
            fresh=0.4,
            score="number",
            folder=state / "search",
        )
    finally:
        await model.aclose()


# --- putting it together -----------------------------------------------------------------------------------------------


def surface_table(found: Sequence[OnSurface]) -> Table:
    """The surfaces for people."""
    chance, learnt = median(one.by_chance for one in found), median(one.learnt for one in found)
    view = Table(
        title=f"configurations measured until one is within 1 % of the best of 65,536; {len(found)} surfaces",
        caption=f"Median: {learnt:g} learnt, {chance:g} by chance: {learnt / chance:.1%} (goal: at most 25 %).",
    )
    for name in ("surface", "learnt", "by chance", "share"):
        view.add_column(name, justify="right")
    for number, one in enumerate(found):
        learnt_shown = f"{one.learnt}" if one.learnt < MOST else f"not in {MOST}"
        view.add_row(str(number), learnt_shown, str(one.by_chance), f"{one.learnt / one.by_chance:.1%}")
    return view


def compared_table(name: str, rows: Sequence[Compared]) -> Table:
    """The searches for people."""
    view = Table(
        title=f"{name}: share of {rows[0].problems} unseen problems that are solved",
        caption="Found by the search, and the single layer that did best on these very problems (goal: at least as good).",
    )
    for column in ("search", "found", "calls", "best single layer", "measured", "spent calls"):
        view.add_column(column, justify="right")
    view.add_column("what was found", overflow="fold")
    for number, row in enumerate(rows):
        measured = sum(one.outcome in {"whole", "halved"} for one in row.tuned.rows)
        view.add_row(
            str(number),
            f"{row.found:.3f}",
            f"{row.calls:.1f}",
            f"{row.best_plain[1]:.3f}",
            str(measured),
            str(row.tuned.usage.calls),
            f"{row.tuned.best!r}, single layer: {row.best_plain[0]}",
        )
    return view


def to_json(rows: Sequence[Compared]) -> list[dict[str, Any]]:
    """The searches for programs."""
    return [
        {
            "best": repr(row.tuned.best),
            "found": row.found,
            "calls": row.calls,
            "plain": dict(row.plain),
            "problems": row.problems,
            "spent": row.tuned.usage.to_json(),
            "proposals": len(row.tuned.rows),
        }
        for row in rows
    ]


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--parts", nargs="*", default=["surface", "panel"], choices=["surface", "panel", "real"])
    parser.add_argument("--seeds", type=int, default=20, help="surfaces; a fifth of them panels")
    parser.add_argument("--problems", type=int, default=100, help="unseen problems of a panel")
    parser.add_argument("--calls", type=int, default=3000, help="cap of a search on a panel")
    parser.add_argument("--plot", type=Path, default=Path("build/archon.svg"), help="name of the charts")
    parser.add_argument("--data", type=Path, default=DATA / "gsm8k_dev100.jsonl", help="problems for the real model")
    parser.add_argument("--state", type=Path, default=home() / "benchmarks" / "archon", help="where replies are kept")
    parser.add_argument("--searched", type=int, default=10, help="problems that the real model's search sees")
    parser.add_argument("--unseen", type=int, default=10, help="problems that it does not see")
    parser.add_argument("--real-calls", type=int, default=300, help="cap of the real model's search")
    given = parser.parse_args()
    given.plot.parent.mkdir(parents=True, exist_ok=True)
    console, records = Console(width=max(118, Console().width)), dict[str, Any]()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        if "surface" in given.parts:
            bar = progress.add_task("surfaces", total=given.seeds)
            found: list[OnSurface] = []
            for seed in range(given.seeds):
                found.append(on_surface(seed))
                progress.advance(bar)
            file = given.plot.with_name(f"{given.plot.stem}-surface.svg")
            title = "Best of 65,536 configurations so far, median"
            file.write_text(chart(title, "configurations measured", "worth", surface_lines(found)))
            records["surface"] = {
                "learnt": [one.learnt for one in found],
                "by_chance": [one.by_chance for one in found],
                "plot": str(file),
            }
            if not given.json:
                console.print(surface_table(found), f"chart: {file}")
        for part in ("panel", "real"):
            if part not in given.parts:
                continue
            if part == "panel":
                rows = [
                    asyncio.run(on_panel(seed, given.problems, given.calls, progress))
                    for seed in range(max(1, given.seeds // 5))
                ]
            else:
                given.state.mkdir(parents=True, exist_ok=True)
                real = on_maths(
                    given.data,
                    given.state,
                    progress,
                    searched=given.searched,
                    unseen=given.unseen,
                    calls=given.real_calls,
                )
                try:
                    rows = [asyncio.run(real)]
                except FileNotFoundError as error:
                    sys.exit(f"bench-archon: {error}")
            file = given.plot.with_name(f"{given.plot.stem}-{part}.svg")
            file.write_text(plot(rows[0].tuned.rows, [*rows[0].plain], "Share solved by the best configuration so far"))
            records[part] = {"searches": to_json(rows), "plot": str(file)}
            if not given.json:
                console.print(compared_table(part, rows), finals(rows[0].tuned), f"chart: {file}")
    if given.json:
        print(json.dumps(records))


if __name__ == "__main__":
    main()
