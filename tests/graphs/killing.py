"""Killing runs at a place that is known: a model server that holds the run there, and the processes to kill."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import runpy
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from branchwise.models.fake_server import FakeServer

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["branchwise.graphs.runner", "branchwise.graphs.machine", "branchwise.models.client"])

SCRIPT = Path(__file__).parent / "killable_agents.py"

WAIT_SECONDS = 60.0

Turn = Callable[[str, int], str]
"""What the model says, by the text of its task and how many turns it has taken."""


def start(script: Path, folder: Path, **options: Any) -> ForkServerProcess:
    """Run a script in a process of its own, with `folder` and `options` as its globals."""
    folder.mkdir(exist_ok=True)
    process = processes.Process(
        target=runpy.run_path,
        args=(str(script),),
        kwargs={"init_globals": {"folder": str(folder), "options": options}, "run_name": "__killable__"},
    )
    process.start()
    return process


class Killing:
    """One run, killed and gone on with.

    Args:
        folder: of its traces.
        agent: which one, of `killable_agents.AGENTS`.
        says: what its model says.
        label: names a call by the first message of its task; its turn is added.
    """

    def __init__(self, folder: Path, agent: str, says: Turn, label: Callable[[str], str] | None = None) -> None:
        self.folder = folder
        self.calls: list[str] = []
        """Every call at the server, by name, in the order of arrival."""
        self.answered: list[str] = []
        """Those that were answered."""
        self._agent = agent
        self._says = says
        self._label = label or _short
        self._held: set[str] = set()
        self._url = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the model."""
        with FakeServer(self._reply).in_thread() as server:
            self._url = server.base_url
            yield

    async def _reply(self, body: Mapping[str, Any]) -> str:
        task = next(message["content"] for message in body["messages"] if message["role"] == "user").strip()
        turns = sum(message["role"] == "assistant" for message in body["messages"])
        name = f"{self._label(task)}/{turns}"
        self.calls.append(name)
        if name in self._held:
            await asyncio.Event().wait()
        self.answered.append(name)
        return self._says(task, turns)

    def kill(self, *held: str, hold: str = "", after: int = 0, **options: Any) -> list[str]:
        """Go on until the run is where it is to be killed, and kill it; return the calls that were finished then.

        Args:
            held: calls that are never answered: it is killed once all of them wait.
            hold: place in the process where it is killed instead; see `killable_agents.Place`.
            after: how many calls must have been answered besides.
            options: of the run.
        """
        self._held = set(held)
        process = start(SCRIPT, self.folder, base_url=self._url, agent=self._agent, hold=hold, **options)
        begun = len(self.calls)

        def there() -> bool:
            waiting = set(self.calls[begun:]) >= set(held)
            stopped = not hold or (self.folder / "held").exists()
            return waiting and stopped and len(self.answered) >= after and self._logged() >= len(self.answered)

        _until(there, process)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        self._held = set()
        return list(self.answered)

    def go_on(self, **options: Any) -> dict[str, Any]:
        """Take the run to its end in a process of its own; return what it came to."""
        process = start(SCRIPT, self.folder, base_url=self._url, agent=self._agent, **options)
        process.join(WAIT_SECONDS)
        assert process.exitcode == 0
        return json.loads((self.folder / "result.json").read_text())

    def _logged(self) -> int:
        """How many replies the run's log has: an answer counts as finished once it is there."""
        [path] = [*(self.folder / "runs").glob("*/calls.sqlite")] or [None]
        if path is None:
            return 0
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0) as db:
            try:
                [(count,)] = db.execute("SELECT count(*) FROM replies")
            except sqlite3.OperationalError:  # its tables are being made
                count = 0
        db.close()
        return int(count)

    @property
    def times(self) -> Counter[str]:
        """How often each call was made."""
        return Counter(self.calls)

    @property
    def effects(self) -> list[str]:
        """What the run did outside."""
        path = self.folder / "effects"
        return path.read_text().splitlines() if path.exists() else []


def _until(there: Callable[[], bool], process: ForkServerProcess) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not there():
        assert process.is_alive(), "the run has ended before it was where it is to be killed"
        assert time.monotonic() < ends, "the run did not get to where it is to be killed"
        time.sleep(0.005)


def _short(task: str) -> str:
    """Return a name for a task: its last words where it is one of another's, what it asks for else."""
    marks = {"You plan": "plan", "not accepted": "refine", "first half": "part1", "second half": "part2"}
    for mark, name in marks.items():
        if mark in (task if name in {"plan", "refine"} else task[:40]):
            return name
    return task.splitlines()[0][:20]
