"""Runs unittest one test at a time, as the host allows. Runs inside sandboxes: Python 3.8, standard library only."""

from __future__ import annotations

import functools
import io
import unittest
from typing import Any

from .guest_watch import Watch, drive, must_fail

Suite = unittest.TestSuite


class Result(unittest.TextTestResult):
    """Tells the host of each test."""

    watch: Watch
    probing = False
    how = "passed"

    def startTest(self, test: Any) -> None:  # noqa: N802
        if not self.probing:
            for kind, _ in self.watch.begin(test.id()):
                probe(kind)
        self.how = "passed"
        super().startTest(test)

    def stopTest(self, test: Any) -> None:  # noqa: N802
        super().stopTest(test)
        if not self.probing:
            whole = {"setup": True, "call": True, "teardown": True}
            self.watch.done = {"name": test.id(), "how": self.how, "seconds": 0.0, **whole}

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        self.how = "failed"
        super().addError(test, err)

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        self.how = "failed"
        super().addFailure(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        if err is not None:
            self.how = "failed"
        super().addSubTest(test, subtest, err)

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        self.how = "skipped"
        super().addSkip(test, reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        self.how = "xfailed"
        super().addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        self.how = "failed"
        super().addUnexpectedSuccess(test)


class Runner(unittest.TextTestRunner):
    """Tells the host which tests there are before it runs them."""

    resultclass = Result  # type: ignore[assignment]

    def run(self, test: Any) -> Any:
        names = [each.id() for each in flat(test)]
        broken = [name for name in names if name.startswith("unittest.loader._FailedTest.")]
        rest = [name for name in names if name not in broken]
        Result.watch.tell({"collected": rest, "errors": broken, "deselected": []})
        result = super().run(test)
        for kind, _ in Result.watch.begin(None):
            probe(kind)
        return result


def probe(kind: int) -> None:
    """Run a test that must fail, with a result of the same kind as the others."""
    result = Result(unittest.TextTestRunner(io.StringIO()).stream, False, 0)
    result.probing = True
    Suite([unittest.FunctionTestCase(functools.partial(must_fail, kind))]).run(result)
    result.watch.tell({"probe": "passed" if result.how == "passed" or result.wasSuccessful() else "failed"})


def flat(suite: Any) -> list[Any]:
    """Return the tests of a suite."""
    found: list[Any] = []
    for part in suite:
        found += flat(part) if hasattr(part, "__iter__") else [part]
    return found


def run(watch: Watch, args: list[str]) -> int:
    """Run unittest as `python3 -m unittest` would."""
    Result.watch = watch
    ran = unittest.main(module=None, argv=["python3 -m unittest", *args], exit=False, testRunner=Runner)
    return 0 if ran.result.wasSuccessful() else 1


def main() -> None:
    """Run the suite that the host names."""
    drive(run)
