"""Runs pytest one test at a time, as the host allows. Runs inside sandboxes: Python 3.8 and the sandbox's pytest."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import pytest
from _pytest import runner
from _pytest.unittest import TestCaseFunction

from .guest_watch import Watch, drive, must_fail

if TYPE_CHECKING:
    from collections.abc import Callable


class MustFail(pytest.Item):
    """A test of no file and no class."""

    work: Callable[[], None]

    def runtest(self) -> None:
        self.work()

    def reportinfo(self) -> Any:
        return self.fspath, 0, self.name


class Plugin:
    """Follows a session of pytest."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.root = os.getcwd()  # noqa: PTH109
        self.errors: list[str] = []
        self.deselected: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector: Any) -> None:
        """See that a test file is the task's own, just before it is imported."""
        path = str(getattr(collector, "path", None) or getattr(collector, "fspath", ""))
        self.watch.check(os.path.relpath(path, self.root) if path else "")

    def pytest_collectreport(self, report: Any) -> None:
        """Note what could not be collected."""
        if report.failed:
            self.errors.append(report.nodeid)

    def pytest_deselected(self, items: Any) -> None:
        """Note what is left out."""
        self.deselected += [item.nodeid for item in items]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: Any) -> None:
        """Tell which tests there are."""
        names = [item.nodeid for item in session.items]
        self.watch.tell({"collected": names, "errors": self.errors, "deselected": self.deselected})

    @pytest.hookimpl(tryfirst=True, hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> Any:
        """Let a test begin when the host says so."""
        for kind, name in self.watch.begin(item.nodeid):
            self.probe(item, kind, name, item)
        self.watch.done = {"name": item.nodeid, "how": "passed", "seconds": 0.0}
        yield
        if nextitem is None:
            for kind, name in self.watch.begin(None):
                self.probe(item.session, kind, name, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take in how a part of the test ended."""
        done = self.watch.done
        if done is None or done["name"] != report.nodeid:
            return
        done["seconds"] += report.duration
        how = report.outcome
        if hasattr(report, "wasxfail"):
            how = "xfailed" if report.skipped else "xpassed"
        if how != "passed":
            done["how"] = how
        done[report.when] = True

    def probe(self, item: Any, kind: int, name: str, following: Any) -> None:
        """Run a test that must fail, in the place of `item`; its reports go nowhere but to the host."""
        try:
            extra = failing(item, name, functools.partial(must_fail, kind))
            reports = runner.runtestprotocol(extra, log=False, nextitem=following)
            outcome = "failed" if any(report.failed and report.when == "call" for report in reports) else "passed"
        except Exception as error:  # noqa: BLE001 - a plug-in that does not know such tests; the host decides
            outcome = type(error).__name__
        if isinstance(item, TestCaseFunction):
            owner: Any = item.parent
            delattr(owner.obj, name)
        self.watch.tell({"probe": outcome})


def failing(item: Any, name: str, work: Callable[[], None]) -> Any:
    """Return a test of the kind of `item`, run by the same code, that must fail; a plain one for the session."""
    parent: Any = item.parent or item
    if isinstance(item, TestCaseFunction):
        setattr(parent.obj, name, lambda _self: work())  # pyright: ignore[reportUnknownLambdaType]
        return type(item).from_parent(parent, name=name)
    if isinstance(item, pytest.Function):

        def body() -> None:
            work()

        return pytest.Function.from_parent(parent, name=name, callobj=body)
    extra = MustFail.from_parent(parent, name=name)
    extra.work = work
    return extra


def run(watch: Watch, args: list[str]) -> int:
    """Run pytest as `python3 -m pytest` would."""
    return int(pytest.main(args, plugins=[Plugin(watch)]))


def main() -> None:
    """Run the suite that the host names."""
    drive(run)
