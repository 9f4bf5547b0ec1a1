"""The commands. Exit status: 0 accepted (or done), 1 failure, 2 wrong use, 3 not accepted: abstained, interrupted, budget spent, waiting."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from branchwise import __version__

from ..core.errors import BranchwiseError, UsageError
from . import models, sandbox

if TYPE_CHECKING:
    from ..agents import Agent
    from ..core.protocols import Strategy
    from ..core.types import Budget, Result
    from ..graphs import LocalRunner

# Each command loads what it needs: who asks for help does not wait for search, models and sandboxes.

app = typer.Typer(
    name="branchwise",
    help="Run agents as searches: trajectories are forked, judged and cancelled until one is accepted or the budget is spent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
app.add_typer(sandbox.app, name="sandbox")

Json = Annotated[bool, typer.Option("--json", help="Print JSON records, one per line, instead of text.")]
Tokens = Annotated[int | None, typer.Option(help="Budget: model tokens, prompt and completion.", show_default=False)]
Seconds = Annotated[float | None, typer.Option(help="Budget: wall-clock seconds.", show_default=False)]
SnapshotGB = Annotated[
    float | None,
    typer.Option("--snapshot-gb", min=0, help="Budget: what states may take on disk, in GB.", show_default=False),
]
Apply = Annotated[bool, typer.Option("--apply", help="Write the chosen files back into the task's folder if accepted.")]
Search = Annotated[
    str | None,
    typer.Option(
        help="Strategy instead of the agent's: none, best-of-n:n=8, best-first:width=4,depth=8 …", show_default=False
    ),
]
Trace = Annotated[
    bool,
    typer.Option("--trace", help="Export traces and metrics by OpenTelemetry, as the variables OTEL_* say."),
]
Log = Annotated[
    Path | None, typer.Option(help="Append every event to this file, as JSON, one per line.", show_default=False)
]
Select = Annotated[
    str | None,
    typer.Option(
        help="Selector instead of the agent's, which chooses where no answer was accepted.", show_default=False
    ),
]

Verifiers = Annotated[
    list[str] | None,
    typer.Option(
        "--verifier",
        help="Verifier beside the agent's: judge, vote:k=8:judge, listwise, written-tests … May be given several times.",
        show_default=False,
    ),
]


@app.command()
def run(
    agent: Annotated[str, typer.Argument(help="The agent, as file.py:name.", metavar="FILE.py:AGENT")],
    task: Annotated[str, typer.Argument(help="What is to be done.")],
    files: Annotated[
        Path | None, typer.Option(help="Folder or archive to copy into the sandbox.", show_default=False)
    ] = None,
    search: Search = None,
    select: Select = None,
    verifier: Verifiers = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    nodes: Annotated[int | None, typer.Option(help="Budget: nodes of the tree.", show_default=False)] = None,
    snapshot_gb: SnapshotGB = None,
    seed: Annotated[int | None, typer.Option(help="Makes a run repeatable.", show_default=False)] = None,
    apply: Apply = False,
    trace: Trace = False,
    log: Log = None,
    as_json: Json = False,
) -> None:
    """Run an agent on a task."""
    from ..core.types import Task
    from ..search.named import parse_selector, parse_strategy
    from .loading import load_agent
    from .running import Session

    _trace(trace)
    definition, source = load_agent(agent)
    strategy = None if search is None else parse_strategy(search)
    if select is not None:
        definition = dataclasses.replace(definition, select=parse_selector(select))
    added = verifier or []
    definition = _with_verifiers(definition, added)
    budget = _budget(tokens=tokens, seconds=seconds, nodes=nodes, **_disk(snapshot_gb))
    if not task.strip():
        raise UsageError("the task is empty; say what is to be done")
    if apply and files is not None and files.is_file():
        raise UsageError(
            "--apply writes into a folder, and --files is an archive; `branchwise patch` gives the changes"
        )
    given = Task(prompt=task, files=None if files is None else str(files.expanduser().resolve()))

    def begin(runner: LocalRunner, **hooks: Any) -> Coroutine[Any, Any, Result]:
        return runner.begin(definition, given, budget, seed=seed, search=strategy, source=source, added=added, **hooks)

    Session(definition, given, strategy, apply, as_json, log).run(begin)


@app.command()
def resume(
    run_id: Annotated[str, typer.Argument(help="The run, or a unique beginning of its id.", metavar="RUN")],
    answer: Annotated[
        list[str] | None,
        typer.Option(help="Answer to a question that the run waits for.", metavar="ID=ANSWER", show_default=False),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="The agent's file, if it has moved.", metavar="FILE.py:AGENT", show_default=False)
    ] = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    snapshot_gb: SnapshotGB = None,
    apply: Apply = False,
    trace: Trace = False,
    log: Log = None,
    as_json: Json = False,
) -> None:
    """Go on with a run that was killed or interrupted, ran out of budget, or waits. Finished calls are not paid for again."""
    from ..core.types import Task
    from ..graphs import RunStore
    from ..search.named import recorded_selector
    from .loading import load_agent
    from .people import read_answers
    from .running import Session

    _trace(trace)
    record = RunStore().open(run_id).load()
    source = agent or record.source
    if source is None:
        raise UsageError(
            f"run {record.run_id} was not begun from the command line; say its agent: --agent file.py:name"
        )
    definition, _ = load_agent(source)
    given = {"tokens": tokens, "seconds": seconds, **_disk(snapshot_gb)}
    limits = {**record.budget, **{name: value for name, value in given.items() if value is not None}}
    strategy = _strategy_of(record.strategy, definition, record.seed)
    if record.selector != repr(definition.select) and (selector := recorded_selector(record.selector)) is not None:
        definition = dataclasses.replace(definition, select=selector)
    definition = _with_verifiers(definition, record.added)
    answers = read_answers(answer or [], record.summary.get("questions", []))

    def begin(runner: LocalRunner, **hooks: Any) -> Coroutine[Any, Any, Result]:
        budget = _budget(**limits)
        return runner.go_on(definition, record.run_id, budget=budget, answers=answers, search=strategy, **hooks)

    Session(definition, Task(**record.task), strategy, apply, as_json, log).run(begin)


@app.command()
def runs(
    as_json: Json = False,
    remove: Annotated[
        str | None, typer.Option("--rm", help="Delete this run.", metavar="RUN", show_default=False)
    ] = None,
) -> None:
    """List the runs of this machine, the newest last."""
    from ..graphs import RunStore
    from .report import list_runs

    if remove is not None:
        found = RunStore().open(remove)
        found.remove()
        Console().print(f"removed {found.folder.name}", highlight=False)
        return
    list_runs(Console(), as_json=as_json)


@app.command()
def view(
    run_id: Annotated[str, typer.Argument(help="The run, or a unique beginning of its id.", metavar="RUN")],
    node: Annotated[
        int | None, typer.Option(help="Show the whole trajectory to this node.", show_default=False)
    ] = None,
    patch: Annotated[bool, typer.Option("--patch", help="Show the chosen node's changes as a patch.")] = False,
    as_json: Json = False,
) -> None:
    """Show a run's tree: actions, verdicts, cost, and the chosen path."""
    from .report import show_run

    asyncio.run(show_run(Console(), run_id, node=node, patch=patch, as_json=as_json))


