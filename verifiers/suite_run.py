"""One run of a test suite, watched from the host."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from ..core.protocols import Environment
from ..core.types import ExecResult
from .conversation import Conversation, Ended, Message, Unusable
from .guest_code import program
from .suite_command import SuiteCommand

_MESSAGE_LIMIT_BYTES = 4 << 20
_OUTPUT_LIMIT_BYTES = 16 << 20
_PROBES = 4
"""Kinds of tests that must fail."""
_PLAINLY = 0
"""The kind that fails without any help."""
_PROBE_SHARE = 0.1
_SLACK_SECONDS = 0.5
_ENV = {"PYTHONDONTWRITEBYTECODE": "1"}
_HOW = frozenset(["passed", "failed", "skipped", "xfailed", "xpassed"])


@dataclass
class SuiteRun:
    """What one run of a suite came to, as far as it can be believed."""

    collected: list[str] = field(default_factory=list[str])
    deselected: list[str] = field(default_factory=list[str])
    broken: list[str] = field(default_factory=list[str])
    """Files and modules whose tests could not be collected."""
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    """How each test ended: passed, failed, skipped, xfailed (as its mark expects), xpassed (as it does not)."""
    probes: list[str] = field(default_factory=list[str])
    """How the tests ended that must fail."""
    status: int | None = None
    """What the runner said its status is; None where it did not come to its end."""
    stopped: str | None = None
    """Why it did not come to its end."""
    doubts: list[str] = field(default_factory=list[str])
    """Why it is not to be believed at all."""
    result: ExecResult = field(default_factory=lambda: ExecResult(0))

    def named(self, *how: str) -> set[str]:
        """Return the tests that ended in one of these ways."""
        return {name for name, ended in self.outcomes.items() if ended in how}


async def run_suite(
    environment: Environment, command: SuiteCommand, files: Mapping[str, str], *, timeout_seconds: float, probe: bool
) -> SuiteRun:
    """Run a suite test by test.

    Args:
        environment: where; the protected files are as they must be.
        command: what to run.
        files: SHA-256 of the protected files.
        timeout_seconds: for all of it.
        probe: whether tests that must fail are run in between.

    Raises:
        SandboxLost: the sandbox died.
    """
    run = SuiteRun()
    driver = program("guest_link", "guest_watch", f"guest_{command.runner}")
    async with environment.start(
        driver, timeout_seconds=timeout_seconds, env=_ENV, output_limit_bytes=_OUTPUT_LIMIT_BYTES
    ) as process:
        talk = Conversation(process, limit_bytes=_MESSAGE_LIMIT_BYTES)
        began = monotonic()
        try:
            await talk.send({"args": list(command.args), "files": dict(files)})
            await _Watcher(run, talk, probe=probe).follow()
        except Ended:
            run.stopped = "the test run ended before its end"
        except Unusable as error:
            run.doubts.append(f"the test run cannot be believed: {error}")
        if not run.doubts:  # else it may go on for as long as it likes; leaving ends it
            run.result = await process.wait()
    if run.result.timed_out:
        run.stopped = f"stopped after {monotonic() - began:.0f} s"
    elif run.stopped is None and not run.doubts and run.status != run.result.exit_code:
        run.doubts.append(f"the runner's status is {run.status}, that of its process {run.result.exit_code}")
    return run


class _Watcher:
    """Lets tests begin and takes their outcomes."""

    def __init__(self, run: SuiteRun, talk: Conversation, *, probe: bool) -> None:
        self.run = run
        self.talk = talk
        self.probe = probe
        self.expected = set[str]()
        self.random = secrets.SystemRandom()
        self.running: str | None = None
        self.probing = 0
        self.over = False
        self.began = 0.0

    async def follow(self) -> None:
        """Follow a run from its collection to its end."""
        while True:
            match await self.talk.receive():
                case {"collected": names, "errors": errors, "deselected": deselected}:
                    self.run.collected = _texts(names)
                    self.run.broken, self.run.deselected = _texts(errors), _texts(deselected)
                    self.expected = {*self.run.collected, *self.run.broken}
                    await self.talk.send({})
                case {"begin": (str() | None) as name, "done": done} if not self.probing:
                    self._take(done)
                    await self.talk.send(self._begin(name))
                case {"probe": str(how)} if self.probing:
                    self.probing -= 1
                    self.run.probes.append(how)
                    await self.talk.send({})
                case {"end": int(status), "problems": problems, "done": done} if not self.probing:
                    if not self.over:
                        self._take(done)  # stopped early, as after a failure that is to be the last
                        self.run.doubts += ["it ended well before its last test"] if status == 0 else []
                    self.run.status = status
                    self.run.doubts += _texts(problems)[:3]
                    return
                case _:
                    raise Unusable("it sent something that is no message")

    def _begin(self, name: str | None) -> Message:
        """Let a test begin, or the end of the run; say which tests that must fail come first."""
        if name is not None and (name not in self.expected or name in self.run.outcomes):
            raise Unusable(f"it runs {name!r}, which was not collected or ran before")
        self.running, self.began, self.over = name, monotonic(), name is None
        kinds = self._probes(name) if self.probe else []
        self.probing = len(kinds)
        return {"probes": [[kind, f"test_{secrets.token_hex(3)}"] for kind in kinds]}

    def _probes(self, name: str | None) -> list[int]:
        """Return the kinds of tests that are run now and must fail: all before the last test, one after it, else by chance."""
        if name is None:
            return [_PLAINLY]
        if name in self.run.collected[-1:]:
            return self.random.sample(range(_PROBES), _PROBES)
        return [self.random.randrange(_PROBES)] if self.random.random() < _PROBE_SHARE else []

    def _take(self, done: Any) -> None:
        if self.running is None and done is None:
            return
        match done:
            case {"name": self.running, "how": str(how), "seconds": int() | float() as seconds} if how in _HOW:
                if not 0 <= seconds <= monotonic() - self.began + _SLACK_SECONDS:
                    raise Unusable(f"{self.running!r} says that it took {seconds:g} s, more than there were")
                # A test passes when set-up, call and clean-up are over, not because nothing was said of them.
                if how == "passed" and not all(done.get(part) is True for part in ("setup", "call", "teardown")):
                    raise Unusable(f"{self.running!r} passed without having run to its end")
                self.run.outcomes[str(self.running)] = how
            case _:
                raise Unusable("it did not say how the test before ended")


def _texts(items: Any) -> list[str]:
    match items:
        case [*rows] if all(isinstance(row, str) for row in rows):
            return [str(row) for row in rows]
        case _:
            raise Unusable("it sent something that is no message")
