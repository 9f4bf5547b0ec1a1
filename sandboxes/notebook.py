"""Cells of a Python session: run where it is alive, brought back by running them again where it is not."""

from __future__ import annotations

from dataclasses import replace

from ..core.errors import SandboxError, SandboxLost
from ..core.types import ExecResult
from .history import HISTORY, MOST_BYTES, History, PastCell, fingerprint
from .secret import Secrets
from .store import Store
from .workspace import WorkSpace

_REPLAY_FACTOR, _REPLAY_SECONDS = 3.0, 10.0
"""What a cell gets when it is run again: so many times what it took, and so much more."""
_REPLAY_OUTPUT_BYTES = 1 << 20


class NoSession(SandboxLost):
    """This sandbox cannot run sessions any more: a guest has killed what starts them."""


class Notebook:
    """The session of one work space.

    Its history is a file of the work space, so that it belongs to every state. A sandbox keeps the interpreters of recent
    states and forks them; elsewhere, and after a kill, the cells are run again, from the files that the first of them saw.
    """

    def __init__(self, space: WorkSpace, store: Store, secrets: Secrets) -> None:
        self._space = space
        self._store = store
        self._secrets = secrets

    async def run(self, code: str, *, timeout_seconds: float, output_limit_bytes: int) -> ExecResult:
        """Run a cell; see `core.protocols.Environment.cell`."""
        history = await self._history()
        note = ""
        if history is None:
            await self._space.end_session()
            history = History(await self._space.save(self._store, self._secrets))
        outcome = await self._cell(code, timeout_seconds, output_limit_bytes, fresh=not history.cells)
        if outcome is None:
            note = await self._bring_back(history)
            outcome = await self._cell(code, timeout_seconds, output_limit_bytes, fresh=False)
        if outcome is None:
            raise NoSession("the sandbox can run no Python session any more")
        result, over = outcome
        if over:
            await self._space.write(HISTORY, history.after(code, result.seconds, result.stdout).text())
        elif not result.timed_out:
            note += "The session's process has ended with this cell; the next one goes on from before it.\n"
        return replace(result, stderr=note + result.stderr) if note else result

    async def _cell(
        self, code: str, seconds: float, limit_bytes: int, *, fresh: bool
    ) -> tuple[ExecResult, bool] | None:
        outcome = await self._space.cell(code, seconds, limit_bytes, env=self._secrets.environment, fresh=fresh)
        return None if outcome is None else (self._secrets.cleaned(outcome[0]), outcome[1])

    async def _history(self) -> History | None:
        try:
            return History.parse(await self._space.read(HISTORY, limit_bytes=MOST_BYTES))
        except (OSError, SandboxError):
            return None

    async def _bring_back(self, history: History) -> str:
        """Run all cells again; return what is to be told of it."""
        present = await self._space.save(self._store, self._secrets)
        base = history.base if self._store.holds(history.base) else present
        await self._space.load(base, self._store)
        strange = [
            number for number, past in enumerate(history.cells, 1) if not await self._again(past, first=number == 1)
        ]
        await self._space.load(present, self._store, keep_session=True)
        if not strange:
            return ""
        cells = ", ".join(map(str, strange))
        return f"The session was brought back by running its cells again; cell {cells} did not do what it did before.\n"

    async def _again(self, past: PastCell, *, first: bool) -> bool:
        """Run a cell again; return whether it did the same."""
        seconds = past.seconds * _REPLAY_FACTOR + _REPLAY_SECONDS
        outcome = await self._cell(past.code, seconds, _REPLAY_OUTPUT_BYTES, fresh=first)
        return outcome is not None and outcome[1] and fingerprint(outcome[0].stdout) == past.output
