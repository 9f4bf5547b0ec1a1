"""What the drivers of test runners share. Python 3.8, standard library only.

The judged code runs in the driver's process, so that nothing here is out of its reach. What is done against it: the test
runner is imported before any of it; the outcome of a test can only be told after the host has let that test begin; and now
and then, where only the host knows, a test is run that must fail.
"""
# ruff: noqa: PT027 - probes do what tests do

from __future__ import annotations

import hashlib
import os
import sys
import unittest
from typing import TYPE_CHECKING, Any

from .guest_link import Link, quit_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from .guest_link import Message

sha256 = hashlib.sha256
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

    def begin(self, name: str | None) -> list[tuple[int, str]]:
        """Tell how the test before ended and that this one begins, None after the last; return what must fail first."""
        done, self.done = self.done, None
        probes: list[tuple[int, str]] = self.tell({"begin": name, "done": done})["probes"]
        return probes

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


def drive(run: Callable[[Watch, list[str]], int]) -> None:
    """Take the order from the host, run the suite, report."""
    link = Link(output=2)
    config = link.read()
    if config is None:
        quit_now(3)
    watch = Watch(link, config["files"])
    for path in watch.files:
        watch.check(path)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        status = run(watch, config["args"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    for path in watch.files:
        watch.check(path)
    sys.stdout.flush()
    link.write({"end": status, "problems": watch.problems, "done": watch.done})
    quit_now(status)