@app.command()
def patch(
    place: Annotated[
        str, typer.Argument(help="The run and the node; without a node, the chosen one.", metavar="RUN[/NODE]")
    ],
    since: Annotated[
        int | None, typer.Option(help="Changes since this node instead of the task's own files.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it into this file.", show_default=False)
    ] = None,
) -> None:
    """Print a node's changes as a patch that `git apply` takes: `branchwise patch RUN | git apply`."""
    from .report import patch_of

    text = asyncio.run(patch_of(place, since))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def _trace(wanted: bool) -> None:
    if wanted:
        from ..tracing import turn_on

        turn_on()


def _budget(**limits: Any) -> Budget:
    from pydantic import ValidationError

    from ..core.types import Budget

    try:
        # None says that nothing was given, except where it takes a default limit away.
        given = {name: value for name, value in limits.items() if value is not None or name == "snapshot_bytes"}
        return Budget(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"budget {first['loc'][0]}={first['input']!r}: {first['msg'].lower()}") from error


def _disk(gigabytes: float | None) -> dict[str, int]:
    """Return the limit of what states take on disk, where one was given."""
    return {} if gigabytes is None else {"snapshot_bytes": int(gigabytes * 1e9)}


def _with_verifiers(agent: Agent, added: Sequence[str]) -> Agent:
    """Return the agent with further verifiers."""
    if not added:
        return agent
    from ..verifiers.named import parse_verifier

    return dataclasses.replace(agent, verifiers=[*agent.verifiers, *map(parse_verifier, added)])


def _strategy_of(recorded: str, agent: Agent, seed: int) -> Strategy | None:
    """Return the strategy that a run was begun with where it is not the agent's own, so `--search` need not be repeated."""
    if recorded == repr(agent.strategy.fresh(seed)):
        return None
    from ..search.named import recorded_strategy

    return recorded_strategy(recorded)


def main() -> None:
    """Run the command line; every expected error becomes one line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if sys.argv[1:] == ["--version"]:
        print(f"branchwise {__version__}")
        return
    try:
        app()  # ends with SystemExit; wrong options are complained about by typer, with status 2
    except BranchwiseError as error:
        print(f"branchwise: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
