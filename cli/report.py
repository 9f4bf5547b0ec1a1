"""What is printed when a run has ended, and of runs that did."""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.syntax import Syntax
from rich.table import Column, Table

from ..core.errors import UsageError
from ..core.events import encode
from ..core.marks import visible
from ..core.types import NodeId, Result
from ..graphs import Run, RunRecord, RunStore
from ..graphs.journal import read_tree
from .nodes import find, store_of
from .tree_view import draw, steps_of

ACCEPTED, FAILURE, WRONG_USE, NOT_ACCEPTED = 0, 1, 2, 3


def exit_code(result: Result, *, judged: bool) -> int:
    """Return the exit status for a result; without verifiers, an answer is as good as accepted."""
    if result.accepted or (not judged and result.answer is not None):
        return ACCEPTED
    return FAILURE if result.stop_reason == "failed" else NOT_ACCEPTED


def show_result(console: Console, result: Result, *, applied: bool) -> None:
    """Print the tree and what came of it."""
    console.print(draw(result.tree, title=f"run {result.run_id}", most=60))
    open_word = "waiting" if result.stop_reason == "waiting" else "not accepted"
    outcome = "[green]accepted[/]" if result.accepted else f"[yellow]{open_word}[/]"
    usage = result.usage
    console.print(
        f"\n{outcome} ({escape(visible(result.stop_detail))}); {len(result.tree) - 1} nodes, {usage.tokens} tokens "
        f"({usage.cached_tokens} from cache), {usage.calls} model calls, {result.seconds:.1f} s",
        highlight=False,
    )
    if (states := result.states).opened:
        dropped = (
            f"; {states.dropped} dropped, {states.replayed} made again" if states.dropped or states.replayed else ""
        )
        console.print(
            f"sandbox: {usage.sandbox_seconds:.1f} s; {states.kept} states kept ({states.keep_ms:.0f} ms, "
            f"{states.new_bytes / 1e6:.1f} MB new), {states.opened} opened ({states.open_ms:.0f} ms){dropped}",
            highlight=False,
        )
    for verdict in result.verdicts[-1:]:
        level = f", {verdict.integrity}" if verdict.integrity else ""
        console.print(
            f"{escape(verdict.verifier)}: {verdict.value:.2f}{level}. {escape(visible(verdict.feedback[:200]))}",
            highlight=False,
        )
    if result.answer:
        console.print(f"\n{escape(visible(result.answer))}", highlight=False)
    if result.files or result.deleted:
        names = ", ".join(sorted([*result.files, *result.deleted]))
        where = "written" if applied else f"`branchwise view {result.run_id} --patch` shows them"
        console.print(f"changed: {escape(names)} ({where})", highlight=False)
    if not result.accepted:
        console.print(f"go on with it: branchwise resume {result.run_id}", highlight=False)


def list_runs(console: Console, *, as_json: bool) -> None:
    """Print all runs."""
    records = [(run, run.load()) for run in RunStore().runs()]
    if as_json:
        for run, record in records:
            row = {"run_id": record.run_id, "agent": record.agent, "status": _status(run, record), **record.summary}
            print(json.dumps({**row, "created": record.created, "task": record.task["prompt"]}))
        return
    table = Table(
        Column("run", no_wrap=True),
        "agent",
        "status",
        "nodes",
        "tokens",
        "seconds",
        "task",
        box=None,
        header_style="bold",
    )
    for run, record in records:
        usage = record.summary.get("usage", {})
        table.add_row(
            record.run_id,
            escape(record.agent),
            _status(run, record),
            str(record.summary.get("nodes", "")),
            str(usage.get("tokens", "")),
            f"{record.elapsed_seconds:.0f}" if record.elapsed_seconds else "",
            escape(record.task["prompt"][:50]),
        )
    console.print(table if records else 'no runs yet; `branchwise run file.py:agent "task"` makes one')


def _status(run: Run, record: RunRecord) -> str:
    if record.status != "running":
        return record.status
    try:
        with (run.folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    except OSError:
        return "killed"
    return "killed"


async def show_run(console: Console, run_id: str, *, node: int | None, patch: bool, as_json: bool) -> None:
    """Print a run's tree, a node's trajectory or the chosen node's patch."""
    run = RunStore().open(run_id)
    record = run.load()
    tree, events = await read_tree(run, record)
    if node is not None and NodeId(node) not in tree:
        raise UsageError(f"run {record.run_id} has no node {node}; `branchwise view {record.run_id}` shows them")
    if as_json:
        print(json.dumps({"run": record.run_id, "status": _status(run, record), "events": json.loads(encode(events))}))
    elif patch:
        text = await patch_of(record.run_id if node is None else f"{record.run_id}/{node}") or "no file was changed\n"
        console.print(Syntax(text, "diff", background_color="default") if console.is_terminal else text, markup=False)
    elif node is not None:
        console.print(steps_of(tree, NodeId(node)), highlight=False)
    else:
        console.print(draw(tree, title=f"{record.agent}: {record.task['prompt'][:80]}"))
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
        detail = tree.stopped.detail if tree.stopped is not None else "it did not end"
        console.print(
            f"\n{_status(run, record)}: {escape(visible(detail))}; {len(tree) - 1} nodes, {tree.usage.tokens} tokens, begun {created}; "
            f"model {record.model}",
            highlight=False,
        )
        if any(one.place is not None for one in tree):
            hint = f"branchwise view {record.run_id} --html FILE"
            console.print(f"`{hint}` shows the pages", highlight=False, soft_wrap=True)
        if record.forked:
            place = "/".join(str(record.forked[name]) for name in ("run", "node") if name in record.forked)
            console.print(f"forked from {place}", highlight=False)


async def page_of(run_id: str) -> str:
    """Return a run's tree as an HTML page.

    Raises:
        UsageError: no such run.
    """
    from .page import Shown, html

    run = RunStore().open(run_id)
    record = run.load()
    tree, _ = await read_tree(run, record)
    return html(Shown(record, tree, _status(run, record), run.pictures))


def write_page(console: Console, text: str, target: Path) -> None:
    """Write a page into a file.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {target}: {error.strerror}; name a file in a folder that is there") from error
    told = f"wrote {target} ({len(text) / 1e6:.1f} MB, {text.count('<img ')} pictures)"
    console.print(told, highlight=False, soft_wrap=True, markup=False)


async def patch_of(place: str, since: int | None = None) -> str:
    """Return the patch from the task's files, or from the node `since`, to a node.

    Raises:
        UsageError: no such run or node, or it has no files.
        SandboxError: a state was dropped or removed.
    """
    node = await find(place)
    store = store_of(node)
    if since is not None:
        start = await find(f"{node.record.run_id}/{since}")
        return store_of(start).patch(start.ref or "", node.ref or "")
    return store.patch(node.record.root_ref or store.empty_ref, node.ref or "")
