"""Tests that a model writes from the task alone: run against the code, or judged statement by statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary

from ..core.errors import UsageError, VerifierError
from ..core.keys import derive_seed
from ..core.protocols import Candidate, Model, Verifier
from ..core.schemas import form_of_object
from ..core.tree import TreeView
from ..core.types import JSON, NO_USAGE, Message, NodeId, Semantics, Task, Usage, Verdict
from .answers import check_file
from .asking import Asker
from .asserts import agreed, calls_of, read_asserts
from .cases import Case
from .combining import spent
from .fence import TAINTED, fenced
from .input_output import InputOutput
from .part import Part
from .showing import Show, shown

_TEST_LIMIT_CHARS = 300
_FAILURES_SHOWN = 3
_ATTEMPTS = 3
"""How often tests are asked for where none of them can be used."""

_WRITE_CALLS = """You write tests for a task before anybody has solved it.
{tainted}
Write up to {cap} lines, each a test of the function `{function}` of the form `assert {function}(...) == ...` with literal values only.
Work out what must come out from the task's words. Begin with its own examples, then take other cases, small and at the edges."""

_WORK_OUT = """You say what a function returns that nobody has written yet.
{tainted}
The task says what `{function}` does. For each of the calls write a line of the form `assert {function}(...) == ...` with literal values
only. Work out what must come out from the task's words; leave a call out of which they do not say it."""

_WRITE_STATEMENTS = """You say how one can tell whether a solution to a task is right, before anybody has solved it.
{tainted}
Write up to {cap} statements, each one sentence that is true of a right solution and can be checked by reading it."""

_CHECK_STATEMENTS = """You check statements about a solution to a task, one by one.
{tainted}
Say of each whether the solution passes it: "pass" or "fail"."""

Passes: TypeAlias = Mapping[str, float]
"""1 for a test that passed, 0 for one that failed, by the test's text."""

_Written: TypeAlias = WeakKeyDictionary[TreeView, tuple[Case | str, ...]]
_Writing: TypeAlias = WeakKeyDictionary[TreeView, asyncio.Lock]


