"""Runs a test suite, one test at a time as the host allows. Python 3.8, standard library, and pytest where it is asked for.

The judged code runs in this process, so that nothing here is out of its reach. What is done against it: the test runner is
imported before any of it; the outcome of a test can only be told after the host has let that test begin; and now and then,
where only the host knows, a test is run that must fail.
"""
# ruff: noqa: C901, PT027 - classes that only exist with their runner; probes do what tests do
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import hashlib
import io
import os
import sys
import unittest
from typing import TYPE_CHECKING, Any

from .guest_link import Link, quit_now

if TYPE_CHECKING:
    from .guest_link import Message

sha256 = hashlib.sha256
TEXT_LIMIT = 200


class Watch:
    """Tells the host what happens, and waits for its word."""

    def __init__(self, link: Link, files: dict[str, str]) -> None:
        self.link = link
        self.files = files
        self.done: Message | None = None
        self.problems: list[str] = []

    def tell(self, message: Message) -> Message:
        """Send a message and return the host's answer."""
        self.link.write(message)
        answer = self.link.read()
        if answer is None:
            quit_now(3)
        return answer

    def begin(self, name: str | None) -> Message:
        """Tell how the test before ended and that this one begins; None after the last."""
        done, self.done = self.done, None
        return self.tell({"begin": name, "done": done})

    def check(self, path: str) -> None:
        """See that a file of the tests is what it was when the run began."""
        wanted = self.files.get(path)
        if wanted is None:
            return
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                same = sha256(file.read()).hexdigest() == wanted
        except OSError:
            same = False
        if not same:
            self.problems.append(f"{path} was changed during the run")


FALSE: dict[str, Any] = {
    "assertEqual": ([1], [2]),
    "assertNotEqual": (1, 1),
    "assertTrue": (False,),
    "assertFalse": (True,),
    "assertIs": (1, None),
    "assertIsNone": (1,),
    "assertIsNotNone": (None,),
    "assertIn": (1, []),
    "assertNotIn": (1, [1]),
    "assertIsInstance": (1, str),
    "assertGreater": (1, 2),
    "assertLess": (2, 1),
    "assertAlmostEqual": (1.0, 2.0),
    "assertListEqual": ([1], [2]),
    "assertDictEqual": ({}, {1: 1}),
    "assertCountEqual": ([1], [2]),
    "assertRegex": ("a", "b"),
}
"""Assertions of unittest with arguments that they must not accept."""


def must_fail(kind: int) -> None:
    """Do what no sound test runner lets pass; where something lets it pass, so does this."""
    case = unittest.TestCase()
    if kind == 1:
        for name, arguments in FALSE.items():
            try:
                getattr(case, name)(*arguments)
            except AssertionError:
                continue
            return
    elif kind == 2:
        with case.assertRaises(ValueError):
            pass
        return
    elif kind == 3 and "pytest" in sys.modules:
        pytest = sys.modules["pytest"]
        if pytest.approx(1.0) == 2.0:
            return
        with pytest.raises(ValueError):
            pass
        return
    raise AssertionError("this must fail")


def run_pytest(watch: Watch, args: list[str]) -> int:
    """Run pytest."""
    import pytest
    from _pytest import runner
    from _pytest.unittest import TestCaseFunction

    root = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, root)

    class MustFail(pytest.Item):
        work: Any = None

        def runtest(self) -> None:
            self.work()

        def reportinfo(self) -> Any:
            return self.fspath, 0, self.name

    def failing(item: Any, name: str, work: Any) -> Any:
        """Return a test of the kind of `item`, run by the same code, that must fail; a plain one for the session."""
        parent: Any = item.parent or item
        if isinstance(item, TestCaseFunction):
            setattr(parent.obj, name, lambda _self: work())  # pyright: ignore[reportUnknownLambdaType]
            return type(item).from_parent(parent, name=name)
        if isinstance(item, pytest.Function):
            return pytest.Function.from_parent(parent, name=name, callobj=work)
        extra = MustFail.from_parent(parent, name=name)
        extra.work = work
        return extra

    def probe(item: Any, kind: int, name: str, following: Any) -> None:
        """Run a test that must fail, in the place of `item`; its reports go nowhere but to the host."""
        try:
            extra = failing(item, name, lambda: must_fail(kind))
            reports = runner.runtestprotocol(extra, log=False, nextitem=following)
            outcome = "failed" if any(report.failed and report.when == "call" for report in reports) else "passed"
        except Exception as error:  # noqa: BLE001 - a plugin that does not know such items; the host decides
            outcome = type(error).__name__
        if isinstance(item, TestCaseFunction):
            owner: Any = item.parent
            delattr(owner.obj, name)
        watch.tell({"probe": outcome})

    class Plugin:
        @pytest.hookimpl(tryfirst=True)
        def pytest_collectstart(self, collector: Any) -> None:
            path = str(getattr(collector, "path", None) or getattr(collector, "fspath", ""))
            watch.check(os.path.relpath(path, root) if path else "")

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                self.errors.append(report.nodeid)

        def pytest_deselected(self, items: Any) -> None:
            self.deselected += [item.nodeid for item in items]

        @pytest.hookimpl(trylast=True)
        def pytest_collection_finish(self, session: Any) -> None:
            names = [item.nodeid for item in session.items]
            watch.tell({"collected": names, "errors": self.errors, "deselected": self.deselected})

        @pytest.hookimpl(tryfirst=True, hookwrapper=True)
        def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Any:
            for kind, name in watch.begin(item.nodeid)["probes"]:
                probe(item, kind, name, item)
            watch.done = {"name": item.nodeid, "how": "passed", "seconds": 0.0}
            yield
            if nextitem is None:
                for kind, name in watch.begin(None)["probes"]:
                    probe(item.session, kind, name, None)

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(self, report: Any) -> None:
            if watch.done is None or watch.done["name"] != report.nodeid:
                return
            watch.done["seconds"] += report.duration
            how = report.outcome
            if hasattr(report, "wasxfail"):
                how = "xfailed" if report.skipped else "xpassed"
            if how != "passed":
                watch.done["how"] = how
            watch.done[report.when] = True

        def __init__(self) -> None:
            self.errors: list[str] = []
            self.deselected: list[str] = []

    return int(pytest.main(args, plugins=[Plugin()]))


