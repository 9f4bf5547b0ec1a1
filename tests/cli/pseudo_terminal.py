"""A program on a terminal of its own, as a person has it: what it shows is read, what is typed goes in."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

_LONGEST_SECONDS = 120.0
"""For one wait: far more than any takes, for machines that have much else to do."""

_BEGIN = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("branchwise.cli", run_name="__main__")
"""
"""Makes the terminal the one whose Ctrl-C is meant, then is `branchwise`."""


class PseudoTerminal:
    """Runs `branchwise` with the words on a terminal of 100 columns; it is gone with the block.

    Args:
        words: what follows `branchwise`.
        env: its environment.
    """

    def __init__(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        self.shown = ""
        """All that was shown so far, marks that move the cursor included."""
        self._words = words
        self._env = {**env, "TERM": "xterm-256color"}

    def __enter__(self) -> Self:
        self._handle, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, *self._words],
            stdin=other,
            stdout=other,
            stderr=other,
            env=self._env,
            start_new_session=True,
        )
        os.close(other)
        return self

    def until(self, text: str) -> str:
        """Wait for a text that was not shown before; return all that was shown meanwhile."""
        begun = len(self.shown)
        deadline = time.monotonic() + _LONGEST_SECONDS
        while text not in self.shown[begun:]:
            assert self._read(deadline), f"no {text!r} before the end: {self.shown[begun:]!r}"
        return self.shown[begun:]

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._handle, text.encode())

    def ended(self) -> int:
        """Wait for the end and return the exit status."""
        deadline = time.monotonic() + _LONGEST_SECONDS
        while self._read(deadline):
            pass
        return self._process.wait(_LONGEST_SECONDS)

    @property
    def as_it_was(self) -> bool:
        """Whether the terminal shows what is typed and hands it on line by line, as it did at first."""
        wanted = termios.ECHO | termios.ICANON
        return int(termios.tcgetattr(self._handle)[3]) & wanted == wanted

    def _read(self, deadline: float) -> bool:
        """Take in what is shown; False once the program has ended."""
        left = deadline - time.monotonic()
        assert left > 0, f"nothing more comes after {self.shown[-500:]!r}"
        if not select.select([self._handle], [], [], left)[0]:
            return True
        try:
            data = os.read(self._handle, 1 << 16)
        except OSError:  # Linux's way of saying that nobody holds the other side any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._handle)
