"""Verdicts by test code that runs apart from the code it tests."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate, Environment, Process
from ..core.types import Python, Semantics, Task, Verdict
from .answers import check_file, opened
from .conversation import Conversation, Ended, Message, Unusable
from .counting import counting
from .guest_code import program
from .split_plan import Plan, plan

_MESSAGE_LIMIT_BYTES = 4 << 20
_OUTPUT_LIMIT_BYTES = 16 << 20
_GRACE_SECONDS = 2.0
"""How much longer the judge may take than the judged code, so that it can report that the other took too long."""
_ENV = {"PYTHONDONTWRITEBYTECODE": "1"}
_FIELDS = frozenset(["op", "on", "args", "kwargs", "name", "value", "changed", "error", "stop", "cannot"])
"""What calls consist of. A report is nothing that the judged code can send."""


@dataclass(frozen=True)
class Split:
    """Accept code that passes a test with the expected values in it; the test runs in a sandbox of its own.

    For test code such as a `check(candidate)`, unittest cases, `test_*` functions or a list of asserts. The test runs in one
    container, the code that it tests in another, and the host relays the calls between them as plain data:
    `integrity="split"`. The judged code cannot read the test, end it, skip it or patch anything that it uses: all that
    reaches the judge are values and exceptions. Each reply must carry the unguessable id of its call; answering ahead or twice
    is a failure. Every test and every assert that no condition guards must have run.

    Values are plain data (see `InputOutput`). Lists, dicts and sets that the code changes in place are changed for the test
    too. Functions and iterators can be passed both ways, objects of the code can be called and asked for attributes; whatever
    needs one of their operators, such as `==`, ends in "cannot be judged split", never in a pass. Identity is not kept.

    Calls with literal arguments that the test is bound to make first are made before it asks.

    Args:
        test: the test's source, or a function that gives it for a task.
        entry: name of the function that `check` is given, or that asserts call by its name; also `Class().method`.
        file: the Python file in the work space; None takes the code out of the answer.
        module: name by which the test imports the code.
        count: how many asserts (for tests: tests) must have held, where that is known.
        timeout_seconds: for the whole test.
        reveal: whether feedback tells which assert failed, and so parts of the test.
        name: shown beside the verdicts.

    Raises:
        UsageError: the settings, or the test, cannot work.
    """

    test: str | Callable[[Task], str]
    entry: str | Callable[[Task], str] | None = None
    file: str | None = None
    module: str = "solution"
    count: int | None = None
    timeout_seconds: float = 30.0
    reveal: bool = False
    name: str = "split"
    semantics: Semantics = "outcome"

    def __post_init__(self) -> None:
        check_file("Split", self.file)
        if not self.timeout_seconds > 0:
            raise UsageError(f"Split(timeout_seconds={self.timeout_seconds!r}) must be above 0")
        if isinstance(self.test, str) and not callable(self.entry):
            _plan(self.test, self.entry, self.module)

    @property
    def scope(self) -> Literal["state", "answer"]:
        """What it judges."""
        return "answer" if self.file is None else "state"

    async def judge(self, candidate: Candidate) -> Verdict:
        """Run the test.

        Raises:
            UsageError: the task's test cannot work.
        """
        test = self.test(candidate.task) if callable(self.test) else self.test
        entry = self.entry(candidate.task) if callable(self.entry) else self.entry
        planned = _plan(test, entry, self.module)
        config = {**counting(test), "entry": entry, "module": self.module, "style": planned.style}
        async with together(opened(candidate, self.file), candidate.open(None)) as ((environment, path), bench):
            server = program("plain", "guest_link", "guest_peer", "guest_candidate", args=(path, "objects"))
            judge = program("plain", "guest_link", "guest_peer", "guest_judge")
            seconds = self.timeout_seconds
            both = _running(environment, server, seconds), _running(bench, judge, seconds + _GRACE_SECONDS)
            async with together(*both) as (guest, judging):
                report = await _relay(judging, guest, config, planned)
        return self._verdict(planned, report)

    def _verdict(self, planned: Plan, report: Message) -> Verdict:
        if planned.style == "tests":
            results = {str(name): (str(how), str(text)) for name, how, text in report.get("tests", ())}
            wanted = self.count or max(len(results), len(planned.tests))
            held = sum(how == "passed" for how, _ in results.values())
            missing = [name for name in planned.tests if name not in results]
        else:
            lines = dict(report.get("held", ()))
            wanted = self.count or len(planned.asserts)
            held = sum(lines.values()) if self.count else sum(line in lines for line in planned.asserts)
            missing = []
        skipped = [line for line in planned.bound if line not in dict(report.get("held", ()))]
        problem = report.get("cannot") or report.get("problem")
        whole = held == wanted if self.count or planned.style == "tests" else True
        accepted = problem is None and not missing and not skipped and whole
        value = 1.0 if accepted else min(0.99, held / wanted if wanted else 0.0)
        what = "tests pass" if planned.style == "tests" else "asserts hold"
        feedback = f"{held} of {wanted} {what}"
        if not accepted:
            feedback += "\n" + self._why(report, missing or skipped)
        return Verdict(value, self.semantics, self.name, accepted, feedback, integrity="split")

    def _why(self, report: Message, left_out: list[Any]) -> str:
        if report.get("cannot"):
            return f"cannot be judged split: {report['cannot']}"[:500]
        failures = [f"{name}: {text}" for name, how, text in report.get("tests", ()) if how != "passed"]
        told = [text for text in [report.get("problem"), *failures] if text]
        if not self.reveal:
            return "a hidden test fails" if told else "a part of the hidden test did not run"
        return "\n".join(told)[:1_500] or f"did not run: {left_out}"


@functools.lru_cache(maxsize=256)
def _plan(test: str, entry: str | None, module: str) -> Plan:
    return plan(test, entry, module)


@asynccontextmanager
async def together(*managers: AbstractAsyncContextManager[Any]) -> AsyncGenerator[list[Any]]:
    """Enter and leave several context managers at the same time; those that were entered are left whatever happens."""
    entering = [asyncio.ensure_future(manager.__aenter__()) for manager in managers]
    try:
        await asyncio.wait(entering)
        yield [task.result() for task in entering]
    finally:
        for task in entering:
            task.cancel()
        await asyncio.wait(entering)
        entered = [not task.cancelled() and task.exception() is None for task in entering]
        leaving = [m.__aexit__(None, None, None) for m, inside in zip(managers, entered, strict=True) if inside]
        await asyncio.gather(*leaving)


def _running(environment: Environment, command: Python, seconds: float) -> Any:
    return environment.start(command, timeout_seconds=seconds, env=_ENV, output_limit_bytes=_OUTPUT_LIMIT_BYTES)


async def _relay(judge: Process, guest: Process, config: Message, planned: Plan) -> Message:
    """Carry calls and replies between judge and judged code until the judge reports; return the report."""
    bench = Conversation(judge, limit_bytes=_MESSAGE_LIMIT_BYTES)
    code = Conversation(guest, limit_bytes=_MESSAGE_LIMIT_BYTES)
    failed: str | None = None
    replies: list[Message] = []
    await code.send(*planned.ahead)
    try:
        while len(replies) < len(planned.ahead):
            replies.append(_clean(await code.receive()))
    except Unusable as error:
        failed = await _words(error, guest)
    try:
        known = [list(pair) for pair in zip(planned.ahead, replies, strict=False)]
        await bench.send({**config, "known": known})
        while "report" not in (message := await bench.receive()):
            if failed is None:
                try:
                    await code.send(_clean(message))
                    message = _clean(await code.receive())
                except Unusable as error:
                    failed = await _words(error, guest)
            await bench.send(message if failed is None else {"cannot": failed})
    except Unusable as error:
        return {"problem": await _words(error, judge)}
    report: Message = message["report"]
    return report


def _clean(message: Message) -> Message:
    return {name: value for name, value in message.items() if name in _FIELDS}


async def _words(error: Unusable, process: Process) -> str:
    if isinstance(error, Ended):
        result = await process.wait()
        if result.timed_out:
            return f"it took longer than {result.seconds:.0f} s"
    return str(error)
