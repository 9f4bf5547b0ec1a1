"""The commands. Exit status: 0 accepted (or done), 1 failure, 2 wrong use, 3 not accepted: abstained, interrupted, budget spent, waiting."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from branchwise import __version__

from ..core.errors import BranchwiseError, UsageError
from . import models, sandbox
from .began import Began, disk, read_action, read_budget, read_goal, read_strategy, with_verifiers

if TYPE_CHECKING:
    from ..core.types import Result
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

_RUN_EXAMPLES = (
    'branchwise run agents.py:coder "Make the tests pass." --files repo --tokens 200000\n\n'
    'branchwise run --url https://shop.example.org/ "Find the cheapest blue mug." --model embedded:qwen2.5-coder-1.5b '
    "--search best-first:width=3,depth=6 --seconds 600 --secret password=SHOP_PASSWORD"
)

Verifiers = Annotated[
    list[str] | None,
    typer.Option(
        "--verifier",
        help="Verifier beside the agent's: judge, vote:k=8:judge, listwise, written-tests … May be given several times.",
        show_default=False,
    ),
]


@app.command(epilog=_RUN_EXAMPLES)
def run(
    agent: Annotated[
        str, typer.Argument(help="The agent, as file.py:name. Not with --url.", metavar="[FILE.py:AGENT]")
    ],
    task: Annotated[str | None, typer.Argument(help="What is to be done.", metavar="TASK", show_default=False)] = None,
    url: Annotated[
        str | None, typer.Option(help="Instead of an agent: work in a browser, from this page on.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --url: the model.", show_default=False)] = None,
    headed: Annotated[bool, typer.Option("--headed", help="With --url: show the browser's window.")] = False,
    contained: Annotated[
        bool, typer.Option("--contained", help="With --url: run the browser in a container of the Docker engine.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="With --url: a host that pages may reach beside their own. May be given several times.",
            metavar="HOST",
            show_default=False,
        ),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            help="With --url: a value that is filled in by name and never shown, from an environment variable.",
            metavar="NAME=VARIABLE",
            show_default=False,
        ),
    ] = None,
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
    """Run an agent on a task; with --url, an agent that works in a browser."""
    from ..core.types import Task
    from ..search.named import parse_selector
    from .loading import load_agent
    from .running import Session
    from .web import announce, read_web_run

    _trace(trace)
    web = read_web_run(
        url,
        model=model,
        headed=headed,
        contained=contained,
        allow=allow or (),
        secrets=secret or (),
        search=search,
    )
    agent, task = read_goal(agent, task, None if web is None else web.source)
    definition, source = load_agent(agent)
    strategy = None if search is None or web is not None else read_strategy(search)
    if select is not None:
        definition = dataclasses.replace(definition, select=parse_selector(select))
    added = verifier or []
    definition = with_verifiers(definition, added)
    budget = read_budget(tokens=tokens, seconds=seconds, nodes=nodes, **disk(snapshot_gb))
    if apply and files is not None and files.is_file():
        raise UsageError(
            "--apply writes into a folder, and --files is an archive; `branchwise patch` gives the changes"
        )
    given = Task(prompt=task, files=None if files is None else str(files.expanduser().resolve()))

    if web is not None:
        announce(Console(stderr=True), web, budget)

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
    from .people import read_answers

    _trace(trace)
    began = Began.load(run_id, agent)
    given = {"tokens": tokens, "seconds": seconds, **disk(snapshot_gb)}
    limits = {**began.record.budget, **{name: value for name, value in given.items() if value is not None}}
    answers = read_answers(answer or [], began.record.summary.get("questions", []))

    def begin(runner: LocalRunner, **hooks: Any) -> Coroutine[Any, Any, Result]:
        options: dict[str, Any] = {"budget": read_budget(**limits), "answers": answers, "search": began.strategy}
        return runner.go_on(began.agent, began.record.run_id, **options, **hooks)

    began.session(began.task, began.strategy, apply=apply, as_json=as_json, log=log).run(begin)


@app.command()
def fork(
    place: Annotated[
        str,
        typer.Argument(help="The run and the node; without a node, the chosen one.", metavar="RUN[/NODE]"),
    ],
    instructions: Annotated[
        str | None, typer.Option(help="The agent's instructions from here on.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="The agent's model from here on.", show_default=False)] = None,
    prompt: Annotated[
        str | None, typer.Option(help="The task's words, from the beginning.", show_default=False)
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            help="Done at the node instead of what the model did there.", metavar="TOOL={JSON}", show_default=False
        ),
    ] = None,
    search: Search = None,
    agent: Annotated[
        str | None, typer.Option(help="The agent's file, if it has moved.", metavar="FILE.py:AGENT", show_default=False)
    ] = None,
    tokens: Tokens = None,
    seconds: Seconds = None,
    snapshot_gb: SnapshotGB = None,
    seed: Annotated[int | None, typer.Option(help="Makes a run repeatable.", show_default=False)] = None,
    apply: Apply = False,
    trace: Trace = False,
    log: Log = None,
    as_json: Json = False,
) -> None:
    """Begin a new run at a node of an earlier one, with something changed. What led to the node is not paid again."""
    from ..agents.forking import Fork

    run_id, _, node = place.partition("/")
    began = Began.load(run_id, agent)
    task = began.task if prompt is None else began.task.model_copy(update={"prompt": prompt})
    changes = Fork(began.record.run_id, node or None, instructions, model, prompt, read_action(action))
    given = {"tokens": tokens, "seconds": seconds, **disk(snapshot_gb)}
    limits = {**began.record.budget, **{name: value for name, value in given.items() if value is not None}}
    strategy = began.strategy if search is None else read_strategy(search)
    _trace(trace)

    def begin(runner: LocalRunner, **hooks: Any) -> Coroutine[Any, Any, Result]:
        added: dict[str, Any] = {"source": began.source, "added": began.record.added}
        return runner.branch(began.agent, changes, read_budget(**limits), seed=seed, search=strategy, **added, **hooks)

    began.session(task, strategy, apply=apply, as_json=as_json, log=log).run(begin)


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
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page with the tree into this file, pictures included.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a run's tree: actions, verdicts, cost, and the chosen path; with --html as a page, with pictures of web pages."""
    from .report import page_of, show_run, write_page

    if html is None:
        asyncio.run(show_run(Console(), run_id, node=node, patch=patch, as_json=as_json))
        return
    if node is not None or patch or as_json:
        raise UsageError("--html writes the whole tree; leave out --node, --patch and --json")
    write_page(Console(), asyncio.run(page_of(run_id)), html)


