"""Searching for an architecture from a terminal: the log while it grows, then the best, a table and a plot."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .. import verifiers
from ..agents import Agent
from ..core.errors import UsageError
from ..core.types import Budget
from ..graphs import teams
from ..graphs.teams.architecture import architecture_search, read_exercises
from ..graphs.teams.archon import Archon
from ..graphs.teams.archon_space import Space
from ..graphs.teams.tuning import Row, Tuned
from .chart import chart

LAST_ROWS = 8
"""Rows of the log that are shown while it grows."""

_OUTCOMES = {
    "whole": "",
    "halved": "stopped: others were better",
    "known": "measured before",
    "refused": "not allowed",
    "short": "cut off by the cap",
}


@dataclass
class Log:
    """The rows so far, as a live view shows them."""

    title: str
    rows: list[Row] = field(default_factory=list[Row])

    def __rich__(self) -> Group:
        best = best_row(self.rows)
        found = "nothing measured yet" if best is None else f"{best.score:.3f}  {best.configuration}"
        spent = f"{self.rows[-1].spent:.0%} of the cap" if self.rows and self.rows[-1].spent <= 1 else ""
        return Group(
            table(self.rows[-LAST_ROWS:], f"{self.title}: {len(self.rows)} proposals, {spent}"),
            Text(f"best so far: {found}"),
        )


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the row with the highest mean over all items, the first where several have it."""
    whole = [row for row in rows if row.outcome == "whole"]
    return max(whole, key=lambda row: (row.score or 0.0, -row.number), default=None)


def table(rows: Sequence[Row], title: str) -> Table:
    """Return the log as a table."""
    view = Table(title=title, title_justify="left")
    for name in ("", "score", "items", "best so far", "spent"):
        view.add_column(name, justify="right", no_wrap=True)
    view.add_column("configuration", overflow="fold")
    for row in rows:
        what = row.configuration or row.why
        note = f" [dim]({_OUTCOMES[row.outcome]})[/]" if _OUTCOMES[row.outcome] else ""
        view.add_row(
            str(row.number),
            "" if row.score is None else f"{row.score:.3f}",
            str(row.items or ""),
            "" if row.best is None else f"{row.best:.3f}",
            f"{row.spent:.0%}" if row.spent <= 1 else f"{row.spent:.0f}",
            escape(what) + note,
        )
    return view


def finals(tuned: Tuned[Archon]) -> Table:
    """Return the last comparison as a table."""
    view = Table(title="the best, measured once more on fresh exercises", title_justify="left")
    for name in ("fresh", "exercises", "score", "tokens", "calls"):
        view.add_column(name, justify="right", no_wrap=True)
    view.add_column("configuration", overflow="fold")
    for one in tuned.finalists:
        fresh = "" if one.fresh is None else f"{one.fresh:.3f}"
        row = (fresh, str(one.fresh_items), f"{one.score:.3f}", str(one.usage.tokens), str(one.usage.calls))
        view.add_row(*row, escape(repr(one.configuration)))
    return view


def plot(rows: Sequence[Row], plain: Sequence[str], title: str) -> str:
    """Return the best so far by what was spent, as SVG.

    Args:
        rows: the log.
        plain: `repr` of the configurations that the search began with, whose best is a line of its own.
        title: above it.
    """
    begun = [row for row in rows if row.best is not None and row.spent > 0]
    scale = 100.0 if all(row.spent <= 1 for row in begun) else 1.0
    points = [(scale * row.spent, row.best) for row in begun if row.best is not None]
    first = [
        row.score
        for row in rows
        if row.configuration in set(plain) and row.outcome == "whole" and row.score is not None
    ]
    lines: dict[str, list[tuple[float, float]]] = {"best so far": points}
    if first and points:
        lines["best single layer"] = [(points[0][0], max(first)), (points[-1][0], max(first))]
    across = "per cent of the cap spent" if scale > 1 else "measurements"
    return chart(title, across, "score", {name: line for name, line in lines.items() if line})


def to_json(tuned: Tuned[Archon]) -> dict[str, Any]:
    """Return what a search came to, for programs."""
    return {
        "best": repr(tuned.best),
        "detail": tuned.detail,
        "usage": tuned.usage.to_json(),
        "finalists": [
            {
                "configuration": repr(one.configuration),
                "score": one.score,
                "fresh": one.fresh,
                "fresh_items": one.fresh_items,
                "usage": one.usage.to_json(),
            }
            for one in tuned.finalists
        ],
    }


@dataclass(frozen=True)
class Tuning:
    """One search from a terminal.

    Args:
        agent: the agent.
        tasks: file of exercises.
        folder: where the search is kept.
        space: the Archons to choose from.
        budget: cap.
        as_json: print records instead of text.
        options: of `architecture_search`.
    """

    agent: Agent
    tasks: Path
    folder: Path
    space: Space
    budget: Budget
    as_json: bool
    options: dict[str, Any]

    def run(self) -> None:
        """Search, show the log while it grows, and say what is best."""
        console = Console(stderr=self.as_json)
        exercises = read_exercises(self.tasks)
        log = Log(f"{self.agent.name}, {len(exercises)} exercises")
        with Live(log, console=console, transient=True, auto_refresh=console.is_terminal) as live:

            def take(row: Row) -> None:
                log.rows.append(row)
                live.refresh()
                if self.as_json:
                    print(json.dumps({"row": asdict(row)}), flush=True)
                elif not console.is_terminal:
                    console.print(_line(row), highlight=False, soft_wrap=True)

            search = architecture_search(
                self.agent,
                exercises,
                space=self.space,
                budget=self.budget,
                folder=self.folder,
                listener=take,
                **self.options,
            )
            tuned = asyncio.run(search)
        place = self.folder / "search.svg"
        plain = [
            repr(self.space.archon(chosen)) for chosen in self.space.single_layers() if _allowed(self.space, chosen)
        ]
        place.write_text(plot(tuned.rows, plain, f"{self.agent.name}: the best configuration so far"), encoding="utf-8")
        if self.as_json:
            print(json.dumps({"tuned": {**to_json(tuned), "plot": str(place)}}), flush=True)
            return
        console.print(table(tuned.rows, f"{log.title}: {tuned.detail}"), finals(tuned))
        usage = tuned.usage
        console.print(
            f"{usage.tokens} tokens, {usage.calls} model calls; plot: {place}\n\n"
            f"{self.agent.name} = dataclasses.replace({self.agent.name}, team={escape(_as_code(tuned.best))})",
            highlight=False,
            soft_wrap=True,
        )


def _line(row: Row) -> str:
    score = "-" if row.score is None else f"{row.score:.3f}"
    best = "-" if row.best is None else f"{row.best:.3f}"
    return f"{row.number}: {score} on {row.items} ({row.outcome}), best {best}: {escape(row.configuration or row.why)}"


def _allowed(space: Space, chosen: Any) -> bool:
    try:
        space.archon(chosen)
    except UsageError:
        return False
    return True


def _as_code(archon: Archon) -> str:
    """Return code that makes an Archon where `branchwise` is imported as `bw`."""
    names = {**dict.fromkeys(teams.__all__, "bw.teams"), **dict.fromkeys(verifiers.__all__, "bw.verifiers")}
    return re.sub(
        r"\b([A-Z]\w+)\(",
        lambda found: f"{names[found[1]]}.{found[0]}" if found[1] in names else found[0],
        repr(archon),
    )
