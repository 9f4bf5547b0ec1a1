"""Running from a terminal: with a live view or as JSON records, with logs, with questions to the person there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import typer
from rich.console import Console

from ..agents import Agent
from ..core.errors import UsageError
from ..core.events import Event
from ..core.marks import visible
from ..core.people import Question
from ..core.protocols import Strategy
from ..core.tree import Tree
from ..core.types import Result, Task
from ..graphs import LocalRunner, Running
from ..graphs.event_log import EventLog
from ..sandboxes.host_files import write_tree
from .live import LiveView
from .people import Person, show_questions
from .report import exit_code, show_result

Begin = Callable[..., Coroutine[Any, Any, Result]]
"""Begins a run, or goes on with one, given a runner and its hooks."""


@dataclass(frozen=True)
class Session:
    """One run from a terminal, from its beginning to what is shown of its end.

    Args:
        agent: the agent.
        task: the task.
        strategy: instead of the agent's.
        apply: whether accepted files are written back.
        as_json: print records instead of text.
        log: file that every event is appended to.
    """

    agent: Agent
    task: Task
    strategy: Strategy | None
    apply: bool
    as_json: bool
    log: Path | None

    def run(self, begin: Begin) -> None:
        """Run, ask the person at the terminal where the run waits for one, and show what came of it.

        Raises:
            typer.Exit: always, with the exit status.
        """
        console = Console(stderr=self.as_json)
        person = Person(console) if sys.stdin.isatty() and not self.as_json else None
        with ExitStack() as stack:
            logs = [stack.enter_context(EventLog(stream)) for stream in self._streams(stack)]
            result = asyncio.run(self._watched(begin, console, logs, person))
            while result.stop_reason == "waiting" and person is not None and not person.gone:
                if not (answers := person.ask(result.questions)):
                    break
                go_on = partial(self._resumed, result.run_id, answers)
                result = asyncio.run(self._watched(go_on, console, logs, person))
            if self.as_json:
                logs[0].add({"result": result.to_json()})
        applied = self.apply and result.accepted
        if applied and self.task.files is not None:
            write_tree(Path(self.task.files), result.files, result.deleted)
        if not self.as_json:
            show_result(console, result, applied=applied)
            show_questions(console, result)
        raise typer.Exit(exit_code(result, judged=bool(self.agent.verifiers or self.agent.final)))

    def _resumed(
        self, run_id: str, answers: dict[str, Any], runner: LocalRunner, **hooks: Any
    ) -> Coroutine[Any, Any, Result]:
        return runner.go_on(self.agent, run_id, answers=answers, search=self.strategy, **hooks)

    def _streams(self, stack: ExitStack) -> list[IO[str]]:
        """Return where events are written."""
        streams: list[IO[str]] = []
        if self.as_json:
            # A duplicate: where the reader has gone, Python would complain about its own standard output as it ends.
            streams.append(stack.enter_context(_without_complaint(sys.stdout.fileno())))
        if self.log is not None:
            try:
                streams.append(stack.enter_context(self.log.open("a", encoding="utf-8")))
            except OSError as error:
                raise UsageError(f"--log {self.log}: {error.strerror}") from error
        return streams

    async def _watched(self, begin: Begin, console: Console, logs: Sequence[EventLog], person: Person | None) -> Result:
        """Run with a live view."""
        view = LiveView(console, f"{self.agent.name}: {visible(self.task.prompt[:60], lines=False)}")
        stopper = _Stopper(view, console)

        def started(running: Running) -> None:
            view.started(running)
            stopper.watch(running)

        def listen(path: str, events: Sequence[Event], tree: Tree) -> None:
            for log in logs:
                log(path, events, tree)

        with stopper, view.showing():
            return await begin(_runner(view, person), started=started, listener=listen)


def _runner(view: LiveView, person: Person | None) -> LocalRunner:
    """Return what runs the agent: where a person is at the terminal, it asks while the run goes on."""
    if person is None:
        return LocalRunner()
    lock = asyncio.Lock()

    async def asker(questions: Sequence[Question]) -> dict[str, Any]:
        async with lock:
            with view.paused():
                return await person.ask_beside(questions)

    return LocalRunner(asker=asker)


@contextmanager
def _without_complaint(number: int) -> Generator[IO[str]]:
    """Open a duplicate of a file that is open, and close it quietly also where what was written cannot be taken any more."""
    stream = os.fdopen(os.dup(number), "w", encoding="utf-8")
    try:
        yield stream
    finally:
        with suppress(BrokenPipeError):
            stream.close()


class _Stopper:
    """Ctrl-C or SIGTERM once stops the run cleanly; twice kills it at once."""

    def __init__(self, view: LiveView, console: Console) -> None:
        self._view = view
        self._console = console
        self._running: Running | None = None
        self._asked = 0

    def watch(self, running: Running) -> None:
        """Stop this run when asked to; at once where that was before it had begun."""
        self._running = running
        if self._asked:
            running.interrupt()

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self._asked += 1
        if self._asked > 1:
            # What the kernel sees as a kill: sandboxes and engine notice and go; the journal can be resumed.
            signal.raise_signal(signal.SIGKILL)
        self._view.note("stopping with the best so far; press Ctrl-C again to kill")
        if not self._console.is_terminal:
            print("stopping with the best so far", file=sys.stderr, flush=True)
        if self._running is not None:
            self._running.interrupt()
