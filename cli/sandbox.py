"""`branchwise sandbox`: what works here, what is there, a shell in any node's state, and tidying up."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ..core.errors import UsageError
from ..core.settings import home

if TYPE_CHECKING:
    from .stock import Item

app = typer.Typer(
    name="sandbox",
    help="Sandboxes: check them, list what there is, look into a node's state, tidy up.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
RunNode = Annotated[
    str, typer.Argument(help="The run and the node; without a node, the chosen one.", metavar="RUN[/NODE]")
]
AgentFile = Annotated[
    str | None, typer.Option(help="The agent's file, if it has moved.", metavar="FILE.py:AGENT", show_default=False)
]


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Try everything that sandboxes need, and say what to do about what does not work. Status 1 if something fails."""
    from ..sandboxes.doctor import examine

    checks = asyncio.run(examine(home() / "runs"))
    failed = any(check.state == "fail" for check in checks)
    if as_json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}))
    else:
        console = Console()
        marks = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}
        for check in checks:
            console.print(f"{marks[check.state]}  {escape(check.name)}: {escape(check.found)}", highlight=False)
            if check.remedy and check.state != "ok":
                console.print(f"      → {escape(check.remedy)}", highlight=False)
    raise typer.Exit(int(failed))


@app.command("ls")
def list_all(*, as_json: AsJson = False) -> None:
    """List containers, images, networks and states of runs: size, age, and whether their owner lives."""
    from .stock import stock

    items, trouble = stock()
    if as_json:
        print(json.dumps([item.to_json() for item in items]))
        return
    _show(items)
    if trouble is not None:
        print(f"branchwise: without the engine's part: {trouble}", file=sys.stderr)


@app.command()
def prune(
    *,
    older: Annotated[
        float, typer.Option(min=0, help="Days after which images and states of runs count as old.")
    ] = 7.0,
    snapshots: Annotated[
        bool, typer.Option("--snapshots", help="Remove old states of runs that are not going on, too.")
    ] = False,
    most_gb: Annotated[
        float | None,
        typer.Option(
            "--most-gb", min=0, help="Remove states of runs, the oldest first, until so many GB are left.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Remove what dead runs left, old images and, if asked to, old states of runs.

    What lives and what is not Branchwise's own is never touched. A run whose states were removed can still be viewed, and
    resumed while its files are what they were: states are then made again by their actions.
    """
    from .stock import prunable, size_words, stock

    items, trouble = stock()
    doomed = prunable(items, older_days=older, snapshots=snapshots, most_gb=most_gb)
    if trouble is not None:
        print(f"branchwise: without the engine's part: {trouble}", file=sys.stderr)
    if not as_json:
        _show(doomed)
    if doomed and not (dry_run or yes) and not _agreed(doomed):
        raise typer.Exit(1)
    removed = [] if dry_run else [item for item in doomed if _removed(item)]
    freed = sum(item.size_bytes or 0 for item in removed)
    if as_json:
        rows = {"found": [item.to_json() for item in doomed], "removed": [item.name for item in removed]}
        print(json.dumps({**rows, "freed_bytes": freed}))
    elif removed:
        print(f"removed {len(removed)}, {size_words(freed)}")
    elif not doomed:
        print("nothing to remove")
    raise typer.Exit(0 if dry_run or len(removed) == len(doomed) else 1)


@app.command()
def shell(
    place: RunNode,
    command: Annotated[
        list[str] | None, typer.Argument(help="A program to run there instead, after --.", show_default=False)
    ] = None,
    *,
    agent: AgentFile = None,
) -> None:
    """Open a shell in a fresh sandbox in the state of any node; what is done there is gone when it ends.

    Without a terminal, or with a command after `--`, that is run, with this program's input and output and its status.
    """
    raise typer.Exit(asyncio.run(_shell(place, command or [], agent)))


async def _shell(place: str, command: list[str], agent: str | None) -> int:
    from .nodes import find, opened
    from .terminal import converse, pipe

    node = await find(place)
    interactive = not command and sys.stdin.isatty() and sys.stdout.isatty()
    async with opened(node, agent) as environment:
        if interactive:
            print(f"{node.name}: {environment.isolation}", file=sys.stderr)
            print("a fresh sandbox in this state; nothing that is done here stays. End it with exit.", file=sys.stderr)
            return await converse(environment, ["/bin/sh", "-i"])
        try:
            return await pipe(environment, command or ["/bin/sh"])
        except BrokenPipeError:
            return 141  # as if the signal had ended it


@app.command()
def export(
    place: RunNode,
    target: Annotated[Path, typer.Argument(help="A new folder, or an archive by its ending: .tar.gz, .tar.xz, .zip …")],
) -> None:
    """Write all files of a node into a new folder or archive."""
    from .nodes import find, store_of

    node = asyncio.run(find(place))
    store_of(node).save(node.ref or "", target)
    print(f"{node.name} written to {target}", file=sys.stderr)


def _show(items: list[Item]) -> None:
    """Print a table whose lines are as long as they are: cut short, names are of no use."""
    from .stock import age_words, size_words

    rows = [
        (
            i.kind,
            i.name,
            (i.run or "") if i.run != i.name else "",
            size_words(i.size_bytes),
            age_words(i.created),
            i.state,
        )
        for i in items
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)] if rows else []
    for row in rows:
        left = [row[column].ljust(widths[column]) for column in range(3)]
        right = [row[column].rjust(widths[column]) for column in (3, 4)]
        print("  ".join([*left, *right, row[5]]).rstrip())


def _agreed(doomed: list[Item]) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked; say --yes to remove this, or --dry-run to only see it")
    return typer.confirm(f"remove these {len(doomed)}?")


def _removed(item: Item) -> bool:
    from .stock import remove

    trouble = remove(item)
    if trouble is not None:
        print(f"branchwise: {trouble}", file=sys.stderr)
    return trouble is None