@app.command()
def film(
    place: Annotated[
        str, typer.Argument(help="The run and the node; without a node, the chosen one.", metavar="RUN[/NODE]")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The trace; in the run's folder unless given.", show_default=False),
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Record a video, too: FILE.webm.", show_default=False)] = None,
    agent: Annotated[
        str | None, typer.Option(help="The agent's file, if it has moved.", metavar="FILE.py:AGENT", show_default=False)
    ] = None,
) -> None:
    """Do what led to a node's web page once more and record it: a trace for `playwright show-trace`, and a video if wanted."""
    from .filming import record

    asyncio.run(record(Console(), place, output, video, agent))


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


@app.command()
def tune(
    agent: Annotated[str, typer.Argument(help="The agent, as file.py:name.", metavar="FILE.py:AGENT")],
    tasks: Annotated[
        Path,
        typer.Option(help='Exercises, one JSON object per line: {"prompt": ..., "answer": ...}.', show_default=False),
    ],
    tokens: Annotated[int | None, typer.Option(help="Cap: model tokens over all runs.", show_default=False)] = None,
    calls: Annotated[int | None, typer.Option(help="Cap: model calls over all runs.", show_default=False)] = None,
    usd: Annotated[float | None, typer.Option(help="Cap: US dollars over all runs.", show_default=False)] = None,
    trials: Annotated[int | None, typer.Option(help="Cap: configurations proposed.", show_default=False)] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to choose from, beside the agent's own. May be given several times.", show_default=False
        ),
    ] = None,
    most_calls: Annotated[
        int | None, typer.Option(help="Searches and calls of one configuration at most.", show_default=False)
    ] = None,
    same: Annotated[str, typer.Option(help="When answers are the same: text, number or exact.")] = "text",
    fresh: Annotated[float, typer.Option(help="Part of the exercises kept for the last comparison.")] = 0.4,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the search is kept; given again it goes on. In BRANCHWISE_HOME by default.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    as_json: Json = False,
) -> None:
    """Search for the layers of generators, critics, rankers and fusers that suit an agent's tasks."""
    from ..core.settings import home
    from ..graphs.teams.archon_space import Space
    from .loading import load_agent
    from .tuning import Tuning

    if same not in ("text", "number", "exact"):
        raise UsageError(f"--same {same!r}: allowed are text, number and exact")
    definition, _ = load_agent(agent)
    Tuning(
        definition,
        tasks,
        folder or home() / "tuning" / definition.name,
        Space(models=(None, *(model or ())), most_calls=most_calls),
        read_budget(tokens=tokens, calls=calls, usd=usd),
        as_json,
        {"trials": trials, "score": same, "fresh": fresh, "seed": seed},
    ).run()


def _trace(wanted: bool) -> None:
    if wanted:
        from ..tracing import turn_on

        turn_on()


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
