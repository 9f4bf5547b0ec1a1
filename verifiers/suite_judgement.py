"""What a run of a test suite is worth beside the run of the untouched task."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .suite_run import SuiteRun


@dataclass(frozen=True)
class Judgement:
    """How many tests passed, and why the run is not to be accepted whatever they say."""

    passed: int
    total: int
    faults: tuple[str, ...] = ()
    """What keeps it from being accepted; the tests that passed did."""
    doubts: tuple[str, ...] = ()
    """Why nothing in it can be believed."""

    @property
    def accepted(self) -> bool:
        """Whether every test passed in a run that can be believed."""
        return not self.faults and not self.doubts and self.passed == self.total > 0

    @property
    def value(self) -> float:
        """1.0 where it is accepted, else the share of tests that passed."""
        if self.accepted:
            return 1.0
        return 0.0 if self.doubts or not self.total else min(0.99, self.passed / self.total)


def judge_run(run: SuiteRun, untouched: SuiteRun | None, *, same_tests: bool = True) -> Judgement:
    """Judge a run.

    Tests that were skipped, or failed as their mark expects, in the untouched task may do so again; they do not count.

    Args:
        run: the run.
        untouched: the run of the untouched task; None where there is none.
        same_tests: whether exactly the tests of the untouched task must have run.
    """
    before = untouched or SuiteRun()
    excused = before.named("skipped", "xfailed") if untouched else run.named("skipped", "xfailed")
    known = {*before.collected} if same_tests else set[str]()
    names = ({*run.collected, *known} - excused) | run.named("passed", "failed", "xpassed")
    passed = run.named("passed", "xpassed") & names
    doubts = list(run.doubts)
    if any(how != "failed" for how in run.probes):
        doubts.append("the test runner was tampered with: a test that must fail did not")
    faults = [] if run.stopped is None else [run.stopped]
    faults += _left_out(run, untouched, excused, same_tests=same_tests)
    if passed == names and not faults and run.status != 0:
        faults.append(f"every test passed, but the runner's status is {run.status}")
    return Judgement(len(passed), len(names), tuple(faults), tuple(doubts))


def _left_out(run: SuiteRun, untouched: SuiteRun | None, excused: AbstractSet[str], *, same_tests: bool) -> list[str]:
    if untouched is None:
        return []
    reasons: list[str] = []
    skipped = run.named("skipped", "xfailed") - excused
    if skipped:
        reasons.append(f"skipped or excused, but not in the untouched task: {_names(skipped)}")
    deselected = {*run.deselected} - {*untouched.deselected}
    if deselected:
        reasons.append(f"left out, but not in the untouched task: {_names(deselected)}")
    if same_tests and untouched.collected and run.stopped is None:
        # What a file holds that could not be imported before its repair is not known from then.
        broken = tuple(untouched.broken)
        added = {name for name in run.collected if not name.startswith(broken)} - {*untouched.collected}
        if broken and any(name.startswith("unittest.") for name in broken):
            added = set[str]()
        missing = {*untouched.collected} - {*run.collected}
        if added or missing:
            reasons.append(f"not the tests of the untouched task: {_names(added | missing)}")
    return reasons


def _names(names: AbstractSet[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
