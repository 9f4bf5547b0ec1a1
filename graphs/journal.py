"""Durable runs: one folder per run, the journal as a LangGraph delta channel in SQLite."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import JournalError, JournalVersionMismatch, UsageError
from ..core.events import JOURNAL_VERSION, Event
from ..core.settings import home
from ..core.tree import Tree
from ..core.types import JSON, ROOT, Node
from .stored import events_of_file

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from .delta import JournalSaver


# --- the folder of a run --------------------------------------------------------------------------------------------


@dataclass
class RunRecord:
    """What a run's folder says about it, beside the journal: enough to resume it in another process."""

    run_id: str
    agent: str
    """Name of the agent."""
    task: dict[str, JSON]
    budget: dict[str, JSON]
    seed: int
    strategy: str
    """`repr` of the strategy: a run is resumed with the strategy that it was begun with."""
    selector: str = field(default="None", kw_only=True)
    """`repr` of the agent's selector, likewise."""
    team: str = field(default="None", kw_only=True)
    """`repr` of the agent's team, likewise."""
    variants: list[str] = field(default_factory=list[str], kw_only=True)
    """Names of the agent's variants of a task, likewise: trajectories are of the variant of a number."""
    added: list[str] = field(default_factory=list[str], kw_only=True)
    """The verifiers that the command line gave the agent beside its own, as they were written there."""
    model: str
    source: str | None = None
    """`file.py:name` from which the command line loaded the agent."""
    root_ref: str | None = None
    """Snapshot of the task's files."""
    forked: dict[str, JSON] = field(default_factory=dict[str, JSON], kw_only=True)
    """Where the run was forked from another one: that `run`, the `node`, what was changed, and the `state` that it began with."""
    status: str = "running"
    """`running` (or killed), then the stop reason."""
    elapsed_seconds: float = 0.0
    """Wall clock of the run's ended processes."""
    process_started: float | None = None
    """Unix time at which the present process took the run over; None where it ended in good order."""
    trace: str | None = None
    """Where the last process that was traced had its trace of the run, for the next one to refer to."""
    summary: dict[str, JSON] = field(default_factory=dict[str, JSON])
    version: int = JOURNAL_VERSION
    created: float = field(default_factory=time.time)
    """Unix time in seconds."""


