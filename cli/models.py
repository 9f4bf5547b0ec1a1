"""`branchwise models`: what can be brought, what is here, and serving it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from ..core.errors import CatalogError

if TYPE_CHECKING:
    from ..models.catalog import Entry
    from ..models.engine import EngineSettings
    from ..models.partial import Progress as PullProgress

app = typer.Typer(name="models", help="Local models: bring, list, serve and remove them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name in the catalogue; `branchwise models list` shows them.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]


@app.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """Show the catalogue and which of it is on this machine."""
    from ..models import catalog

    rows = [_row(model) for model in catalog.entries().values()]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("model", "here", "size", "licence", "context", "what it is")
    for row in rows:
        size, context = f"{row['size_bytes'] / 2**20:,.0f} MiB", f"{row['context_tokens']:,}"
        table.add_row(row["name"], "yes" if row["installed"] else "", size, row["licence"], context, row["description"])
    Console().print(table)


def _row(model: Entry) -> dict[str, Any]:
    return {
        "name": model.name,
        "installed": model.installed,
        "path": str(model.installed_path),
        "size_bytes": model.size_bytes,
        "sha256": model.sha256,
        "licence": model.licence,
        "licence_url": model.licence_url,
        "context_tokens": model.context_tokens,
        "description": model.description,
    }


@app.command("pull")
def pull(name: Name, *, as_json: AsJson = False) -> None:
    """Bring a model to this machine. What an interrupted pull brought is kept and gone on with."""
    from ..models import catalog
    from ..models.pull import pull as bring

    model = catalog.entry(name)
    console = Console(stderr=True)
    console.print(f"{model.name}: {model.size_bytes / 2**20:,.0f} MiB, licence {model.licence} ({model.licence_url})")
    columns = [TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True)]
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("looking for a source", total=model.size_bytes)

        def show(progress: PullProgress) -> None:
            bar.update(task, description=progress.doing, completed=progress.done_bytes)

        outcome = bring(model, show)
    if as_json:
        print(json.dumps({"outcome": outcome, **_row(model)}))
    else:
        word = "is here already" if outcome == "present" else "is ready"
        console.print(f"{model.name} {word}: {model.installed_path}\nuse it as embedded:{model.name}")


@app.command("rm")
def rm(name: Name, *, as_json: AsJson = False) -> None:
    """Delete a model from this machine."""
    from ..models import catalog
    from ..models.pull import remove

    model = catalog.entry(name)
    outcome = remove(model)
    if outcome == "absent":
        raise CatalogError(f"the model {name} is not on this machine; nothing was deleted")
    print(json.dumps({"outcome": outcome, "name": name}) if as_json else f"{name} was removed")


@app.command("serve")
def serve(
    name: Annotated[str, typer.Argument(help="Name in the catalogue, or path of a GGUF file.")],
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8080,
    parallel: Annotated[int, typer.Option(min=1, max=256, help="Requests served at once.")] = 4,
    context: Annotated[int, typer.Option(min=256, help="Tokens for each request, prompt and reply together.")] = 4096,
    as_json: AsJson = False,
) -> None:
    """Serve a model on this machine's loopback interface with OpenAI's API, until Ctrl-C."""
    from ..models import catalog
    from ..models.engine import EngineFailed, EngineSettings
    from ..models.lease import check

    is_path = name.endswith(".gguf") or os.sep in name
    path = Path(name).expanduser().resolve() if is_path else catalog.path(name)
    settings = EngineSettings(str(path), path.stem if is_path else name, parallel=parallel, context_tokens=context)
    check(settings)
    try:
        asyncio.run(_serve(settings, port, as_json=as_json))
    except EngineFailed as error:
        raise CatalogError(str(error)) from error


async def _serve(settings: EngineSettings, port: int, *, as_json: bool) -> None:
    from ..models.engine import serving

    async with serving(settings, port=port) as address:
        if as_json:
            print(json.dumps(asdict(address)), flush=True)
        else:
            print(f"{settings.alias} is served at {address.base_url}", flush=True)
            print(f"API key: {address.api_key}\nstop with Ctrl-C", flush=True)
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
