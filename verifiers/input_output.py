"""Verdicts by hidden cases that never leave the host."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..core.errors import UsageError, VerifierError
from ..core.protocols import Candidate, Environment
from ..core.types import ExecResult, Python, Semantics, Task, Verdict
from .answers import check_file, opened
from .cases import Case, Check, Outcome, judge_text, judge_value
from .conversation import Conversation, Ended, Message, Unusable, only_answer, question
from .guest_code import program
from .plain import dump

_OUTPUT_LIMIT_BYTES = 1 << 20
_MOST_TIME_OUTS = 2
_RUN_FILE = "import runpy, sys\nsys.argv[0] = {file!r}\nsys.path.insert(0, {folder!r})\nrunpy.run_path({file!r}, run_name='__main__')\n"
_ENV = {"PYTHONDONTWRITEBYTECODE": "1"}

Cases = Sequence[Case] | Callable[[Task], Sequence[Case]]


@dataclass(frozen=True)
class InputOutput:
    """Accept code that gives the right output for hidden inputs; score by the share of cases that it gets right.

    The strongest level, `integrity="host-io"`: the cases are held on the host, one input after the other goes into the
    sandbox, and what comes out is compared on the host. Expected values never enter a sandbox, so there is nothing there
    to steal, patch or answer for. Outputs are plain data, decoded by the host, and compared with their exact types: True is
    not 1, 1 is not 1.0, a tuple is no list; no object of the judged code takes part in a comparison. Each answer must carry
    the unguessable id of its question; answering ahead or twice is a failure. Code that passes has computed the outputs.

    What it cannot see: what the code does beside its output, and code that has the answers by other means, for example
    because the cases were public. Feedback tells nothing of hidden cases, so that a search cannot learn them.

    Args:
        cases: the cases, or a function that gives those of a task.
        function: name of the function to call, also `Class().method`; None judges a program by its standard output.
        file: the Python file in the work space; None takes the code out of the answer.
        command: how to run a program that is not the Python file itself. Its status must be 0.
        check: says whether an output is right, in place of the comparison. Runs on the host: it should be quick and must
            treat its argument as data.
        tolerance: largest difference of numbers, relative or absolute; ints and floats may then stand for each other.
        timeout_seconds: for each case.
        fresh: whether each case gets a process of its own. Without it one process answers all, one after the other.
        shown: how many cases, from the first, may be told in feedback with their input and expected output.
        name: shown beside the verdicts.

    Raises:
        UsageError: the settings do not fit together.
    """

    cases: Cases
    function: str | None = None
    file: str | None = None
    command: tuple[str, ...] | None = None
    check: Check | None = None
    tolerance: float | None = None
    timeout_seconds: float = 10.0
    fresh: bool = True
    shown: int = 0
    name: str = "input-output"
    semantics: Semantics = "outcome"

    def __post_init__(self) -> None:
        check_file("InputOutput", self.file)
        if not self.timeout_seconds > 0:
            raise UsageError(f"InputOutput(timeout_seconds={self.timeout_seconds!r}) must be above 0")
        if self.tolerance is not None and not self.tolerance > 0:
            raise UsageError(
                f"InputOutput(tolerance={self.tolerance!r}) must be above 0; leave it out to compare exactly"
            )
        if self.function is not None and self.command is not None:
            raise UsageError("InputOutput: give a function to call or a command to run, not both")
        if self.function is None and not self.fresh:
            raise UsageError("InputOutput(fresh=False) is for functions: a program is always run anew")
        if not callable(self.cases) and not self.cases:
            raise UsageError("InputOutput(cases=[]) has nothing to judge by; give at least one Case")

    @property
    def scope(self) -> Literal["state", "answer"]:
        """What it judges."""
        return "answer" if self.file is None and self.command is None else "state"

    async def judge(self, candidate: Candidate) -> Verdict:
        """Run the cases.

        Raises:
            VerifierError: the task has no cases.
        """
        cases = self.cases(candidate.task) if callable(self.cases) else self.cases
        if not cases:
            raise VerifierError(f"verifier {self.name!r} has no cases for this task; give InputOutput(cases=...) some")
        outcomes = await self.outcomes(candidate, cases)
        passed = sum(outcome.passed for outcome in outcomes)
        accepted = passed == len(cases)
        value = 1.0 if accepted else min(0.99, passed / len(cases))
        feedback = self._feedback(cases, outcomes, passed)
        return Verdict(value, self.semantics, self.name, accepted, feedback, integrity="host-io")

    async def outcomes(self, candidate: Candidate, cases: Sequence[Case]) -> list[Outcome]:
        """Run cases; return how each went, fewer where several took too long or the process ended."""
        file = self.file if self.file is not None or self.command is None else ""
        async with opened(candidate, file) as (environment, path):
            if self.fresh:
                return await self._one_by_one(environment, path, cases)
            return await self._in_one_process(environment, path, cases)

    async def _one_by_one(self, environment: Environment, path: str, cases: Sequence[Case]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for case in cases:
            run = self._run_program if self.function is None else self._run_function
            outcomes.append(await run(environment, path, case))
            if sum(outcome.timed_out for outcome in outcomes) >= _MOST_TIME_OUTS:
                break  # the others would most likely only take their time too
        return outcomes

    async def _run_function(self, environment: Environment, path: str, case: Case) -> Outcome:
        identity, line = question(self._call(case))
        result = await environment.exec(
            _server(path),
            stdin=line,
            timeout_seconds=self.timeout_seconds,
            env=_ENV,
            output_limit_bytes=_OUTPUT_LIMIT_BYTES,
        )
        if failed := self._stopped(result):
            return failed
        try:
            return self._judged(case, only_answer(result.stdout, identity))
        except Unusable as error:
            return Outcome(False, str(error))

    async def _in_one_process(self, environment: Environment, path: str, cases: Sequence[Case]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        seconds = self.timeout_seconds * len(cases)
        limit = _OUTPUT_LIMIT_BYTES * min(len(cases), 16)
        async with environment.start(
            _server(path), timeout_seconds=seconds, env=_ENV, output_limit_bytes=limit
        ) as process:
            conversation = Conversation(process, limit_bytes=_OUTPUT_LIMIT_BYTES)
            try:
                for case in cases:
                    await conversation.send(self._call(case))
                    outcomes.append(self._judged(case, await conversation.receive()))
                await conversation.finish()
            except Unusable as error:
                stopped = self._stopped(await process.wait()) if isinstance(error, Ended) else None
                # What is said before its time, or twice, puts everything that was said in doubt.
                outcomes = [*outcomes[: len(cases) - 1], stopped or Outcome(False, str(error))]
        return outcomes

    async def _run_program(self, environment: Environment, path: str, case: Case) -> Outcome:
        arguments = tuple(str(arg) for arg in case.args)
        folder = path.rpartition("/")[0] or "."
        ours = Python(_RUN_FILE.format(file=path, folder=folder), arguments)
        result = await environment.exec(
            ours if self.command is None else [*self.command, *arguments],
            stdin=case.stdin.encode(),
            timeout_seconds=self.timeout_seconds,
            env=_ENV,
            output_limit_bytes=_OUTPUT_LIMIT_BYTES,
        )
        if failed := self._stopped(result):
            return failed
        if result.exit_code != 0:
            return Outcome(False, f"it ended with status {result.exit_code}", result.stderr[-200:])
        return judge_text(case, result.stdout, check=self.check, tolerance=self.tolerance)

    def _call(self, case: Case) -> Message:
        kwargs = {name: dump(value) for name, value in case.kwargs.items()}
        return {"op": "call", "on": self.function, "args": [dump(arg) for arg in case.args], "kwargs": kwargs}

    def _judged(self, case: Case, reply: Message) -> Outcome:
        """Compare a reply. It comes from the judged code: nothing about it is certain but that it is JSON."""
        match reply:
            case {"cannot": _}:
                return Outcome(False, "what it returned is no plain data")
            case {"error": {"types": [*names]}}:
                kinds = [name for name in names if isinstance(name, str)]
                if case.raises is not None and case.raises in (kinds[:1] + kinds[-1:]):
                    return Outcome(True)
                return Outcome(False, f"it raised {_known(kinds)}", ", ".join(kinds)[:200])
            case {"value": wire} if case.raises is None:
                return judge_value(case, wire, check=self.check, tolerance=self.tolerance)
            case {"value": _}:
                return Outcome(False, "it raised no exception where one was expected")
            case _:
                return Outcome(False, "its answer is no message")

    def _stopped(self, result: ExecResult) -> Outcome | None:
        if result.timed_out:
            return Outcome(False, f"it took longer than {self.timeout_seconds:g} s", timed_out=True)
        if result.truncated:
            return Outcome(False, f"it printed more than {_OUTPUT_LIMIT_BYTES >> 20} MiB")
        return None

    def _feedback(self, cases: Sequence[Case], outcomes: Sequence[Outcome], passed: int) -> str:
        lines = [f"{passed} of {len(cases)} cases pass"]
        failed = [(case, outcome) for case, outcome in zip(cases, outcomes, strict=False) if not outcome.passed]
        for case, outcome in failed:
            if any(case is told for told in cases[: self.shown]):
                lines.append(self._told(case, outcome))
        hidden = sorted(
            {outcome.problem for case, outcome in failed if not any(case is c for c in cases[: self.shown])}
        )
        if hidden:
            lines.append(f"Hidden cases: {'; '.join(hidden)}")
        return "\n".join(lines)[:1_500]

    def _told(self, case: Case, outcome: Outcome) -> str:
        given = ", ".join([*map(repr, case.args), *(f"{key}={value!r}" for key, value in case.kwargs.items())])
        what = f"{self.function or 'program'}({given})" + (f" with input {case.stdin!r}" if case.stdin else "")
        wanted = f"raise {case.raises}" if case.raises else f"give {case.expected!r}"
        return f"{case.name or what} should {wanted}: {outcome.problem}{f': {outcome.got}' if outcome.got else ''}"


def _server(path: str) -> Python:
    return program("plain", "guest_link", "guest_peer", "guest_candidate", args=(path, "values"))


def _known(kinds: Sequence[str]) -> str:
    """Return the first name that is a built-in exception's: any other could carry a message out of the sandbox."""
    for name in kinds:
        known: Any = getattr(builtins, name, None)
        if isinstance(known, type) and issubclass(known, BaseException):
            return name
    return "an exception"