@dataclass(frozen=True)
class WrittenTests:
    """Judge by tests that a model writes from the task alone. For tasks that come without tests.

    With a `function` the tests are calls of it, run like the hidden cases of `InputOutput`: each in a fresh process, what
    comes out compared on the host, and twice, since a test that comes out differently has failed. Without one they are
    statements, and a model says of each whether a candidate passes (Saad-Falcon et al. 2024, Archon: generator and evaluator of
    unit tests). A task's tests are written once in a run.

    A model's tests are often wrong. `scope="set"` therefore compares: it counts only those that some candidate passes and
    not every one does, for a test that nobody passes is most likely wrong and one that all pass says nothing. It is
    asked at the search's end (`search.Comparing`). The other scopes give the share of tests that pass while it goes on, and
    accept nothing unless told to. `agree=True` has every call worked out once more by a call to the model that is shown no
    results, and keeps the tests of which both say the same: fewer and truer ones.

    Args:
        function: name of the function that the tests call, or what gives it for a task; None for statements.
        file: the Python file in the work space; None takes the code out of the answer. Only with a function.
        cap: tests to ask for, >= 1.
        agree: whether a test counts only where a second call to the model, which sees the task and the calls alone, wants the same
            of it. Only with a function.
        repeat: how often the tests are run; all runs must agree, >= 1. Statements are judged once.
        accept: share of tests from which it accepts a candidate; None only scores.
        tolerance: largest difference of numbers, relative or absolute.
        timeout_seconds: for each test.
        show: what a model sees of a candidate when it judges statements.
        model: `provider:model` or a `Model` for itself; None asks the agent's.
        temperature: of its sampling.
        max_tokens: longest reply.
        scope: `answer`, `state` (needs a file) or `set`.
        tests: those that are to be used, as `write` returned them; none are written then.
        name: shown beside its verdicts.

    Raises:
        UsageError: the settings do not fit together.
    """

    function: str | Callable[[Task], str] | None = None
    file: str | None = None
    cap: int = 8
    agree: bool = False
    repeat: int = 2
    accept: float | None = None
    tolerance: float | None = None
    timeout_seconds: float = 10.0
    show: Show = "steps"
    model: str | Model | None = None
    temperature: float = 0.3
    max_tokens: int = 768
    scope: Literal["answer", "state", "set"] = "answer"
    tests: tuple[str, ...] = ()
    name: str = "written-tests"
    semantics: Semantics = "outcome"
    _written: _Written = field(default_factory=_Written, init=False, repr=False, compare=False)
    """The tests of each run."""
    _writing: _Writing = field(default_factory=_Writing, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_file("WrittenTests", self.file)
        if self.cap < 1 or self.repeat < 1:
            raise UsageError(f"WrittenTests(cap={self.cap!r}, repeat={self.repeat!r}) must both be at least 1")
        if self.accept is not None and not 0 < self.accept <= 1:
            raise UsageError(f"WrittenTests(accept={self.accept!r}) must lie in (0, 1]; None only scores")
        if self.scope == "state" and (self.function is None or self.file is None):
            raise UsageError("WrittenTests(scope='state') runs code of the work space; give it function= and file=")
        if self.function is None and self.file is not None:
            raise UsageError("WrittenTests(file=...) runs code; give it function= as well")
        if self.function is None and self.agree:
            raise UsageError("WrittenTests(agree=True) compares what calls return; give it function= as well")

    @property
    def parts(self) -> Sequence[Verifier]:
        """One candidate's judgement by the tests."""
        return (_Run(self, ()),)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Judge by the tests; they are written before, where they are not yet.

        Raises:
            VerifierError: the model wrote no test that can be used.
        """
        run = _Run(self, await self._tests(candidate))
        if self.scope != "set":
            return await candidate.ask(run)
        rivals = candidate.rivals()
        verdicts = [await candidate.at(node.id).again(number).ask(run) for number, node in enumerate(rivals)]
        passes = {node.id: verdict.per_constraint or {} for node, verdict in zip(rivals, verdicts, strict=True)}
        ranking, kept = discriminating(passes)
        best = max(ranking, key=lambda node: ranking[node])
        feedback = f"{kept} of {len(run.tests)} tests tell the {len(rivals)} candidates apart; node {best} passes most"
        return Verdict(
            ranking[best],
            self.semantics,
            self.name,
            feedback=feedback,
            per_constraint={"tests": float(len(run.tests)), "kept": float(kept)},
            calls=len(verdicts),
            usage=spent(verdicts),
            ranking=ranking,
        )

    async def write(self, candidate: Candidate) -> tuple[str, ...]:
        """Return tests for a candidate's task, written anew, each a line of text.

        Raises:
            VerifierError: the model wrote no test that can be used, or none that it agrees on with itself.
        """
        return tuple(test.name if isinstance(test, Case) else test for test in await self._write(candidate))

    async def _tests(self, candidate: Candidate) -> tuple[Case | str, ...]:
        """Return the run's tests; those who come while they are written wait for them."""
        if self.tests:
            return self._read(self.tests, candidate.task)
        view = candidate.view
        if view is None:
            return await self._write(candidate)
        async with self._writing.setdefault(view, asyncio.Lock()):
            if view not in self._written:
                self._written[view] = await self._write(candidate)
            return self._written[view]

    async def _write(self, candidate: Candidate) -> tuple[Case | str, ...]:
        function = self.entry(candidate.task)
        if function is None:
            system = _WRITE_STATEMENTS.format(tainted=TAINTED, cap=self.cap)
        else:
            system = _WRITE_CALLS.format(tainted=TAINTED, cap=self.cap, function=function)
        task = fenced("task", candidate.task.prompt)
        lines: list[str] = []
        agreed_on = " that it agrees on with itself" if self.agree else ""
        for attempt in range(_ATTEMPTS):
            # Seeds that do not depend on the candidate: a resumed run finds the tests in its log of calls.
            lines = await self._lines(candidate, derive_seed(0, attempt), system, task)
            tests = self._read(lines, candidate.task)
            if tests and self.agree and function is not None:
                tests = await self._agreed(candidate, derive_seed(1, attempt), function, tests)
            if tests:
                return tests
        raise VerifierError(
            f"verifier {self.name!r}: none of the lines that the model wrote is a test{agreed_on}: {lines!r:.300}"
        )

    async def _agreed(
        self, candidate: Candidate, seed: int, function: str, tests: Sequence[Case | str]
    ) -> tuple[Case, ...]:
        """Return the tests of which a second writer, who sees the calls alone, wants the same."""
        cases = [test for test in tests if isinstance(test, Case)]
        system = _WORK_OUT.format(tainted=TAINTED, function=function)
        user = [fenced("task", candidate.task.prompt), fenced("calls", "\n".join(calls_of(cases, function)))]
        lines = await self._lines(candidate, seed, system, "\n\n".join(user))
        return tuple(agreed(cases, read_asserts(lines, function)))

    async def _lines(self, candidate: Candidate, seed: int, system: str, user: str) -> list[str]:
        """Return up to `cap` lines that the model writes."""
        line: JSON = {"type": "string", "maxLength": _TEST_LIMIT_CHARS}
        schema = form_of_object(tests={"type": "array", "items": line, "minItems": 1, "maxItems": self.cap})
        messages = [Message("system", system), Message("user", user)]
        reply = await self._asker.ask(replace(candidate, seed=seed), messages, schema)
        return [str(text) for text in reply.data["tests"]][: self.cap]

    def _read(self, lines: Sequence[str], task: Task) -> tuple[Case | str, ...]:
        """Return the tests that lines are; those that are none are left out."""
        function = self.entry(task)
        return tuple(dict.fromkeys(lines)) if function is None else tuple(read_asserts(lines, function))

    def entry(self, task: Task) -> str | None:
        """Return the name of the function that a task's tests call; None where they are statements."""
        return self.function(task) if callable(self.function) else self.function

    @property
    def _asker(self) -> Asker:
        return Asker(self.name, self.model, self.temperature, self.max_tokens)

    async def check_statements(self, candidate: Candidate, statements: Sequence[str]) -> tuple[Passes, Usage]:
        """Return which statements a model says that a candidate passes, and what asking cost."""
        listed = "\n".join(f"{number}. {text}" for number, text in enumerate(statements, 1))
        parts = [fenced("task", candidate.task.prompt), fenced("solution", shown(candidate, self.show))]
        user = "\n\n".join([*parts, f"Statements:\n{listed}"])
        schema = form_of_object(
            **{f"s{number}": {"enum": ["pass", "fail"]} for number in range(1, len(statements) + 1)}
        )
        system = _CHECK_STATEMENTS.format(tainted=TAINTED)
        reply = await self._asker.ask(candidate, [Message("system", system), Message("user", user)], schema)
        return {text: float(reply.data[f"s{n}"] == "pass") for n, text in enumerate(statements, 1)}, reply.usage


def discriminating(passes: Mapping[NodeId, Passes]) -> tuple[dict[NodeId, float], int]:
    """Return what candidates are worth by the tests that tell them apart, and how many these are.

    Without any, all are worth the same.
    """
    tests = next(iter(passes.values()))
    kept = [test for test in tests if 0 < sum(passed[test] for passed in passes.values()) < len(passes)]
    ranking = {n: sum(p[test] for test in kept) / len(kept) if kept else 0.5 for n, p in passes.items()}
    return ranking, len(kept)


@dataclass(frozen=True)
class _Run(Part[WrittenTests]):
    """The judgement of one candidate by tests that are there."""

    tests: tuple[Case | str, ...]

    async def judge(self, candidate: Candidate) -> Verdict:
        """Run the tests, or have the statements judged."""
        cases = [test for test in self.tests if isinstance(test, Case)]
        usage = NO_USAGE
        if cases:
            passes = await self._run(candidate, cases)
        else:
            passes, usage = await self.of.check_statements(candidate, [str(test) for test in self.tests])
        value = sum(passes.values()) / len(passes)
        failed = [test for test, passed in passes.items() if not passed]
        lines = [
            f"{len(passes) - len(failed)} of {len(passes)} tests pass that a model wrote",
            *failed[:_FAILURES_SHOWN],
        ]
        return Verdict(
            value,
            self.semantics,
            self.name,
            None if self.of.accept is None else value >= self.of.accept,
            "\nnot passed: ".join(lines),
            per_constraint=passes,
            usage=usage,
            integrity="host-io" if cases else None,
        )

    async def _run(self, candidate: Candidate, cases: Sequence[Case]) -> Passes:
        """Return which cases pass, every time."""
        of = self.of
        runner = InputOutput(
            cases,
            function=of.entry(candidate.task),
            file=of.file,
            tolerance=of.tolerance,
            timeout_seconds=of.timeout_seconds,
        )
        runs = [await runner.outcomes(candidate, cases) for _ in range(of.repeat)]
        return {
            case.name: float(all(number < len(run) and run[number].passed for run in runs))
            for number, case in enumerate(cases)
        }
