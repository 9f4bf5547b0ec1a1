"""Verdicts by running a test suite in a fresh sandbox."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from ..core.errors import UsageError
from ..core.protocols import Candidate
from ..core.types import ExecResult, Semantics, Verdict
from .protection import PROTECTED, Originals, changes, originals, restore
from .suite_command import SuiteCommand, read_command
from .suite_judgement import judge_run
from .suite_output import count_tests, feedback_of
from .suite_run import SuiteRun, run_suite

_MOST_BASELINES = 256
_ENV = {"PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True)
class _Baseline:
    """What is known of the untouched task."""

    kept: Originals
    run: SuiteRun | None
    """Its own run; None where the command is not run test by test."""

    @property
    def probe(self) -> bool:
        """Whether tests that must fail can be run among the task's own."""
        return self.run is None or all(how == "failed" for how in self.run.probes)


@dataclass(frozen=True)
class Tests:
    """Accept where a test suite passes; score by the share of tests that pass. For suites of pytest, unittest and others.

    The code under test and the test runner share a process, so code that is written to deceive this very verifier can do so:
    `integrity="in-process"`. `InputOutput` and `Split` cannot be deceived; use them where the task allows it, and `Legality`
    beside this one. What is excluded, and how:

    - Tests and configuration that were edited, deleted or added, hidden in `.pth`, `sitecustomize`, plug-ins by entry
      point, links, or modules named like one of Python's or pytest's: the run is in a fresh sandbox, in which every
      protected file was put back; the host checks it before and after the run, and each test file before it is imported.
    - Leaving early with any status, printed summaries and reports, output that looks like the runner's, answers before
      their time: the host lets each test begin and takes its outcome with an unguessable id; one that did not run through
      set-up, call and clean-up has not passed; the status of the process, of the runner and the outcomes must agree.
    - Tests that are skipped, deselected, excused as expected failures, or missing: the same tests must run as in the
      untouched task (which is run once), and none may be skipped that ran there.
    - A test runner or assertions patched so that nothing fails: at places that only the host knows, and before the last
      test, a test is run that must fail.
    - Processes left behind: the sandbox ends them with the run.

    Not excluded: objects that claim to equal everything, expected values read from the tests and given back, and code that
    takes over the runner and knows the tests that must fail from the others. A command that is neither pytest nor unittest,
    or needs a shell or several processes, is only run with the protected files in place: it passes by its exit status, which
    any code that leaves with 0 can forge.

    Args:
        command: what to run; status 0 means passed.
        timeout_seconds: a longer run counts as failed.
        protect: glob patterns of files that are restored from the task before the run.
        name: shown beside the verdicts.
        repeat: how often the suite is run; runs that differ are not accepted.
        same_tests: whether exactly the tests of the untouched task must run. Turn it off where names of tests depend on the
            code.
    """

    command: str = "python3 -m pytest -q --tb=short -p no:cacheprovider"
    timeout_seconds: float = 60.0
    protect: tuple[str, ...] = PROTECTED
    name: str = "tests"
    repeat: int = 1
    same_tests: bool = True
    semantics: Semantics = "outcome"
    scope: Literal["state", "answer"] = "state"
    _baselines: dict[str, _Baseline] = field(
        default_factory=dict[str, "_Baseline"], init=False, repr=False, compare=False
    )
    """By the address of the untouched task's state."""

    __test__ = False  # pytest: not a test class

    def __post_init__(self) -> None:
        if not self.command.strip():
            raise UsageError("Tests(command=...) is empty; give the command that runs the tests")
        if not self.timeout_seconds > 0:
            raise UsageError(f"Tests(timeout_seconds={self.timeout_seconds!r}) must be positive")
        if self.repeat < 1:
            raise UsageError(f"Tests(repeat={self.repeat!r}) must be at least 1")

    async def judge(self, candidate: Candidate) -> Verdict:
        """Run the tests in a fresh sandbox.

        Raises:
            VerifierError: the protected files could not be put back.
        """
        command = read_command(self.command)
        baseline = await self._baseline(candidate, command)
        verdicts = [await self._once(candidate, command, baseline) for _ in range(self.repeat)]
        if len({(verdict.value, verdict.passed) for verdict in verdicts}) > 1:
            told = ", ".join(verdict.feedback.partition("\n")[0] for verdict in verdicts)
            return self._verdict(min(v.value for v in verdicts), False, f"Runs of the same code differ: {told}")
        return verdicts[0]

    async def _once(self, candidate: Candidate, command: SuiteCommand | None, baseline: _Baseline) -> Verdict:
        if baseline.run is not None and self.repeat == 1 and candidate.node.env_ref == candidate.origin_ref:
            return self._by_run(baseline.run, baseline, [])
        async with candidate.open(candidate.node.env_ref) as environment:
            touched = await restore(environment, candidate, baseline.kept, self.protect)
            if command is None:
                result = await environment.exec(self.command, timeout_seconds=self.timeout_seconds, env=_ENV)
                run = None
            else:
                run = await run_suite(
                    environment,
                    command,
                    baseline.kept.digests,
                    timeout_seconds=self.timeout_seconds,
                    probe=baseline.probe,
                )
                result = run.result
            edited = await changes(environment, baseline.kept) if baseline.kept.files else []
        reasons = [f"changed while they ran: {', '.join(edited[:5])}"] if edited else []
        verdict = self._by_output(result, reasons) if run is None else self._by_run(run, baseline, reasons)
        if not touched:
            return verdict
        note = f"Changes to {', '.join(touched)} were ignored: tests are not to be edited."
        return self._verdict(verdict.value, verdict.passed is True, f"{note}\n{verdict.feedback}")

    def _by_run(self, run: SuiteRun, baseline: _Baseline, reasons: list[str]) -> Verdict:
        judged = judge_run(run, baseline.run, same_tests=self.same_tests)
        judged = replace(judged, doubts=(*judged.doubts, *reasons))
        output = ExecResult(
            run.result.exit_code, run.result.stderr, "", run.result.timed_out, seconds=run.result.seconds
        )
        feedback = feedback_of(output, judged.passed, judged.total or None, accepted=judged.accepted)
        faults = () if run.result.timed_out else judged.faults
        told = "".join(f"Not accepted: {reason}.\n" for reason in (*judged.doubts, *faults))
        return self._verdict(judged.value, judged.accepted, told + feedback)

    def _by_output(self, result: ExecResult, reasons: list[str]) -> Verdict:
        passed, total = count_tests(result.stdout + "\n" + result.stderr)
        # Status 0 without the runner's summary is a program that left early, not a passed suite.
        counts = re.search(r"\b(pytest|unittest)\b", self.command) is not None
        accepted = result.ok and not reasons and (passed > 0 if counts else total != 0)
        value = 1.0 if accepted else 0.0 if reasons or not total else min(0.99, passed / total)
        told = "".join(f"Not accepted: {reason}.\n" for reason in reasons)
        return self._verdict(value, accepted, told + feedback_of(result, passed, total, accepted=accepted))

    def _verdict(self, value: float, accepted: bool, feedback: str) -> Verdict:
        return Verdict(value, self.semantics, self.name, accepted, feedback, integrity="in-process")

    async def _baseline(self, candidate: Candidate, command: SuiteCommand | None) -> _Baseline:
        """Return what is known of the untouched task; its tests are run once."""
        origin = candidate.origin_ref
        if origin is None:
            return _Baseline(Originals({}, {}, frozenset()), None)
        if origin not in self._baselines:
            kept = await originals(candidate, self.protect)
            run = None
            if command is not None:
                async with candidate.open(origin) as environment:
                    run = await run_suite(
                        environment, command, kept.digests, timeout_seconds=self.timeout_seconds, probe=True
                    )
            while len(self._baselines) >= _MOST_BASELINES:
                del self._baselines[next(iter(self._baselines))]
            self._baselines[origin] = _Baseline(kept, run)
        return self._baselines[origin]