class RunStore:
    """The folder that holds all runs; `BRANCHWISE_HOME`/runs unless told otherwise."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or home() / "runs"

    def create(self, record: RunRecord) -> Run:
        """Make the folder of a new run; one that was prepared for it may be there.

        Raises:
            JournalError: it cannot be written.
        """
        run = Run(self.folder / record.run_id)
        try:
            run.folder.mkdir(parents=True, exist_ok=not self.has(record.run_id))
        except OSError as error:
            raise JournalError(f"cannot make the run's folder {run.folder}: {error.strerror}") from error
        run.save(record)
        return run

    def open(self, run_id: str) -> Run:
        """Return a run by its id, or by a beginning of it that fits only one.

        Raises:
            UsageError: no such run, or several.
        """
        found = [run for run in self.runs() if run.folder.name.startswith(run_id)] if run_id else []
        exact = [run for run in found if run.folder.name == run_id]
        if len(exact or found) != 1:
            problem = f"{len(found)} runs begin with" if found else f"no run in {self.folder} is called"
            raise UsageError(f"{problem} {run_id!r}; `branchwise runs` lists them")
        return (exact or found)[0]

    def has(self, run_id: str) -> bool:
        """Whether a run of exactly this id was begun."""
        return (self.folder / run_id / "run.json").is_file()

    def runs(self) -> list[Run]:
        """Return all runs, the newest last, also such whose record cannot be read."""
        if not self.folder.is_dir():
            return []
        runs = [Run(path) for path in self.folder.iterdir() if (path / "run.json").is_file()]
        return sorted(runs, key=lambda run: run.folder.name)


class Run:
    """One run's folder: `run.json`, `journal.sqlite`, `calls.sqlite`, `snapshots/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def calls_path(self) -> Path:
        """Database of the model calls."""
        return self.folder / "calls.sqlite"

    @property
    def snapshots(self) -> Path:
        """Folder of the environment snapshots."""
        return self.folder / "snapshots"

    @property
    def pictures(self) -> Path:
        """Folder of small pictures of states, where environments have pages."""
        return self.folder / "pictures"

    def load(self) -> RunRecord:
        """Read the record.

        Raises:
            JournalVersionMismatch: another version wrote it.
        """
        path = self.folder / "run.json"
        try:
            data = dict(json.loads(path.read_text()))
            if data.get("version") != JOURNAL_VERSION:
                raise JournalVersionMismatch(
                    f"run {self.folder.name} has journal version {data.get('version')!r}, this is version "
                    f"{JOURNAL_VERSION}; use the Branchwise that began the run"
                )
            return RunRecord(**data)
        except (OSError, ValueError, TypeError) as error:
            raise JournalError(f"cannot read the run's record {path}: {error}") from error

    def save(self, record: RunRecord) -> None:
        """Write the record, whole or not at all.

        Raises:
            JournalError: it cannot be written.
        """
        path = self.folder / "run.json"
        draft = path.with_name(f".run.json.{os.getpid()}")
        try:
            draft.write_text(json.dumps(asdict(record), indent=1))
            draft.replace(path)
        except OSError as error:
            raise JournalError(f"cannot write the run's record {path}: {error.strerror}") from error

    def take_over(self, record: RunRecord) -> None:
        """Note that this process runs it now; where the last one was killed, count the time until its last sign of life."""
        if record.process_started is not None:
            traces = [path.stat().st_mtime for path in self.folder.glob("*.sqlite*")]
            record.elapsed_seconds += max(0.0, max(traces, default=0.0) - record.process_started)
        record.process_started = time.time()
        record.status = "running"
        self.save(record)

    def remove(self) -> None:
        """Delete the run and everything of it."""
        shutil.rmtree(self.folder)

    @asynccontextmanager
    async def saver(self) -> AsyncGenerator[JournalSaver]:
        """Open the journal's database.

        Raises:
            JournalError: it cannot be opened or, while it is in use, read or written.
        """
        from .delta import JournalSaver, strict_serializer  # LangGraph takes its time to load

        path = self.folder / "journal.sqlite"
        try:
            connection = sqlite3.connect(path)
        except sqlite3.Error as error:
            raise JournalError(f"cannot open the journal {path}: {error}") from error
        with closing(connection):
            try:
                # A power cut may lose the last super-steps, a kill loses none: the pages are the kernel's by then.
                connection.execute("PRAGMA synchronous=NORMAL")
                saver = JournalSaver(connection, serde=strict_serializer())
                saver.setup()
            except sqlite3.Error as error:
                raise JournalError(f"cannot open the journal {path}: {error}") from error
            try:
                yield saver
            except sqlite3.Error as error:
                raise JournalError(
                    f"cannot write the journal {path}: {error}; make room, then resume the run"
                ) from error


@asynccontextmanager
async def memory_saver() -> AsyncGenerator[BaseCheckpointSaver[Any]]:
    """A saver that forgets with the process."""
    from langgraph.checkpoint.memory import InMemorySaver

    from .delta import strict_serializer

    yield InMemorySaver(serde=strict_serializer())


def new_run_id() -> str:
    """Return an unguessable id that sorts by time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def new_seed() -> int:
    """Return a seed for a run whose caller gave none."""
    return secrets.randbelow(2**31)


async def read_tree(run: Run, record: RunRecord) -> tuple[Tree, list[Event]]:
    """Return a run's tree and events as its journal has them now, without touching the run."""
    events = events_of_file(run.folder / "journal.sqlite", record.run_id)
    return Tree.fold(root_of(record), events), events


def root_of(record: RunRecord) -> Node:
    """Return the node that a run's own search begins with."""
    return Node(ROOT, None, None, record.forked["state"] if record.forked else record.root_ref)
