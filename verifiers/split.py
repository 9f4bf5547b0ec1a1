"""Verdicts by test code that runs apart from the code it tests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate
from ..core.types import Semantics, Task, Verdict
from .answers import check_file, opened
from .conversation import Message
from .counting import counting
from .split_plan import Plan, plan
from .split_run import LIVE, Trial, together


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
            trial = Trial(bench, environment, path, config, planned, self.timeout_seconds)
            report = await trial.at_once() if planned.whole else None
            if report is None or report.get("cannot") == LIVE:
                report = await trial.live()
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
