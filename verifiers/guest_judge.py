"""Runs test code that holds the expected values, against code in another sandbox. Python 3.8, standard library only."""

from __future__ import annotations

import binascii
import marshal
import sys
import traceback
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .guest_link import Link, quit_now
from .guest_peer import Peer, Remote, wait_for

if TYPE_CHECKING:
    from .guest_link import Message

TEXT_LIMIT = 2000
TEST = "judging_test"


class Judge(Peer):
    """The judge's side: what is known of the judged code before the test asks need not be asked."""

    def __init__(self, link: Link, known: list[Any], otherwise: str | None) -> None:
        super().__init__(link)
        self.known = known
        self.otherwise = otherwise
        self.begun: dict[int, int] = {}
        self.held: dict[int, int] = {}

    def exchange(self, request: Message) -> Message:
        """Ask, unless this was asked ahead of the test. What was is used in its order, and not once that is left."""
        if self.known:
            asked, reply = self.known[0]
            if asked == request:
                del self.known[0]
                return dict(reply)
            if request["op"] != "get":
                self.known = []
        if self.otherwise is not None:
            self.cannot(self.otherwise)
        return super().exchange(request)

    def count(self, counts: dict[int, int]) -> Any:
        """Return a function that counts by line."""

        def add(line: int) -> None:
            counts[line] = counts.get(line, 0) + 1

        return add


class Stub(ModuleType):
    """Stands for the judged module."""

    def __init__(self, name: str, judge: Judge) -> None:
        super().__init__(name)
        self.__dict__["__judge__"] = judge
        self.__path__ = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.__dict__["__judge__"].ask({"op": "get", "on": "", "name": name})
        if type(value) is Remote and value.name_ == "a function":
            value = Remote(self.__dict__["__judge__"], name, value.name_)  # by its name, as calls ahead of the test are
        setattr(self, name, value)
        return value


def main() -> None:
    """Take the test from the host, run it, report."""
    link = Link(output=2)
    config = link.read()
    if config is None:
        quit_now(0)
    judge = Judge(link, config["known"], config["otherwise"])
    stub = Stub(config["module"], judge)
    parts = config["module"].split(".")
    for index in range(1, len(parts)):
        sys.modules[".".join(parts[:index])] = Stub(".".join(parts[:index]), judge)
    sys.modules[config["module"]] = stub
    report: Message = {"tests": [], "problem": None}
    try:
        run(config, judge, report)
    except BaseException as error:  # noqa: BLE001 - whatever ends the test ends it without success
        report["problem"] = told(error)
    report.update(begun=list(judge.begun.items()), held=list(judge.held.items()), cannot=judge.problem)
    link.write({"report": report})
    quit_now(0)


def run(config: Message, judge: Judge, report: Message) -> None:
    """Run the test in the way of its kind."""
    module = sys.modules[TEST] = ModuleType(TEST)
    module.__dict__.update(__begins__=judge.count(judge.begun), __holds__=judge.count(judge.held))
    entry = None
    if config["entry"] is not None:
        entry = Remote(judge, config["entry"], "a function")
        module.__dict__[config["entry"].rpartition(".")[2]] = entry
    exec(compiled(config), module.__dict__)  # noqa: S102 - the user's own test, in a sandbox
    if config["style"] == "check":
        module.__dict__["check"](entry)
    elif config["style"] == "tests":
        for name, work in tests_of(module):
            report["tests"].append([name, *outcome(work)])


def compiled(config: Message) -> Any:
    """Return the test's code: as the host compiled it, where this is the same Python."""
    import _frozen_importlib_external as loader

    if loader.MAGIC_NUMBER.hex() == config["magic"]:
        return marshal.loads(binascii.a2b_base64(config["code"]))  # noqa: S302 - the host's
    return compile(config["counting"], "test.py", "exec")


def tests_of(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the module's tests: functions by their place in it, then the cases of unittest."""
    import unittest

    found: list[tuple[str, Any]] = []
    for name, value in list(module.__dict__.items()):
        if name.startswith("test") and callable(value) and not isinstance(value, (type, Remote)):
            found.append((name, value))
        elif isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == module.__name__:
            methods = unittest.TestLoader().getTestCaseNames(value)
            found += [(f"{name}.{method}", unittest.TestSuite([value(method)])) for method in methods]
    return found


def outcome(work: Any) -> tuple[str, str]:
    """Run one test; return how it ended and what there is to say about it."""
    if not hasattr(work, "countTestCases"):
        try:
            returned = work()
            if returned is not None:
                wait_for(returned)  # a coroutine; what else a test returns was never meant as one
        except Exception as error:  # noqa: BLE001 - a failed test
            return "failed", told(error)
        return "passed", ""
    import unittest

    result = unittest.TestResult()
    work.run(result)
    if result.wasSuccessful() and not result.skipped and not result.expectedFailures and result.testsRun == 1:
        return "passed", ""
    texts = [text for _, text in [*result.failures, *result.errors, *result.skipped]]
    return ("skipped" if result.skipped else "failed"), "\n".join(texts)[-TEXT_LIMIT:]


def told(error: BaseException) -> str:
    """Return an exception as Python shows it, from the test's own lines on."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "test.py"]
    where = f"line {frames[-1].lineno}: " if frames else ""
    return (where + "".join(traceback.format_exception_only(type(error), error)).strip())[:TEXT_LIMIT]