def run_unittest(watch: Watch, args: list[str]) -> int:
    """Run unittest as `python3 -m unittest` would."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    suite = unittest.TestSuite

    class Result(unittest.TextTestResult):
        probing = False
        how = "passed"

        def startTest(self, test: Any) -> None:  # noqa: N802
            if not self.probing:
                for kind, _ in watch.begin(test.id())["probes"]:
                    probe(kind)
            self.how = "passed"
            super().startTest(test)

        def stopTest(self, test: Any) -> None:  # noqa: N802
            super().stopTest(test)
            if not self.probing:
                whole = {"setup": True, "call": True, "teardown": True}
                watch.done = {"name": test.id(), "how": self.how, "seconds": 0.0, **whole}

        def ended(self, how: str) -> None:
            self.how = how

        def addError(self, test: Any, err: Any) -> None:  # noqa: N802
            self.ended("failed")
            super().addError(test, err)

        def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
            self.ended("failed")
            super().addFailure(test, err)

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
            if err is not None:
                self.ended("failed")
            super().addSubTest(test, subtest, err)

        def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
            self.ended("skipped")
            super().addSkip(test, reason)

        def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
            self.ended("xfailed")
            super().addExpectedFailure(test, err)

        def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
            self.ended("failed")
            super().addUnexpectedSuccess(test)

    class Runner(unittest.TextTestRunner):
        resultclass = Result  # type: ignore[assignment]

        def run(self, test: Any) -> Any:
            names = [each.id() for each in flat(test)]
            broken = [name for name in names if name.startswith("unittest.loader._FailedTest.")]
            rest = [name for name in names if name not in broken]
            watch.tell({"collected": rest, "errors": broken, "deselected": []})
            result = super().run(test)
            for kind, _ in watch.begin(None)["probes"]:
                probe(kind)
            return result

    def probe(kind: int) -> None:
        """Run a test that must fail, with a result of the same kind as the others."""
        result = Result(unittest.TextTestRunner(io.StringIO()).stream, False, 0)
        result.probing = True
        suite([unittest.FunctionTestCase(functools.partial(must_fail, kind))]).run(result)
        watch.tell({"probe": "passed" if result.how == "passed" or result.wasSuccessful() else "failed"})

    program = unittest.main(module=None, argv=["python3 -m unittest", *args], exit=False, testRunner=Runner)
    return 0 if program.result.wasSuccessful() else 1


def flat(suite: Any) -> list[Any]:
    """Return the tests of a suite."""
    found: list[Any] = []
    for part in suite:
        found += flat(part) if hasattr(part, "__iter__") else [part]
    return found


def main() -> None:
    """Take orders, run, report."""
    link = Link(output=2)
    config = link.read()
    if config is None:
        quit_now(3)
    watch = Watch(link, config["files"])
    for path in watch.files:
        watch.check(path)
    run = run_pytest if config["runner"] == "pytest" else run_unittest
    try:
        status = run(watch, config["args"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    for path in watch.files:
        watch.check(path)
    sys.stdout.flush()
    link.write({"end": status, "problems": watch.problems, "done": watch.done})
    quit_now(status)
